"""Measures how well the anchors fit the objects of a data set, and suggests better ones.

Examples:
  keras-frcnn anchor-fit --data_dir=mydata --train_split=train
  keras-frcnn anchor-fit --flagfile=configs/own_data.cfg --data_dir=mydata --shorter_side=800
  keras-frcnn anchor-fit --data_dir=mydata --num_scales=4 --output_dir=runs/anchors

The command lays the network's anchors over every image of --train_split and takes, for each object,
the best IoU with one of them: with the anchors inside the image, as in training, and with all of
them, clipped, as for proposals. It shows these figures by size and by class, the objects that are
hard for the region proposal network, the best scales and ratios as flags to paste, and the effect
of other image sizes. Exit code: 0; 1 if fewer objects than --min_coverage have an anchor with an
IoU of at least 0.5 in training; 2 if the command line or the data are wrong.
"""

import functools
from pathlib import Path

from keras_frcnn.cli.command import Command, check_output_folder, parse, user_errors
from keras_frcnn.cli.output import print_notes
from keras_frcnn.config import Config
from keras_frcnn.config.flags import settings_of
from keras_frcnn.config.setting import FRACTION, NOT_NEGATIVE, Option

COMMAND = Command(
    "anchor-fit",
    __doc__,
    options=(
        Option("output_dir", str, "", "Folder for anchors.json. Empty: nothing is written."),
        Option(
            "num_scales",
            int,
            0,
            "Number of scales to suggest; 0 for as many as --scales.",
            limits=NOT_NEGATIVE,
        ),
        Option(
            "num_ratios",
            int,
            0,
            "Number of ratios to suggest; 0 for as many as --ratios.",
            limits=NOT_NEGATIVE,
        ),
        Option(
            "min_coverage",
            float,
            0.0,
            "Share of objects that must have an anchor with an IoU of at least 0.5; below it the "
            "exit code is 1.",
            limits=FRACTION,
        ),
    ),
    settings=(
        *settings_of("data"),
        "seed",
        "backbone",
        "scales",
        "ratios",
        "rpn_border_anchors",
        "rpn_fg_iou_threshold",
        "rpn_bg_iou_threshold",
        "min_size",
    ),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Its flags; None for those of the process.

    Returns:
        The exit code.
    """
    # No weights are loaded, and not every backbone has pretrained ones.
    config, options = parse(COMMAND, argv, base=lambda _: Config(backbone_weights="none"))
    with user_errors(COMMAND):
        from rich.console import Console

        check_output_folder(options.output_dir)
        from keras_frcnn import data
        from keras_frcnn.backbones import backbone, stacks
        from keras_frcnn.inspection.anchor_fit import fit as anchor_fit
        from keras_frcnn.inspection.anchor_fit import report

        console = Console(highlight=False)
        dataset = data.load(config, config.train_split)
        print_notes(dataset, console)
        stack = backbone.BACKBONES[config.backbone]("float32")
        feature_shape = functools.partial(stacks.true_shape, stack.layers)
        counts = options.num_scales, options.num_ratios
        fit = anchor_fit.fit(dataset, config, stack.stride, feature_shape, *counts)
        report.print_fit(fit, console)
        if options.output_dir:
            folder = Path(options.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            report.write_json(fit, folder / "anchors.json")
            print(f"Written: {folder}/anchors.json")
    return 1 if fit.kinds[fit.training]["share_50"] < options.min_coverage else 0
