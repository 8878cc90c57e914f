"""Draws the images to train on from a training split, and stores them in the run folder.

The images of a split are sorted by a hash of the seed and their id, and a run takes the first ones.
So a smaller number draws a part of what a larger one draws, in every format of data. To have every
class from the start, one image of each class comes first, that of the rarest class before all.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_frcnn import files
from keras_frcnn.config import Config
from keras_frcnn.config.data import TRAIN_IMAGES_FILE
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.data.epoch_order import aspects_of
from keras_frcnn.data.problems import invalid
from keras_frcnn.data.splits import rank


def choose(dataset: Dataset, config: Config) -> Dataset:
    """Takes the images to train on: those that the run has stored, or else newly drawn ones.

    Args:
        dataset: the training split.
        config: the settings; if ``train_images`` is 0, all images are taken.

    Returns:
        The data set with these images only, in their order, and a remark.

    Raises:
        ValueError: if there are fewer images than ``train_images``; or if the stored images cannot
            be read, were drawn with other settings, or are no longer in the data.
    """
    if not config.train_images:
        return dataset
    path = Path(config.output_dir, TRAIN_IMAGES_FILE)
    if config.output_dir and path.is_file():
        rows = _read(path, dataset.records, config)
    else:
        rows = draw(dataset.records, config)
    kept = np.zeros(len(dataset.records), bool)
    kept[rows] = True
    chosen = dataset.select(kept)
    number = f"{len(rows)} of {len(kept)} images, drawn with seed {config.seed}"
    chosen.remarks = [*chosen.remarks, number]
    return chosen


def draw(records: Sequence[Record], config: Config) -> list[int]:
    """Draws ``train_images`` of the images that can be trained on, see ``aspects_of``.

    Returns:
        Rows of the records.

    Raises:
        ValueError: if there are fewer images.
    """
    rows = aspects_of(records, config)
    if config.train_images > len(rows):
        raise ValueError(
            f"train_images must be at most {len(rows)}, the number of images to train on in "
            f"{', '.join(config.train_split)}. Received: {config.train_images}"
        )
    ranked = sorted(rows, key=lambda row: rank(config.seed, str(records[row].image_id)))
    first = dict.fromkeys(_one_of_each_class(records, ranked, config))
    return list(first | dict.fromkeys(ranked))[: config.train_images]


def write(dataset: Dataset, config: Config) -> None:
    """Stores the images that a run trains on, unless it trains on the whole split.

    Args:
        dataset: what ``choose`` returned.
        config: the settings; the folder ``output_dir`` must exist.
    """
    if config.train_images:
        content = _drawn(config) | {"images": [record.image_id for record in dataset.records]}
        files.write_text(
            Path(config.output_dir, TRAIN_IMAGES_FILE), json.dumps(content, indent=1) + "\n"
        )


def _one_of_each_class(records: Sequence[Record], ranked: list[int], config: Config) -> list[int]:
    """Returns rows that together show every class, the rarest class first."""
    shown = {row: _learned(records[row], config) for row in ranked}
    holders: dict[int, list[int]] = {}
    for row in ranked:
        for label in shown[row]:
            holders.setdefault(label, []).append(row)
    rows, missing = [], sorted(holders, key=lambda label: (len(holders[label]), label))
    while missing:
        rows.append(holders[missing[0]][0])
        missing = [label for label in missing if label not in shown[rows[-1]]]
    return rows


def _learned(record: Record, config: Config) -> set[int]:
    """Returns the labels of the objects that training learns."""
    keeps_all = config.resolve_difficult(record.form) == "keep"
    return set(record.labels[keeps_all | ~record.difficult].tolist())


def _drawn(config: Config) -> dict[str, int]:
    return {"seed": config.seed, "train_images": config.train_images}


def _read(path: Path, records: Sequence[Record], config: Config) -> list[int]:
    row_of = {record.image_id: row for row, record in enumerate(records)}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        image_ids, drawn = content["images"], {name: content[name] for name in _drawn(config)}
        missing = [image_id for image_id in image_ids if image_id not in row_of]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise invalid("the images that a run has stored", error, path) from error
    if drawn != _drawn(config):
        words = (
            f"the images were drawn with {drawn}, but the settings are {_drawn(config)}. Delete "
            "the file to draw new images"
        )
        raise invalid("the settings", drawn, path, words)
    if missing:
        words = f"{missing[0]!r} is no longer among the images to train on"
        raise invalid("images of the data", missing[0], path, words)
    return [row_of[image_id] for image_id in image_ids]
