"""Reads data sets of TensorFlow Datasets (TFDS) that have boxes.

TFDS can only read a split sequentially. Therefore each split is written once as TFRecords, to the
folder ``keras_frcnn`` beside the data sets of TFDS, and read from there. This folder may be
deleted.
"""

import contextlib
import hashlib
import io
import pathlib
import re
import shutil
import socket
import tempfile
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import filelock
import numpy as np
from PIL import Image

from keras_frcnn.config import DataSource
from keras_frcnn.console import with_progress
from keras_frcnn.data.categories import COCO_CATEGORIES
from keras_frcnn.data.dataset import Reading
from keras_frcnn.data.readers import tf_example, tfrecord
from keras_frcnn.data.writers import tfrecord as tfrecord_writer

CACHE = "keras_frcnn"

_FORMAT = 1  # version of the cache; increasing it causes every split to be written again
_SPLIT = re.compile(r"(?P<name>[\w./-]+(?::(?:\d+|\*)(?:\.(?:\d+|\*))*)?):(?P<split>.+)")
_IDS = ("image/id", "image_id", "image/filename", "filename", "file_name")
_FLAGS = {
    "is_difficult": tf_example.DIFFICULT,
    "is_crowd": tf_example.CROWD,
    "area": tf_example.AREA,
}
_PATIENCE = 5.0  # seconds to wait for a host
_ROUNDING = 1e-3  # largest error in pixels of fractions in float32


def read(source: DataSource) -> Reading:
    """Reads data sets of TFDS, such as ``voc/2007`` and ``coco/2017``.

    A data set must have ``objects`` with a ``bbox`` and a ``label``. A split is the name of a data
    set with its config and optionally its version; a colon; and a split in TFDS's notation:
    ``voc/2007:train``, ``coco/2017:1.1.0:validation[:10%]``. A split without a name belongs to the
    data set before it, as in ``voc/2007:train+validation``.

    - A data set that TFDS has not prepared yet is downloaded.
    - The encoded images are copied unchanged.
    - An image id is ``image/id``, or else the stem of the file's name, or else a number.
    - Boxes equal those of the annotations, and the records those of ``voc`` and ``coco``. VOC and
      COCO write at most two decimals; fractions lose them, and rounding restores them. VOC counts
      pixels from 1, so one pixel is subtracted at the top and left, which TFDS does not do.
    - ``is_difficult``, ``is_crowd`` and ``area`` are kept; TFDS truncates COCO's areas to integers.
      COCO's classes have their category ids.

    Args:
        source: the source to read. Its ``data_dir`` is the folder of TFDS; empty for its default.

    Returns:
        The reading, see ``tfrecord.read``.

    Raises:
        ValueError: If TFDS is not installed, does not have the data set or split, or cannot prepare
            or download it. See also ``tfrecord.read``.
    """
    if "://" in source.data_dir:
        raise ValueError(f"--data_dir must be a local folder. Received: {source.data_dir!r}")
    files, name = {}, ""
    for split in source.splits:
        match = _SPLIT.fullmatch(split)
        name, part = (match["name"], match["split"]) if match else (name, split)
        if not name:
            raise ValueError(
                "expected a data set of TFDS, a colon and a split, as in "
                f"voc/2007:train+validation. Received: {split!r}"
            )
        if f"{name}:{part}" not in files:
            files[f"{name}:{part}"] = _cached(source.data_dir, name, part)
    return tfrecord.read_files(source, files)


