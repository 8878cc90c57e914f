"""Writes a proposals file: regions of every image, found by an RPN or by an older method.

Examples:
  keras-frcnn propose --method=selective_search --data_dir=VOCdevkit --output_file=ss.npz
  keras-frcnn propose --method=edge_boxes --edge_model=model.yml.gz --data_dir=VOCdevkit
    --output_file=eb.npz
  keras-frcnn propose --method=rpn --checkpoint=runs/voc07/best.keras --output_file=rpn.npz

The second stage can be trained on such a file with --train_proposals, and evaluated with
--test_proposals on a file of the evaluation images (--subset=eval_split). If the command is
stopped, it continues where it was when it is given again. An RPN proposes with the settings of its
run unless flags say otherwise: --test_pre_nms_top_k=12000 --test_post_nms_top_k=2000 gives as many
proposals as training uses.
"""

import contextlib
import json
from pathlib import Path

from keras_frcnn.cli.command import Command, checkpoint_settings, parse, user_errors
from keras_frcnn.cli.output import print_notes
from keras_frcnn.config import Config
from keras_frcnn.config.flags import settings_of
from keras_frcnn.config.setting import NOT_NEGATIVE, POSITIVE, Option

COMMAND = Command(
    "propose",
    __doc__,
    options=(
        Option(
            "output_file",
            str,
            "",
            "The file to write: .npz, or .json in the form of COCO's results, which is larger and "
            "slower.",
            required=True,
        ),
        Option(
            "method",
            str,
            "rpn",
            "Method that proposes; the last two need pip install 'keras-frcnn[proposals]'.",
            choices=("rpn", "selective_search", "edge_boxes"),
        ),
        Option("checkpoint", str, "", "The .keras file whose RPN proposes."),
        Option("edge_model", str, "", "EdgeBoxes' model.yml.gz, from OpenCV's extra data."),
        Option(
            "num_proposals",
            int,
            2000,
            "Largest number of regions per image, for Selective Search and EdgeBoxes.",
            limits=POSITIVE,
        ),
        Option(
            "subset",
            str,
            "train_split",
            "Setting that names the images.",
            choices=("train_split", "eval_split"),
            former=("split",),
        ),
        Option(
            "workers",
            int,
            0,
            "Number of processes; 0 for one per core. Not for an RPN.",
            limits=NOT_NEGATIVE,
        ),
    ),
    settings=(
        *settings_of("data"),
        "seed",
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
        argv: Its flags; None for those of the process.

    Returns:
        The exit status.
    """
    config, options = parse(COMMAND, argv, base=_base)
    with user_errors(COMMAND):
        from rich.console import Console

        from keras_frcnn import data
        from keras_frcnn.data import proposals_file

        console = Console(highlight=False)
        check_output_file(options.output_file)
        dataset = data.load(config, getattr(config, options.subset), annotated=False)
        print_notes(dataset, console)
        method = _by_rpn if options.method == "rpn" else _by_older_method
        with method(config, options, dataset.class_names, console) as propose:
            # A stopped file is only continued if nothing has changed that decides its proposals.
            decisive = {**vars(options), "workers": 0, **config.to_dict()}
            proposals_file.write_in_parts(
                options.output_file, dataset.records, propose, json.dumps(decisive, sort_keys=True)
            )
        print(f"Proposals of {len(dataset.records)} images: {options.output_file}")
    return 0


def check_output_file(path: str) -> None:
    """Refuses a file that could not be written, before hours of work.

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
def _by_older_method(config, options, class_names, console):
    from keras_frcnn.data.images.files import to_image
    from keras_frcnn.inference import classic_proposals

    arguments = (options.method, options.edge_model, options.num_proposals)
    classic_proposals.proposer(*arguments)  # reports what is missing, once and not per process
    with classic_proposals.processes(options.workers, *arguments) as propose_for:

        def propose(records):
            found = propose_for(to_image(record) for record in records)
            for record, (boxes, scores) in zip(records, found, strict=True):
                yield record.image_id, boxes, scores

        yield propose


def _base(options):
    if options.method != "rpn":
        return Config()
    if not options.checkpoint:
        raise ValueError("--checkpoint is missing: the .keras file whose RPN proposes")
    return checkpoint_settings(options)
