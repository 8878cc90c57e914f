"""Writes a data set as TFRecords of tf.Example, with the keys of the Object Detection API.

Examples:
  keras-frcnn write-tfrecords --data_dir=VOCdevkit --train_split=VOC2007/trainval
    --eval_split=VOC2007/test --output_dir=records
  keras-frcnn write-tfrecords --dataset=coco --data_dir=coco --train_split=train2017
    --eval_split=val2017 --output_dir=records

To train on them:
  keras-frcnn train --dataset=tfrecord --data_dir=records --train_split=train --eval_split=eval

The images are copied unchanged. The folder appears once everything is written, or not at all.
"""

from keras_frcnn.cli.command import Command, parse, user_errors
from keras_frcnn.cli.output import print_notes
from keras_frcnn.config.setting import Option

COMMAND = Command(
    "write-tfrecords",
    __doc__,
    options=(
        Option("output_dir", str, "", "New or empty folder to write to.", required=True),
        Option("shard_megabytes", int, 128, "Approximate size of a file, in millions of bytes."),
    ),
    settings=(
        *("dataset", "data_dir", "train_split", "eval_split", "split", "seed"),
        *("classes_file", "on_bad_record"),
    ),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Its flags; None for those of the process.

    Returns:
        The exit code.
    """
    config, options = parse(COMMAND, argv)
    with user_errors(COMMAND):
        from rich.console import Console

        from keras_frcnn import data
        from keras_frcnn.data.writers import tfrecord

        tfrecord.check_folder(options.output_dir)
        subsets = {"train": config.train_split}
        if config.is_evaluated and set(config.eval_split) != set(config.train_split):
            subsets["eval"] = config.eval_split
        datasets, class_names = {}, None
        for name, splits in subsets.items():
            datasets[name] = data.load(config, splits, class_names)
            class_names = datasets[name].class_names
            print_notes(datasets[name], Console())
        files = tfrecord.write(datasets, options.output_dir, options.shard_megabytes)
        for name, dataset in datasets.items():
            print(f"{name}: {len(dataset.records)} images")
        print(f"Written: {options.output_dir}, {len(files)} files and {tfrecord.LABEL_MAP}")
    return 0
