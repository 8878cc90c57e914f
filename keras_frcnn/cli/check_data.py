"""Checks images and annotations for errors before training starts.

Examples:
  keras-frcnn check-data --data_dir=mydata --train_split=train --eval_split=val
  keras-frcnn check-data --data_dir=mydata --output_dir=runs/check --fix=mydata_fixed

The command reports unreadable images, impossible and duplicate boxes, unknown classes, wrong sizes,
images that are in both sets and more, counts classes and boxes, and says whether training would
have nothing to learn from. In a folder without annotations it checks only the images. It reads the
data as training does, so data that passes this check does not stop training. The exit code is 0 if
there is no problem, 1 if there is one, and 2 if the command line is wrong or an image set cannot be
read.
"""

import functools
from pathlib import Path

from keras_frcnn.cli.command import Command, given_settings, parse, user_errors
from keras_frcnn.cli.startup import load_tensorflow
from keras_frcnn.config import Config
from keras_frcnn.config.flags import settings_of
from keras_frcnn.config.setting import Option
from keras_frcnn.console import Console, say

COMMAND = Command(
    "check-data",
    __doc__,
    options=(
        Option(
            "output_dir",
            str,
            "",
            "Folder for check.json and check.html, a page with images. If empty, the findings are "
            "only printed.",
            output="folder",
        ),
        Option(
            "fix",
            str,
            "",
            "New folder for a corrected copy in VOC's layout: boxes are clipped, impossible and "
            "duplicate boxes are dropped, sizes are corrected, images are turned upright, and "
            "unreadable images are left out. The original is never changed.",
            output="folder",
        ),
        Option(
            "near",
            int,
            6,
            "Two images are reported as near-duplicates if their hashes differ in at most this "
            "many of 128 bits; -1 turns this check off.",
        ),
        Option("allow", tuple[str, ...], (), "Kinds of findings that do not count as problems."),
    ),
    writes=("check.json", "check.html"),
    settings=(
        *settings_of("data"),
        "seed",
        "backbone",
        "scales",
        "ratios",
        "rpn_border_anchors",
        "test_post_nms_top_k",
        "max_detections",
    ),
)

_SHOWN_CHANGES = 20


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code: 1 if there is a problem.
    """
    # No weights are loaded, and not every backbone has pretrained ones.
    config, options = parse(COMMAND, argv, base=lambda _: Config(backbone_weights="none"))
    with user_errors(COMMAND, options.fix or options.output_dir):
        from keras_frcnn.inspection.check_data import checks, fix, page
        from keras_frcnn.inspection.check_data import report as check_report

        console = Console()
        folder = Path(options.output_dir)
        if options.fix:
            fix.check_folder(config, options.fix)
        asked = given_settings(COMMAND, argv)
        load = functools.partial(load_tensorflow, names_devices=False)
        report = checks.check(config, options.near, options.allow, asked, before_decoding=load)
        try:
            if options.output_dir:
                folder.mkdir(parents=True, exist_ok=True)
                check_report.write_json(report, folder / "check.json")
                page.write(report, folder / "check.html")
            changes = fix.write(report, options.fix) if options.fix else []
        finally:  # printed last, since a pipe may be closed, but also if nothing can be written
            check_report.print_report(report, console)
        if options.output_dir:
            say(f"Written: {folder}/check.json, {folder}/check.html")
        if options.fix:
            say(f"Corrected copy: {options.fix}, {len(changes)} changes, all in {fix.CHANGES}")
            for line in changes[:_SHOWN_CHANGES]:
                say(f"  {line}")
    return 1 if report.num_problems else 0
