"""Writes a data set as TFRecords of tf.Example, with the keys of the Object Detection API.

Examples:
  keras-frcnn write-tfrecords --data_dir=VOCdevkit --train_split=VOC2007/trainval
    --eval_split=VOC2007/test --output_dir=records
  keras-frcnn write-tfrecords --dataset=coco --data_dir=coco --train_split=train2017
    --eval_split=val2017 --output_dir=records

To train on them:
  keras-frcnn train --dataset=tfrecord --data_dir=records --train_split=train --eval_split=eval

The images are copied unchanged. The folder only appears once everything is written.
"""

from typing import TYPE_CHECKING

from keras_frcnn.cli.command import Command, parse, user_errors
from keras_frcnn.cli.output import print_notes
from keras_frcnn.cli.startup import load_tensorflow
from keras_frcnn.config import Config
from keras_frcnn.config.setting import POSITIVE, Option
from keras_frcnn.console import Console, say

if TYPE_CHECKING:
    from keras_frcnn.data.dataset import Dataset

SETTINGS = (
    *("dataset", "data_dir", "train_split", "eval_split", "split", "split_seed", "seed"),
    *("classes_file", "on_bad_record"),
)
"""Settings of a command that reads a data set and writes it in another format."""

OUTPUT_DIR = Option(
    "output_dir", str, "", "New or empty folder to write to.", required=True, output="folder"
)
"""The folder of such a command."""

COMMAND = Command(
    "write-tfrecords",
    __doc__,
    options=(
        OUTPUT_DIR,
        Option(
            "shard_megabytes",
            int,
            128,
            "Approximate size of a file, in millions of bytes.",
            limits=POSITIVE,
        ),
    ),
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
        from keras_frcnn.data.writers.new_folder import check_folder

        check_folder(options.output_dir)
        datasets = read_splits(config, "train", "eval")
        load_tensorflow(names_devices=False)
        from keras_frcnn.data.writers import tfrecord

        files = tfrecord.write(datasets, options.output_dir, options.shard_megabytes)
        for name, dataset in datasets.items():
            say(f"{name}: {len(dataset.records)} images")
        say(f"Written: {options.output_dir}, {len(files)} files and {tfrecord.LABEL_MAP}")
    return 0


def read_splits(config: Config, train: str, evaluation: str) -> "dict[str, Dataset]":
    """Reads the training images and, if they differ, the evaluation images.

    Also prints what was skipped and how data sets were joined.

    Args:
        config: the settings of the command.
        train: the name of the split to train on.
        evaluation: the name of the split to evaluate on.

    Returns:
        The data sets by name; the second has the classes of the first.
    """
    from keras_frcnn import data

    splits = {train: config.train_split}
    if config.is_evaluated and set(config.eval_split) != set(config.train_split):
        splits[evaluation] = config.eval_split
    datasets, class_names = {}, None
    for name, entries in splits.items():
        datasets[name] = data.load(config, entries, class_names)
        class_names = datasets[name].class_names
        print_notes(datasets[name], Console())
    return datasets
