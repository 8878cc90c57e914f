"""Writes a data set as TFRecords of tf.Example, in the keys of the Object Detection API.

Examples:
  keras-frcnn write-tfrecords --data_dir=VOCdevkit --train_split=VOC2007/trainval
  --eval_split=VOC2007/test --output_dir=records
  keras-frcnn write-tfrecords --dataset=coco --data_dir=coco --train_split=train2017
  --eval_split=val2017 --output_dir=records

Then: keras-frcnn train --dataset=tfrecord --data_dir=records --train_split=train --eval_split=eval
Images are copied as they are. The folder appears when all is done, or not at all.
"""

from keras_frcnn.cli.command import Command, parse, user_errors
from keras_frcnn.config.flags import Option

COMMAND = Command(
    "write-tfrecords",
    __doc__,
    options=(
        Option("output_dir", str, "", "New or empty folder to write to.", required=True),
        Option("shard_megabytes", int, 128, "About what a file holds, in millions of bytes."),
    ),
    settings=("dataset", "data_dir", "train_split", "eval_split", "classes_file", "on_bad_record"),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Its flags; None: those of the process.

    Returns:
        The exit code.
    """
    config, options = parse(COMMAND, argv)
    with user_errors(COMMAND):
        from keras_frcnn import data
        from keras_frcnn.data.writers import tfrecord

        tfrecord.check_folder(options.output_dir)
        wanted = {"train": config.train_split, "eval": config.eval_split}
        if set(config.eval_split) == set(config.train_split) or not config.is_evaluated:
            del wanted["eval"]
        datasets, class_names = {}, None
        for name, splits in wanted.items():
            datasets[name] = data.load(config, splits, class_names)
            class_names = datasets[name].class_names
            for line in datasets[name].remarks:
                print(line)
            for line in datasets[name].skipped:
                print(f"skipped: {line}")
        files = tfrecord.write(datasets, options.output_dir, options.shard_megabytes)
        for name, dataset in datasets.items():
            print(f"{name}: {len(dataset.records)} images")
        print(f"Written: {options.output_dir}, {len(files)} files and {tfrecord.LABEL_MAP}")
    return 0
