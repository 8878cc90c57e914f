"""Measures how well the anchors fit the objects of a data set, and suggests better ones.

Examples:
  keras-frcnn anchor-fit --data_dir=mydata --train_split=train
  keras-frcnn anchor-fit --flagfile=configs/own_data.cfg --data_dir=mydata --shorter_side=800
  keras-frcnn anchor-fit --data_dir=mydata --num_scales=4 --output_dir=runs/anchors

For every object in --train_split the command computes the highest IoU with any anchor of the
network. It prints
- these IoUs by size and by class, in training (with the anchors inside the image) and for proposals
  (with all anchors, clipped to the image);
- the objects that are difficult for the region proposal network;
- the best scales and ratios that it found, as flags to paste;
- the coverage at other image sizes.
The exit code is 0. It is 1 if the fraction of objects that have an anchor with an IoU of 0.5 in
training is below --min_coverage, and 2 if the command line or the data is wrong.
"""

from pathlib import Path

from keras_frcnn.cli.command import Command, parse, user_errors
from keras_frcnn.cli.output import print_notes
from keras_frcnn.cli.startup import load_tensorflow
from keras_frcnn.config import Config
from keras_frcnn.config.flags import settings_of
from keras_frcnn.config.setting import FRACTION, NOT_NEGATIVE, Option
from keras_frcnn.console import Console, say

COMMAND = Command(
    "anchor-fit",
    __doc__,
    options=(
        Option(
            "output_dir",
            str,
            "",
            "Folder for anchors.json. If empty, nothing is written.",
            output="folder",
        ),
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
            "Fraction of objects that must have an anchor with an IoU of at least 0.5. If fewer "
            "do, the exit code is 1.",
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
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code.
    """
    # No weights are loaded, and not every backbone has pretrained ones.
    config, options = parse(COMMAND, argv, base=lambda _: Config(backbone_weights="none"))
    with user_errors(COMMAND, options.output_dir):
        from keras_frcnn import backbones, data

        console = Console()
        dataset = data.load(config, config.train_split)
        load_tensorflow(names_devices=False)
        from keras_frcnn.inspection.anchor_fit import report
        from keras_frcnn.inspection.anchor_fit.fit import fit

        print_notes(dataset, console)
        backbone = backbones.make(config.backbone)
        levels = backbone.strides, backbone.level_shapes
        result = fit(dataset, config, *levels, options.num_scales, options.num_ratios)
        path = Path(options.output_dir) / "anchors.json"
        try:
            if options.output_dir:
                path.parent.mkdir(parents=True, exist_ok=True)
                report.write_json(result, path)
        finally:  # printed last, since a pipe may be closed, but also if it cannot be written
            report.print_fit(result, console)
        if options.output_dir:
            say(f"Written: {path}")
    return 1 if result.kinds[result.training]["share_50"] < options.min_coverage else 0
