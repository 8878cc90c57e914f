"""Writes a proposals file: the regions that an RPN or an older method finds in every image.

Examples:
  keras-frcnn propose --method=selective_search --data_dir=VOCdevkit --output_file=ss.npz
  keras-frcnn propose --method=edge_boxes --edge_model=model.yml.gz --data_dir=VOCdevkit
    --output_file=eb.npz
  keras-frcnn propose --method=rpn --checkpoint=runs/voc07/best.keras --output_file=rpn.npz

The second stage can be trained on such a file with --train_proposals. It can be evaluated with
--test_proposals and a file for the evaluation images (--subset=eval_split). To continue after a
stop, run the same command again. An RPN uses the settings of its run unless flags override them:
--test_pre_nms_top_k=12000 --test_post_nms_top_k=2000 gives as many proposals as in training.
"""

import contextlib
import json
from pathlib import Path

from keras_frcnn.cli.command import Command, checkpoint_settings, parse, user_errors
from keras_frcnn.cli.output import print_notes
from keras_frcnn.cli.startup import load_tensorflow
from keras_frcnn.config import Config
from keras_frcnn.config.flags import settings_of
from keras_frcnn.config.setting import NOT_NEGATIVE, POSITIVE, Option
from keras_frcnn.console import COMPILING, Console, say

COMMAND = Command(
    "propose",
    __doc__,
    options=(
        Option(
            "output_file",
            str,
            "",
            "The file to write: .npz, or .json in COCO's results format, which is larger and "
            "slower.",
            required=True,
            output="file",
            suffixes=(".npz", ".json"),
        ),
        Option(
            "method",
            str,
            "rpn",
            "Method that finds the regions. selective_search and edge_boxes need pip install "
            "'keras-frcnn[proposals]'.",
            choices=("rpn", "selective_search", "edge_boxes"),
        ),
        Option("checkpoint", str, "", "The .keras file of the run whose RPN is used."),
        Option("edge_model", str, "", "The EdgeBoxes model: model.yml.gz from opencv_extra."),
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
            "The setting that names the images to use.",
            choices=("train_split", "eval_split"),
            former=("split",),
        ),
        Option(
            "workers",
            int,
            0,
            "Number of processes for Selective Search and EdgeBoxes; 0 for one per core.",
            limits=NOT_NEGATIVE,
        ),
    ),
    settings=(
        *settings_of("data"),
        "seed",
        "precision",
        "distribution",
        "test_batch_size",
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
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code.
    """
    config, options = parse(COMMAND, argv, base=_base)
    with user_errors(COMMAND, options.output_file):
        from keras_frcnn import data

        dataset = data.load(config, getattr(config, options.subset), annotated=False)
        load_tensorflow(names_devices=options.method == "rpn")
        from keras_frcnn.data import proposals_file

        console = Console()
        print_notes(dataset, console)
        Path(options.output_file).parent.mkdir(parents=True, exist_ok=True)
        method = _by_rpn if options.method == "rpn" else _by_older_method
        with method(config, options, dataset.class_names, console) as propose:
            # An unfinished file is only continued if nothing that affects proposals has changed.
            settings = {**vars(options), "workers": 0, **config.to_dict()}
            proposals_file.write_in_parts(
                options.output_file, dataset.records, propose, json.dumps(settings, sort_keys=True)
            )
        say(f"Proposals of {len(dataset.records)} images: {options.output_file}")
    return 0


@contextlib.contextmanager
def _by_rpn(config, options, class_names, console):
    from keras_frcnn.data.dataset import Dataset
    from keras_frcnn.inference.over_dataset import propose_dataset
    from keras_frcnn.models import precision
    from keras_frcnn.training import distribution
    from keras_frcnn.weights import checkpoint

    config = precision.for_use(config, console.print)
    with distribution.scope(distribution.strategy_of_machine(config)):
        model = checkpoint.load(options.checkpoint, config)
    say(COMPILING)
    yield lambda records: propose_dataset(model, Dataset(class_names, records), config)


@contextlib.contextmanager
def _by_older_method(config, options, class_names, console):
    from keras_frcnn.data.images.files import to_image
    from keras_frcnn.inference import classic_proposals

    arguments = (options.method, options.edge_model, options.num_proposals)
    classic_proposals.proposer(*arguments)  # reports missing packages before any process starts
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
        raise ValueError("--checkpoint is missing: the .keras file of the run whose RPN is used")
    return checkpoint_settings(options)
