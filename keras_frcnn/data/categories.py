"""Class numbers: COCO's categories, VOC's classes, and the label maps of TensorFlow's tools."""

import pathlib
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

_COCO_NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
    "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
_COCO_MISSING = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)

COCO_CATEGORIES = dict(
    zip((n for n in range(1, 91) if n not in _COCO_MISSING), _COCO_NAMES, strict=True)
)
"""Names of COCO 2014's and 2017's classes by category id."""

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
"""VOC's classes, in the order of their labels."""

_MAX_BYTES = 2**24
_BACKGROUND = ("background", "none_of_the_above")  # the allowed names of number 0
_FIELDS = ("name", "id", "display_name")


def join_categories(sources: Iterable[tuple[pathlib.Path, Mapping[int, str]]]) -> dict[int, str]:
    """Joins the categories of several files.

    Args:
        sources: each file and its names by number.

    Returns:
        Names by number, in the order of the files.

    Raises:
        ValueError: If the files contradict each other. The error names the file.
    """
    joined: dict[int, str] = {}
    for path, categories in sources:
        differ = any(joined.get(key, name) != name for key, name in categories.items())
        joined |= categories
        if differ or len(set(joined.values())) < len(joined):
            raise ValueError(
                f"{path}: expected the same category ids and names as in the other splits. "
                f"Received: {reprlib.repr(dict(categories))}"
            )
    return joined


def find_label_map(folders: Iterable[pathlib.Path]) -> pathlib.Path | None:
    """Finds the label map in the first folder that has one.

    It is the file ``label_map.pbtxt``, or else the only ``*label_map.pbtxt``.

    Raises:
        ValueError: If a folder has several, but no ``label_map.pbtxt``. The error names the folder.
    """
    for folder in folders:
        found = sorted(path for path in folder.glob("*label_map.pbtxt") if path.is_file())
        plain = [path for path in found if path.name == "label_map.pbtxt"] or found
        if len(plain) > 1:
            raise ValueError(
                f"{folder}: expected one label map, or one named label_map.pbtxt. Received: "
                f"{', '.join(path.name for path in found)}"
            )
        if plain:
            return plain[0]
    return None


def read_label_map(path: pathlib.Path) -> tuple[dict[int, str], dict[str, str]]:
    """Reads a label map: ``item { id: 1 name: "cat" }`` in protobuf's text format for each class.

    Args:
        path: the file. If it has a number 0, this is the background.

    Returns:
        ``(names, aliases)``: the names by number in the order of the file, which are
        ``display_name`` or else ``name``; and the names by ``name``.

    Raises:
        ValueError: If the file is not a label map, or contains a number or a name twice. The error
            names the file.
    """
    from google.protobuf import text_format

    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"more than {_MAX_BYTES} bytes are refused")
        text = path.read_text(encoding="utf-8-sig")
        items = text_format.Parse(text, _message(), allow_unknown_field=True).item
    except (OSError, ValueError, text_format.ParseError, RecursionError) as error:
        raise ValueError(f"{path}: expected a label map. Received: {error}") from error
    names, aliases = {}, {}
    for item in items:
        name = item.display_name or item.name
        if item.id == 0 and item.name.lower() in _BACKGROUND:
            continue
        if item.id < 1 or not name.isprintable() or not name:
            raise ValueError(
                f"{path}: expected a number from 1 and a name in every item. "
                f"Received: id {item.id}, name {name!r}"
            )
        if item.id in names or name in names.values():
            raise ValueError(
                f"{path}: every id and name must occur only once. "
                f"Received twice: {item.id} or {name!r}"
            )
        names[item.id] = name
        aliases[item.name] = name
    if not names:
        raise ValueError(f"{path}: expected at least one item. Received: none")
    return names, aliases


def write_label_map(path: pathlib.Path, names: Mapping[int, str]) -> None:
    """Writes a label map that ``read_label_map`` reads back in the same order."""
    from google.protobuf import text_format

    message = _message()
    for number, name in names.items():
        message.item.add(id=number, name=name)
    path.write_text(text_format.MessageToString(message, as_utf8=True), encoding="utf-8")


def _message() -> Any:
    """Returns an empty message of the form that TensorFlow's Object Detection API declares."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="label_map.proto", package="label_map")
    item = file.message_type.add(name="Item")
    for number, name in enumerate(_FIELDS, start=1):
        kind = field.TYPE_INT32 if name == "id" else field.TYPE_STRING
        item.field.add(name=name, number=number, type=kind, label=field.LABEL_OPTIONAL)
    whole = file.message_type.add(name="LabelMap")
    whole.field.add(
        name="item",
        number=1,
        type=field.TYPE_MESSAGE,
        type_name=".label_map.Item",
        label=field.LABEL_REPEATED,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("label_map.LabelMap"))()