def _cached(data_dir: str, name: str, split: str) -> list[pathlib.Path]:
    """Returns the TFRecord files of a split, and writes them first if they are missing."""
    tfds = _import()
    with _named(f"{name}:{split}", "no data set of TFDS"), _tidied():
        builder = tfds.builder(name, data_dir=data_dir or None)
    _objects_of(builder)  # before anything is downloaded
    stream = None if builder.is_prepared() else _open(tfds, builder, split)
    known = builder.info.splits
    with _named(f"{name}:{split}", f"expected one of the splits {', '.join(known)}"):
        count = known[split].num_examples if known else None
    root = pathlib.Path(data_dir or builder.data_dir_root).expanduser() / CACHE
    identity = f"{builder.info.full_name}:{split}"
    digest = hashlib.sha256(f"{_FORMAT} {identity} {count}".encode()).hexdigest()[:8]
    folder = root / f"{re.sub(r'[^A-Za-z0-9.+]+', '-', identity).strip('-')}-{digest}"
    with _lock(root):
        if count is None:  # without a count, the cache may be outdated
            shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            stream = stream or _open(tfds, builder, split)
            examples = with_progress(stream, f"Reading {identity}", count)
            categories = _categories(builder)
            payloads = _payloads(builder, examples, split, categories)
            tfrecord_writer.write_folder(folder, {"data": payloads}, dict(categories))
    return sorted(folder.glob("*.tfrecord"))


def _import() -> Any:
    try:
        import importlib_resources  # noqa: F401  TFDS needs it but does not ask for it
        import tensorflow_datasets
    except ImportError as error:
        raise ValueError(
            "dataset tfds needs two more packages: pip install 'keras-frcnn[tfds]' or pip install "
            f"tensorflow-datasets importlib_resources. Received: {error}"
        ) from error
    return tensorflow_datasets


def _open(tfds: Any, builder: Any, split: str) -> Iterator[dict[str, Any]]:
    """Starts to read a split; downloads and prepares the data set if necessary."""
    options = {"split": split, "decoders": {"image": tfds.decode.SkipDecoding()}}
    name, words = f"{builder.info.full_name}:{split}", "TFDS cannot read it"
    stream = None
    with _named(name, words), contextlib.suppress(AssertionError):  # raised if it is not prepared
        stream = builder.as_dataset(**options)
    if stream is None:
        _prepare(builder)
        with _named(name, words):
            stream = builder.as_dataset(**options)

    def examples() -> Iterator[dict[str, Any]]:
        with _named(name, words):
            yield from stream.as_numpy_iterator()

    return examples()


def _prepare(builder: Any) -> None:
    """Downloads a data set, unless no host can be reached, for which TFDS would try for minutes."""
    urls = map(urllib.parse.urlsplit, builder.url_infos or ())
    proxies = urllib.request.getproxies()
    urls = {urllib.parse.urlsplit(proxies.get(url.scheme, url.geturl())) for url in urls}
    hosts = sorted({(url.hostname, url.port or 443) for url in urls if url.hostname})
    name = builder.info.full_name
    if hosts and not any(_answers(*host) for host in hosts):
        raise ValueError(
            f"{name} is not in {builder.data_dir_root}, and it cannot be downloaded without a "
            f"network: {', '.join(host for host, _ in hosts)} cannot be reached. On a machine with "
            f"a network, run 'tfds build {name.rpartition('/')[0]} --data_dir=FOLDER', copy the "
            "folder to this machine and give it as --data_dir; or read the data's original files "
            "with --dataset=voc or --dataset=coco"
        )
    with _named(name, "TFDS cannot prepare it"):
        builder.download_and_prepare()


def _answers(host: str, port: int) -> bool:
    found = threading.Event()

    def knock() -> None:
        with contextlib.suppress(OSError):
            socket.create_connection((host, port), _PATIENCE).close()
            found.set()

    # A thread is needed because looking up a host's address has no timeout.
    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return found.is_set()


def _categories(builder: Any) -> dict[int, str]:
    """Returns the classes by number, in the order of TFDS's labels."""
    feature = _objects_of(builder)["label"]
    names = tuple(feature.names)
    # Until COCO is prepared, TFDS knows only how many classes it has.
    if builder.name == "coco" and len(names) == len(COCO_CATEGORIES):
        return COCO_CATEGORIES
    return dict(enumerate(names, start=1))


