"""Detectors of other projects by name: ``zoo:torchvision/fasterrcnn_resnet50_fpn_coco``.

``zoo.json`` lists them, with the figures of torchvision/models/detection/faster_rcnn.py and of
detectron2's MODEL_ZOO.md. The beginning of a digest is a part of the file's name. On first use a
file is fetched into the cache, checked and imported; the checkpoint is kept beside it.
"""

import hashlib
import json
import os
import urllib.request
from pathlib import Path
from typing import NamedTuple

from keras_frcnn import files
from keras_frcnn.config.experiment import FORMAT
from keras_frcnn.config.flagfile import nearest
from keras_frcnn.console import with_progress

PREFIX = "zoo:"
CACHE_VARIABLE = "KERAS_FRCNN_CACHE"
_INDEX = Path(__file__).with_name("zoo.json")
_BLOCK = 2**20
_MOST_BLOCKS = 1024  # of a file of unknown size: a gibibyte
_DIGESTS = {"sha256": "SHA-256", "md5": "MD5"}
_TIMEOUT = 30  # seconds without an answer


class Entry(NamedTuple):
    """A detector of the index.

    Attributes:
        source: the project.
        model: the name of the model in the project.
        url: the address of the weights.
        mebibytes: the size of the file, as the project states it; None if it does not.
        digest: the kind of the file's digest and its first digits, such as "sha256:258fb6c6". An
            "md5" shows damage, but is no protection against a forger.
        licence: the licence of the weights.
        classes: the data set whose classes it finds, and their number.
        published: the published result, and the images that it was measured on.
    """

    source: str
    model: str
    url: str
    mebibytes: float | None
    digest: str
    licence: str
    classes: str
    published: str

    @property
    def file(self) -> Path:
        """The place of the weights in the cache."""
        return cache_folder() / self.source / self.url.rpartition("/")[2]


def entries() -> dict[str, Entry]:
    """Returns the detectors of the index, by name without ``zoo:``."""
    index = json.loads(_INDEX.read_text(encoding="utf-8"))
    return {name: Entry(**values) for name, values in index.items()}


def cache_folder() -> Path:
    """Returns the folder of fetched files: ~/.cache/keras_frcnn, or that of KERAS_FRCNN_CACHE."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "keras_frcnn")


def find(name: str) -> Path:
    """Returns the checkpoint of a detector; on first use, fetches and imports its weights.

    Args:
        name: a name of the index, with ``zoo:``.

    Raises:
        ValueError: if there is no such name; if the file cannot be fetched, with what to do; or if
            it is another file than the one that was published.
    """
    known, wanted = entries(), name.removeprefix(PREFIX)
    if wanted not in known:
        hint = nearest(wanted, known, "{}")
        raise ValueError(f"There is no detector {name}.{hint} keras-frcnn zoo lists them")
    entry = known[wanted]
    path = cache_folder() / f"{wanted}.format{FORMAT}.keras"
    if not path.is_file():
        if not entry.file.is_file():
            _fetch(entry)
        _check(entry)
        from keras_frcnn.weights import checkpoint  # needs TensorFlow from here on
        from keras_frcnn.weights.importers.detector import import_detector

        checkpoint.save(import_detector(entry.source, entry.file, entry.model), path)
    return path


def _fetch(entry):
    """Fetches the weights into the cache."""
    entry.file.parent.mkdir(parents=True, exist_ok=True)
    size = round(entry.mebibytes * _BLOCK) if entry.mebibytes else None
    try:
        with (
            files.replacing(entry.file) as part,
            urllib.request.urlopen(entry.url, timeout=_TIMEOUT) as answer,
            open(part, "wb") as file,
        ):
            # No more than these, whatever the server sends.
            blocks = range(size // _BLOCK + 2 if size else _MOST_BLOCKS)
            read = (answer.read(_BLOCK) for _ in blocks)
            text = f"Fetching {entry.file.name}"
            for block in with_progress(read, text, len(blocks) if size else None):
                if not block:
                    break
                file.write(block)
    except OSError as error:
        raise ValueError(
            f"{entry.url} cannot be fetched ({error}): fetch it on another machine and put it into "
            f"{entry.file.parent}"
        ) from error


def _check(entry):
    """Checks that the file in the cache is the published one."""
    kind, _, wanted = entry.digest.partition(":")
    with open(entry.file, "rb") as file:
        digest = hashlib.file_digest(file, _DIGESTS[kind].lower().replace("-", "")).hexdigest()
    if not digest.startswith(wanted):
        raise ValueError(
            f"{entry.file} must be the file of {entry.url}, whose {_DIGESTS[kind]} starts with "
            f"{wanted}. Received: {digest[: len(wanted)]}. Delete it, and it is fetched again"
        )
