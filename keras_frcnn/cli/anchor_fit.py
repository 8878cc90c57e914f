"""Measures how well anchors fit the objects of a data set, and suggests better ones.

Examples:
  keras-frcnn anchor-fit --data_dir=mydata --train_split=train
  keras-frcnn anchor-fit --flagfile=configs/own_data.cfg --data_dir=mydata --shorter_side=800
  keras-frcnn anchor-fit --data_dir=mydata --num_scales=4 --output_dir=runs/anchors

Of every object in --train_split the best IoU with the anchors that the network would lay over its
image, exactly: by size and class, in training (anchors inside the image) and for proposals
(all, clipped); the objects that the region proposal network has a hard time with; the best scales
and ratios found, as flags to paste; and what other sizes of the images would give. Exit code: 0,
or 1 if fewer objects than --min_coverage have an anchor of IoU 0.5 in training, or 2 if the command
line or the data is wrong.
"""

import functools
from pathlib import Path

from keras_frcnn.cli.command import Command, parse, user_errors
from keras_frcnn.config import Config
from keras_frcnn.config.flags import Option, settings_of

COMMAND = Command(
    "anchor-fit",
    __doc__,
    options=(
        Option("output_dir", str, "", "Folder for anchors.json; empty: only print."),
        Option("num_scales", int, 0, "Scales to suggest; 0: as many as --scales."),
        Option("num_ratios", int, 0, "Ratios to suggest; 0: as many as --ratios."),
        Option(
            "min_coverage",
            float,
            0.0,
            "Share of objects, 0 to 1, below which the exit code is 1; 0: never.",
        ),
    ),
    settings=(
        *settings_of("data"),
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
        argv: Its flags; None: those of the process.

    Returns:
        The exit code.
    """
    # No weights are loaded, so that every backbone goes without.
    config, options = parse(COMMAND, argv, base=lambda _: Config(backbone_weights="none"))
    with user_errors(COMMAND):
        from rich.console import Console

        _check(options)
        from keras_frcnn import data
        from keras_frcnn.backbones import backbone, stacks
        from keras_frcnn.inspection.anchor_fit import fit as anchor_fit
        from keras_frcnn.inspection.anchor_fit import report

        console = Console(highlight=False)
        dataset = data.load(config, config.train_split)
        for line in dataset.skipped:
            console.print(f"skipped: {line}", markup=False, soft_wrap=True)
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


def _check(options):
    if options.num_scales < 0 or options.num_ratios < 0:
        raise ValueError(
            "--num_scales and --num_ratios must be at least 0. "
            f"Received: {options.num_scales} and {options.num_ratios}"
        )
    if not 0 <= options.min_coverage <= 1:
        raise ValueError(
            f"--min_coverage must be between 0 and 1. Received: {options.min_coverage:g}"
        )
    folder = Path(options.output_dir)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output_dir must be a folder. Received: {options.output_dir}")