def _objects_of(builder: Any) -> Any:
    """Returns the features of an object; refuses data sets without suitable ones."""
    features = dict(builder.info.features.items())
    objects = getattr(features.get("objects"), "feature", {})
    objects = dict(objects.items()) if hasattr(objects, "items") else {}
    form = getattr(objects.get("bbox"), "bbox_format", None)  # None: prepared by an older TFDS
    fits = {"image", "bbox"} <= {*features, *objects} and hasattr(objects.get("label"), "names")
    if not fits or getattr(form, "name", form) not in (None, "REL_YXYX"):
        raise ValueError(
            f"{builder.info.full_name}: expected an image and objects, each with a bbox of "
            f"fractions and a label. Received: {', '.join(features)}; objects of "
            f"{', '.join(objects) or 'nothing'}"
        )
    return objects


def _payloads(
    builder: Any, examples: Iterator[dict[str, Any]], split: str, categories: dict[int, str]
) -> Iterator[bytes]:
    """Converts examples of TFDS to tf.Examples. Faults are kept, and the reader reports them."""
    for number, example in enumerate(examples, start=1):
        image, objects = _encoded(example["image"]), example["objects"]
        size = _size_of(image)
        boxes = np.asarray(objects["bbox"], np.float64).reshape(-1, 4)
        if size is not None:
            boxes = _to_pixels(boxes, size, builder.name).astype(np.float32)
        found = next((example[key] for key in _IDS if key in example), f"{split}-{number}")
        filename = _text(example.get("image/filename", found))
        image_id = int(found) if isinstance(found, np.integer) else pathlib.Path(_text(found)).stem
        known = list(categories.items())
        pairs = [
            known[label] if 0 <= label < len(known) else (0, f"label {label}")
            for label in objects["label"].tolist()
        ]
        columns = {key: objects[name] for name, key in _FLAGS.items() if name in objects}
        columns[tf_example.TEXT] = [name for _, name in pairs]
        columns[tf_example.LABEL] = [number for number, _ in pairs]
        yield tfrecord_writer.encode(image, image_id, filename, size, boxes, columns)


def _encoded(image: bytes | np.ndarray) -> bytes:
    """Returns the bytes of an image file; an array of pixels is encoded as PNG."""
    if isinstance(image, bytes):
        return image
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def _size_of(encoded: bytes) -> tuple[int, int] | None:
    """Returns the height and width of the stored pixels, to which TFDS's boxes refer."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return image.height, image.width
    except Exception:  # Pillow's parsers raise nearly anything on damaged files
        return None


def _to_pixels(fractions: np.ndarray, size: tuple[int, int], name: str) -> np.ndarray:
    """Converts fractions [G, 4] to the pixels of the original annotations."""
    pixels = fractions * np.tile(size, 2)
    if name not in ("voc", "coco"):
        return pixels
    rounded = np.round(pixels, 2)
    pixels = np.where(np.abs(pixels - rounded) < _ROUNDING, rounded, pixels)
    return pixels - [1, 1, 0, 0] if name == "voc" else pixels


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


@contextlib.contextmanager
def _named(name: str, words: str) -> Iterator[None]:
    """Turns any error of TFDS into a ValueError that names the data set."""
    try:
        yield
    except Exception as error:
        received = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{name}: {words}. Received: {received}") from error


@contextlib.contextmanager
def _tidied() -> Iterator[None]:
    """Removes the empty temporary folder that TFDS leaves behind for unprepared data."""
    folder = pathlib.Path(tempfile.gettempdir())
    before = set(folder.glob("*tfds"))
    try:
        yield
    finally:
        for left in set(folder.glob("*tfds")) - before:
            with contextlib.suppress(OSError):  # it is not empty, or another thread removed it
                left.rmdir()


@contextlib.contextmanager
def _lock(folder: pathlib.Path) -> Iterator[None]:
    """Lets only one process at a time work in a folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".lock"):
            yield
    except OSError as error:
        raise ValueError(f"{folder}: cannot be written to: {error}") from error
