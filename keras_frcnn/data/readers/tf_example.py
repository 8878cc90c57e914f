"""Reads an image and its objects from a tf.Example with the keys of the Object Detection API.

TensorFlow's API defines these keys:

- ``image/encoded``: the bytes of the JPEG or PNG file; ``image/format``, ``image/filename``,
  ``image/source_id``, ``image/height``, ``image/width`` (as displayed);
- for each object ``image/object/bbox/{ymin,xmin,ymax,xmax}``, fractions of the image's sides;
  ``image/object/class/{text,label}``, its name and its number in the label map;
  ``image/object/{difficult,is_crowd,area}``.

Fractions in float32 do not restore all pixels exactly, so there are optional keys of our own:

- ``image/id``: the image id with its type, a number or a text;
- ``image/object/bbox/pixels``: the boxes again, yxyx pixels, one after the other;
- ``image/object/coco``: the annotations in COCO's format with all digits, as JSON.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_frcnn.data.images.spans import Span
from keras_frcnn.data.problems import DataError, Problem, ProblemKind, Remedy
from keras_frcnn.data.readers import tfrecord_file
from keras_frcnn.data.readers.annotated import Header, read_header
from keras_frcnn.data.readers.coco_json import is_text

PIXELS = "image/object/bbox/pixels"
COCO = "image/object/coco"
SIDES = tuple(f"image/object/bbox/{side}" for side in ("ymin", "xmin", "ymax", "xmax"))
TEXT, LABEL = "image/object/class/text", "image/object/class/label"
DIFFICULT, CROWD = "image/object/difficult", "image/object/is_crowd"
AREA = "image/object/area"

_NUMBERS = ("float_list", "int64_list")
_WORDS = {"bytes_list": "bytes", "float_list": "floats", "int64_list": "integers"}
_NUMBER = re.compile("0|[1-9][0-9]{0,14}")
_MAX_DISTANCE = 0.01  # pixels between the two versions of a box; rounding causes thousandths
_MAX_NUMBER = 1e18  # far beyond the area of any image


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Example:
    """The content of an example: an image and its G objects.

    Boxes, names and labels are not checked: a box may lie anywhere, and a class may be unknown.

    Attributes:
        place: the position of the example.
        image_id: number or name of the image.
        span: the position of the image in the file.
        height: height in pixels of the image as displayed.
        width: width in pixels of the image as displayed.
        orientation: see ``Record``.
        boxes: float64 [G, 4], yxyx pixels.
        names: the class names of the objects; None if the example has only labels.
        labels: int64 [G], the class numbers; None if the example has only names.
        flags: bool [G], whether each object is a difficult object or a crowd region.
        areas: float64 [G], pixels; None if the example has none.
        annotations: COCO's annotations as JSON; None if the example has none.
        is_coco: whether it has keys that only COCO's data has.
    """

    place: tfrecord_file.Place
    image_id: int | str
    span: Span
    height: int
    width: int
    orientation: int
    boxes: np.ndarray
    names: list[str] | None
    labels: np.ndarray | None
    flags: np.ndarray
    areas: np.ndarray | None
    annotations: bytes | None
    is_coco: bool


def decode(payload: bytes, place: tfrecord_file.Place) -> Example:
    """Reads an example and the header of its image.

    Args:
        payload: the serialized tf.Example.
        place: its position.

    Returns:
        The content of the example.

    Raises:
        DataError: If a value is wrong. The error names the key but not the record.
    """
    features = _Features(payload)
    span, (height, width, orientation) = _read_image(features, payload, place)
    count, boxes = _read_boxes(features, height, width)
    names = features.column(TEXT, ("bytes_list",), count)
    labels = features.column(LABEL, ("int64_list",), count)
    if count and names is None and labels is None:
        raise fault(f"{TEXT} and {LABEL}", "both are missing")
    difficult, crowd = (features.column(k, ("int64_list",), count) for k in (DIFFICULT, CROWD))
    for key, values in ((DIFFICULT, difficult), (CROWD, crowd)):
        if values is not None and not set(values) <= {0, 1}:
            raise fault(key, f"expected 0 or 1. Received: {max(values, key=abs)}")
    areas = features.column(AREA, _NUMBERS, count)
    is_coco = any(key in features for key in (CROWD, AREA, COCO))
    nothing = [0] * count
    return Example(
        place=place,
        image_id=_read_id(features, place, is_coco),
        span=span,
        height=height,
        width=width,
        orientation=orientation,
        boxes=boxes,
        names=None if names is None else [_to_text(TEXT, name) for name in names],
        labels=None if labels is None else np.array(labels, np.int64),
        flags=np.array(difficult or nothing, bool) | np.array(crowd or nothing, bool),
        areas=None if areas is None else _read_areas(areas),
        annotations=features.one(COCO, ("bytes_list",)),
        is_coco=is_coco,
    )


def fault(key: str, words: str, kind: ProblemKind = ProblemKind.INVALID_ENTRY) -> DataError:
    """Returns the error for a key with unusable values, for which the image is left out."""
    message = f"{key}: {words}" if key else words
    return DataError(Problem(kind=kind, message=message, remedy=Remedy.LEAVE_OUT))


class _Features:
    """The features of an example, each checked for its type when it is asked for."""

    def __init__(self, payload: bytes):
        import tensorflow as tf  # slow to import, so only loaded when records are read
        from google.protobuf.message import DecodeError

        try:
            self._features = tf.train.Example.FromString(payload).features.feature
        except DecodeError as error:
            raise fault("", f"expected a tf.Example. Received: {error}") from error

    def __contains__(self, key: str) -> bool:
        return key in self._features

    def values(self, key: str, kinds: Sequence[str]) -> Sequence[Any]:
        """Returns the values of a key; empty if the key is missing."""
        if key not in self._features:
            return ()
        kind = self._features[key].WhichOneof("kind")
        if kind is None:
            return ()
        if kind not in kinds:
            words = " or ".join(_WORDS[k] for k in kinds)
            raise fault(key, f"expected {words}. Received: {_WORDS[kind]}")
        return getattr(self._features[key], kind).value

    def one(self, key: str, kinds: Sequence[str]) -> Any:
        """Returns the only value of a key; None if it has no value."""
        values = self.values(key, kinds)
        if len(values) > 1:
            raise fault(key, f"expected one value. Received: {len(values)}")
        return values[0] if values else None

    def column(self, key: str, kinds: Sequence[str], count: int) -> list | None:
        """Returns the values of a key, one for each object; None if it has no values."""
        values = self.values(key, kinds)
        if not values:
            return None
        if len(values) != count:
            words = f"expected one value for each of the {count} boxes. Received: {len(values)}"
            raise fault(key, words)
        return list(values)


def _read_image(
    features: _Features, payload: bytes, place: tfrecord_file.Place
) -> tuple[Span, Header]:
    """Returns the position of the image, and its height, width and orientation."""
    encoded = features.one("image/encoded", ("bytes_list",))
    if not encoded:
        words = "it is empty" if "image/encoded" in features else "it is missing"
        raise fault("image/encoded", words, ProblemKind.MISSING_IMAGE)
    start = place.offset - tfrecord_file.HEADER_BYTES
    span = Span(start, place.offset + payload.find(encoded), len(encoded))
    header, problem = read_header(place.path, span)
    if header is None:
        raise fault("image/encoded", problem.text, problem.kind)
    for key, true in zip(("image/height", "image/width"), header, strict=False):
        written = features.one(key, ("int64_list",))
        if written not in (None, true):
            words = (
                f"the image is {header[0]} x {header[1]} (height x width, upright by its EXIF "
                f"orientation). The annotation says: {written}"
            )
            raise fault(key, words, ProblemKind.SIZE_MISMATCH)
    return span, header


def _read_boxes(features: _Features, height: int, width: int) -> tuple[int, np.ndarray]:
    """Returns the number of objects, and their boxes in pixels."""
    columns = [features.values(key, _NUMBERS) for key in SIDES]
    count = len(columns[0])
    for key, values in zip(SIDES, columns, strict=True):
        if len(values) != count:
            words = f"expected as many values as {SIDES[0]}, {count}. Received: {len(values)}"
            raise fault(key, words)
    boxes = np.array(columns, np.float64).T.reshape(-1, 4) * [height, width, height, width]
    pixels = features.values(PIXELS, ("float_list",))
    if not pixels:
        return count, boxes
    if len(pixels) != 4 * count:
        words = f"expected four values for each of the {count} boxes. Received: {len(pixels)}"
        raise fault(PIXELS, words)
    exact = np.array(pixels, np.float64).reshape(-1, 4)
    with np.errstate(invalid="ignore"):  # infinities cancel; the box itself is refused later
        apart = np.abs(exact - boxes) > _MAX_DISTANCE
    if np.any(apart | (np.isfinite(exact) != np.isfinite(boxes))):
        words = (
            f"expected the boxes of {SIDES[0]} and so on, in pixels of the image. Received: other "
            "boxes; a tool that changes boxes must leave this key out"
        )
        raise fault(PIXELS, words)
    return count, exact


def _read_id(features: _Features, place: tfrecord_file.Place, is_coco: bool) -> int | str:
    """Returns the image's number or name."""
    image_id = features.one("image/id", ("bytes_list", "int64_list"))
    if isinstance(image_id, int):
        return image_id
    if image_id is not None:
        return _to_text("image/id", image_id)
    for key in ("image/source_id", "image/filename"):
        value = features.one(key, ("bytes_list",))
        if value:
            text = _to_text(key, value)
            # COCO's ids are numbers, and results in COCO's format need numbers too.
            return int(text) if is_coco and _NUMBER.fullmatch(text) else text
    return f"{place.path.name}:{place.number}"


def _read_areas(areas: Sequence[float]) -> np.ndarray:
    values = np.array(areas, np.float64)
    if not np.all((values >= 0) & (values <= _MAX_NUMBER)):
        raise fault(AREA, f"expected finite numbers of at least 0. Received: {values}")
    return values


def _to_text(key: str, value: bytes) -> str:
    text = value.decode("utf-8", "replace")
    if not is_text(text) or "\ufffd" in text:
        raise fault(key, f"expected a text in UTF-8. Received: {value[:100]!r}")
    return text
