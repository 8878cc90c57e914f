"""Draws the splits of a plain folder of images, and stores them in the run folder.

Images are sorted by a hash of the seed and their name. The draw depends on nothing else, and adding
or removing an image moves few others to another split.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from keras_frcnn import files
from keras_frcnn.config import Config, DataSource
from keras_frcnn.data.paths import data_folder, find_images, leads_out
from keras_frcnn.data.problems import invalid

SPLIT_NAMES = ("trainval", "test")
"""The names of the image sets for the first and the second share."""


def image_names(root: Path) -> list[str]:
    """Returns the names of all image files below a folder, relative to it and sorted."""
    return sorted(path.relative_to(root).as_posix() for path in find_images(root))


def rank(seed: int, name: str) -> tuple[bytes, str]:
    """Returns the key by which images are sorted in a random order that the seed determines."""
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest(), name


def draw(names: Iterable[str], shares: Sequence[float], seed: int) -> dict[str, list[str]]:
    """Draws splits of images.

    Args:
        names: the images.
        shares: the fraction of the images in each of ``SPLIT_NAMES``, with a sum of at most 1.
        seed: the same seed draws the same splits, for any order of the names.

    Returns:
        The sorted names of each split; no image is in two splits.
    """
    ranked = sorted(names, key=lambda name: rank(seed, name))
    splits, start, total = {}, 0, 0.0
    for split, share in zip(SPLIT_NAMES, shares, strict=True):
        total += share
        end = round(total * len(ranked))
        splits[split] = sorted(ranked[start:end])
        start = end
    return splits


def splits_of(source: DataSource) -> dict[str, list[str]]:
    """Returns the splits of a plain folder: those that its run has stored, or else new ones.

    Args:
        source: a plain folder with ``split``, ``seed`` and ``split_file``.

    Raises:
        DataError: If the file is broken, or was written with other shares or another seed.
    """
    path = Path(source.split_file)
    if source.split_file and path.is_file():
        return _read(path, source)
    return draw(image_names(data_folder(source.data_dir)), source.split, source.seed)


def write(config: Config) -> Path | None:
    """Stores which images of plain folders a run uses for training and for evaluation.

    An existing file is kept, so that a resumed run has the same splits even if images were added in
    the meantime.

    Args:
        config: the settings; the folder ``output_dir`` must exist.

    Returns:
        The file; None if no split is drawn.
    """
    folders = {s.data_dir: s for s in config.sources(config.train_split) if s.split}
    if not folders:
        return None
    path = Path(next(iter(folders.values())).split_file)
    if not path.is_file():
        content = {
            "seed": next(iter(folders.values())).seed,
            "split": list(config.split),
            "folders": [{"data_dir": name} | splits_of(source) for name, source in folders.items()],
        }
        files.write_text(path, json.dumps(content, indent=1) + "\n")
    return path


def _read(path: Path, source: DataSource) -> dict[str, list[str]]:
    expected = "the splits that a run has written"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        drawn = content["seed"], tuple(content["split"])
        folders = {folder["data_dir"]: folder for folder in content["folders"]}
        # The data may have moved since. If there is only one folder, its name does not matter.
        folder = next(iter(folders.values())) if len(folders) == 1 else folders[source.data_dir]
        splits = {name: [_checked(entry) for entry in folder[name]] for name in SPLIT_NAMES}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise invalid(expected, error, path) from error
    if drawn != (source.seed, source.split):
        words = (
            f"the splits were drawn with seed={drawn[0]} and split={_join(drawn[1])}, but the "
            f"settings are seed={source.seed} and split={_join(source.split)}. Delete the file to "
            "draw new splits"
        )
        raise invalid("the seed and the shares of the settings", drawn, path, words)
    return splits


def _checked(name: Any) -> str:
    if not isinstance(name, str) or leads_out(name):
        raise ValueError(f"{name!r} is not the name of an image below the folder")
    return name


def _join(values: Iterable[Any]) -> str:
    return ",".join(map(str, values))
