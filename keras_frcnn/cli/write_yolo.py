"""Writes a data set in the YOLO layout: data.yaml, images/ and labels/.

Examples:
  keras-frcnn write-yolo --data_dir=VOCdevkit --train_split=VOC2007/trainval
  --eval_split=VOC2007/test --output_dir=yolo

To train on it: keras-frcnn train --dataset=yolo --data_dir=yolo --train_split=train
--eval_split=val. The images are copied unchanged. Difficult objects and crowd regions are left out
and counted, because the layout cannot mark them. The folder only appears once everything is
written.
"""

from keras_frcnn.cli.command import Command, parse, user_errors
from keras_frcnn.cli.write_tfrecords import OUTPUT_DIR, SETTINGS, read_splits
from keras_frcnn.console import say

COMMAND = Command(
    "write-yolo",
    __doc__,
    options=(OUTPUT_DIR,),
    settings=SETTINGS,
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code.
    """
    config, options = parse(COMMAND, argv)
    with user_errors(COMMAND, options.output_dir):
        from keras_frcnn.data.writers import yolo
        from keras_frcnn.data.writers.new_folder import check_folder

        check_folder(options.output_dir)
        datasets = read_splits(config, "train", "val")
        left_out = yolo.write(datasets, options.output_dir)
        for name, dataset in datasets.items():
            more = f", {left_out[name]} difficult objects left out" if left_out[name] else ""
            say(f"{name}: {len(dataset.records)} images{more}")
        say(f"Written: {options.output_dir}")
    return 0
