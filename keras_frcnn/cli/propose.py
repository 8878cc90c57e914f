"""Writes a proposals file: the regions of every image, found by an RPN or by older methods.

Examples:
  keras-frcnn propose --method=selective_search --data_dir=VOCdevkit --output_file=ss.npz
  keras-frcnn propose --method=edge_boxes --edge_model=model.yml.gz --data_dir=VOCdevkit
  --output_file=eb.npz
  keras-frcnn propose --method=rpn --checkpoint=runs/voc07/best.keras --output_file=rpn.npz

The second stage then learns from such a file with --train_proposals, and is evaluated on one of
the other images (--split=eval_split) with --test_proposals. A stopped command goes on where it
was when it is given again. An RPN proposes with the settings of its run, flags aside:
--test_pre_nms_top_k=12000 --test_post_nms_top_k=2000 gives as many as training takes.
"""

import contextlib
import json
import multiprocessing
import os
from concurrent import futures
from pathlib import Path

from keras_frcnn.cli.command import Command, checkpoint_settings, parse, user_errors
from keras_frcnn.config import Config
from keras_frcnn.config.flags import Option, settings_of

COMMAND = Command(
    "propose",
    __doc__,
    options=(
        Option(
            "output_file",
            str,
            "",
            "The .npz file to write; or .json, COCO's results form: larger and slower.",
            required=True,
        ),
        Option(
            "method",
            str,
            "rpn",
            "Who proposes; the last two need pip install 'keras-frcnn[proposals]'.",
            choices=("rpn", "selective_search", "edge_boxes"),
        ),
        Option("checkpoint", str, "", "A .keras file, whose RPN proposes."),
        Option("edge_model", str, "", "EdgeBoxes' model.yml.gz, from OpenCV's extra data."),
        Option(
            "num_proposals",
            int,
            2000,
            "Regions an image, at most, of Selective Search and EdgeBoxes.",
        ),
        Option(
            "split",
            str,
            "train_split",
            "The setting that names the images.",
            choices=("train_split", "eval_split"),
        ),
        Option("workers", int, 0, "Processes that share the work; 0: one a core. Not for RPNs."),
    ),
    settings=(
        *settings_of("data"),
        "precision",
        "test_pre_nms_top_k",
        "test_post_nms_top_k",
        "test_ranked_proposals",
        "test_regressed_proposals",
        "rpn_nms_iou_threshold",
        "min_size",
    ),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Its flags; None: those of the process.

    Returns:
        The exit code.
    """
    config, options = parse(COMMAND, argv, base=_base)
    with user_errors(COMMAND):
        from rich.console import Console

        from keras_frcnn import data
        from keras_frcnn.data import proposals_file

        console = Console(highlight=False)
        check_place(options.output_file)
        dataset = data.load(config, getattr(config, options.split), annotated=False)
        for line in dataset.skipped:
            console.print(f"skipped: {line}", markup=False, soft_wrap=True)
        by = _by_rpn if options.method == "rpn" else _by_others
        with by(config, options, dataset.class_names, console) as propose:
            # What decides the proposals, lest a stopped file goes on with others.
            decided = {**vars(options), "workers": 0, **config.to_dict()}
            proposals_file.write_in_parts(
                options.output_file, dataset.records, propose, json.dumps(decided, sort_keys=True)
            )
        print(f"Proposals of {len(dataset.records)} images: {options.output_file}")
    return 0


def check_place(path: str) -> None:
    """Refuses, before hours of work, a file that could not be written.

    Raises:
        ValueError: naming the flag.
    """
    if not path.endswith((".npz", ".json")) or not Path(path).absolute().parent.is_dir():
        raise ValueError(
            f"--output_file must be an .npz or .json file in a folder that exists. Received: {path}"
        )


@contextlib.contextmanager
def _by_rpn(config, options, class_names, console):
    from keras_frcnn.data.dataset import Dataset
    from keras_frcnn.inference.over_dataset import propose_dataset
    from keras_frcnn.training import precision
    from keras_frcnn.weights import checkpoint

    config = precision.for_use(config, console.print)
    model = checkpoint.load(options.checkpoint, config)
    yield lambda records: propose_dataset(model, Dataset(class_names, records), config)


@contextlib.contextmanager
def _by_others(config, options, class_names, console):
    from keras_frcnn.inference import classic_proposals

    arguments = (options.method, options.edge_model, options.num_proposals)
    classic_proposals.proposer(*arguments)  # what is missing is said here, not by every process
    with futures.ProcessPoolExecutor(
        options.workers or len(os.sched_getaffinity(0)),
        multiprocessing.get_context("spawn"),
        classic_proposals.start_worker,
        arguments,
    ) as pool:
        yield lambda records: pool.map(classic_proposals.propose, records)


def _base(options):
    if options.method != "rpn":
        return Config()
    if not options.checkpoint:
        raise ValueError("--checkpoint is missing: a .keras file, whose RPN proposes")
    return checkpoint_settings(options)
