"""Looks for what is wrong with images and annotations, before training does.

Examples:
  keras-frcnn check-data --data_dir=mydata --train_split=train --eval_split=val
  keras-frcnn check-data --data_dir=mydata --output_dir=runs/check --fix=mydata_mended

Finds unreadable images, impossible or doubled boxes, unknown classes, wrong sizes, images in
both sets and more; prints them with the counts of classes and boxes. A folder without annotations
has its images checked. Images are decoded as training decodes them too, so that those that pass
do not stop it. Exit code: 0 if there is no problem, 1 if there is one, 2 if the command line is
wrong.
"""

from pathlib import Path

from keras_frcnn.cli.command import Command, parse, user_errors
from keras_frcnn.config.flags import Option, settings_of

COMMAND = Command(
    "check-data",
    __doc__,
    options=(
        Option(
            "output_dir",
            str,
            "",
            "Folder for check.json and check.html, a page with images; empty: only print.",
        ),
        Option(
            "fix",
            str,
            "",
            "New folder for a mended copy in VOC's layout: boxes clipped, impossible and doubled "
            "ones dropped, sizes set, images upright, unreadable ones left out. The original is "
            "never touched.",
        ),
        Option(
            "near",
            int,
            6,
            "Bits of 128, at most, by which images differ that look the same; -1: do not look.",
        ),
        Option("allow", tuple[str, ...], (), "Kinds of findings that are no problem here."),
    ),
    settings=(*settings_of("data"), "seed"),
)

_SHOWN_CHANGES = 20


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Its flags; None: those of the process.

    Returns:
        The exit code: 1 if there is a problem.
    """
    config, options = parse(COMMAND, argv)
    with user_errors(COMMAND):
        import tensorflow as tf
        from rich.console import Console

        from keras_frcnn.inspection.check_data import checks, mend, page
        from keras_frcnn.inspection.check_data import report as check_report

        tf.config.set_visible_devices([], "GPU")  # which may be busy training
        console = Console(highlight=False)
        folder = Path(options.output_dir)
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"--output_dir must be a folder. Received: {options.output_dir}")
        if options.fix:
            mend.check_folder(config, options.fix)
        report = checks.check(config, options.near, options.allow)
        check_report.print_report(report, console)
        if options.output_dir:
            folder.mkdir(parents=True, exist_ok=True)
            check_report.write_json(report, folder / "check.json")
            page.write(report, folder / "check.html")
            print(f"Written: {folder}/check.json, {folder}/check.html")
        if options.fix:
            changes = mend.write(report, options.fix)
            print(f"Mended copy: {options.fix}, {len(changes)} changes, all in {mend.CHANGES}")
            for line in changes[:_SHOWN_CHANGES]:
                print(f"  {line}")
    return 1 if report.num_problems else 0
