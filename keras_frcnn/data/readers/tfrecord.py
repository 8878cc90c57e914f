"""Reader of TFRecords of tf.Example; ``tf_example`` says in which keys, ``tfrecord_writer`` writes
them.

Images are not copied: a record points to where its image lies in the TFRecord file.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from keras_frcnn.config import DataSource
from keras_frcnn.console import with_progress
from keras_frcnn.data import dataset
from keras_frcnn.data.class_names import choose
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.data.readers import image_truth, tf_example, tfrecord_file
from keras_frcnn.data.readers.categories import find_label_map, join_categories, read_label_map
from keras_frcnn.data.readers.coco_json import Problems
from keras_frcnn.data.readers.image_truth import ImageTruth
from keras_frcnn.data.readers.tf_example import Example

_ROUNDING = 0.001  # pixels that fractions in float32 may be off


@dataclasses.dataclass(frozen=True, eq=False)
class _Classes:
    """How classes are called and counted.

    Attributes:
        names: name of label 0, 1, ...
        categories: names of the numbers in the files; empty if they have only names.
        aliases: other names in the files, with those that count.
        are_sparse: whether a label map leaves numbers out, as COCO's does.
    """

    names: tuple[str, ...]
    categories: dict[int, str]
    aliases: dict[str, str]
    are_sparse: bool

    @functools.cached_property
    def label_of(self) -> dict[str, int]:
        """Labels by name."""
        return {name: label for label, name in enumerate(self.names)}

    @functools.cached_property
    def label_of_number(self) -> dict[int, int]:
        """Labels by number."""
        return {number: label for label, number in enumerate(self.categories)}


def read(source: DataSource, splits: Sequence[str]) -> Dataset:
    """Reads TFRecords of tf.Example with annotated images.

    A split is, under ``source.data_dir``, one of

    - ``train``: the files ``train.tfrecord``, ``train-00000-of-00008.tfrecord`` and so on, or
      ``train.record-00000-of-00008`` and so on; all of them must be there;
    - ``train-0000[0-3]*``: the files that the pattern finds.

    - An image id is ``image/id``, else ``image/source_id``, else ``image/filename``, else the file
      and the record's number in it. Of COCO's data (with ``is_crowd`` or ``area``) a source id of
      digits is a number. Where two splits share one, the split and a slash stand before all ids.
    - Classes are those of the label map beside the files, ``label_map.pbtxt`` or another
      ``*label_map.pbtxt``, in its order; without one the texts in the records, by their numbers or
      else sorted; without texts too the lines of the classes file, the first of which has number 1.
    - Objects are ``difficult`` if the records say ``difficult`` or ``is_crowd``.
    - Boxes are clipped to the image, silently by up to one pixel.

    Args:
        source: its ``data_dir``, ``on_bad_record`` and ``classes_file``.
        splits: splits to join.

    Returns:
        The dataset. With ``on_bad_record="skip"`` damaged records and unreadable images are left
        out, impossible boxes dropped or clipped and unknown classes dropped, each with a line in
        ``skipped``. ``truth`` is there for COCO's data and for label maps that leave numbers out;
        what ``tfrecord_writer`` took from COCO's files is in it to the last digit, image by
        image.

    Raises:
        ValueError: naming the folder, split, or file, record (counted from 1) and key.
    """
    split_of: dict[pathlib.Path, str] = {}  # each file is read once
    for split in splits:
        for path in tfrecord_file.locate(source.data_dir, split):
            split_of.setdefault(path, split)
    files = {
        split: [path for path, of in split_of.items() if of == split] for split in split_of.values()
    }
    return read_files(source, files)


def read_files(source: DataSource, files: Mapping[str, Sequence[pathlib.Path]]) -> Dataset:
    """Reads TFRecords, see ``read``.

    Args:
        source: as for ``read``.
        files: the files of each split by its name.

    Returns:
        The dataset, as ``read``.

    Raises:
        ValueError: as ``read``.
    """
    problems: Problems = []
    places = []
    for split, paths in files.items():
        for path in paths:
            found, problem = tfrecord_file.index(split, path)
            places += found
            problems += [(problem, "what follows in the file left out")] if problem else []
    # In one thread: files are read from front to back, and threads would wait for each other.
    results = map(_read_example, places)
    results = list(with_progress(results, "Reading records", len(places)))
    problems += [(result, "image left out") for result in results if isinstance(result, str)]
    examples = [result for result in results if not isinstance(result, str)]
    folders = dict.fromkeys(path.parent for paths in files.values() for path in paths)
    classes = _choose_classes(source, list(folders), examples)
    any_coco = any(example.is_coco for example in examples)

    kept: list[tuple[Record, ImageTruth]] = []
    for example, image_id in zip(examples, _image_ids(examples), strict=True):
        try:
            if image_id is None:
                raise ValueError(f"the image id {example.image_id!r} is there already")
            kept.append(_convert(example, image_id, any_coco, classes, problems))
        except ValueError as error:
            problems.append((f"{example.place.name}: {error}", "image left out"))
    skipped = dataset.settle(problems, source.on_bad_record)
    if not kept:
        raise ValueError(
            f"{source.data_dir}: expected readable images in {', '.join(files)}. Received:\n"
            + ("\n".join(skipped) or "none")
        )
    truth = None
    if classes.are_sparse or all(record.form == "coco" for record, _ in kept):
        category_ids = tuple(classes.categories) or tuple(range(1, len(classes.names) + 1))
        truth = image_truth.join(kept, classes.names, category_ids)
    return Dataset(classes.names, [record for record, _ in kept], skipped, truth)


def _read_example(place: tfrecord_file.Place) -> Example | str:
    """Reads one record and its image's header; returns what is wrong if it is unusable."""
    try:
        return tf_example.decode(tfrecord_file.read(place), place)
    except (ValueError, OSError) as error:
        return f"{place.name}: {error}"


def _choose_classes(
    source: DataSource, folders: Sequence[pathlib.Path], examples: Sequence[Example]
) -> _Classes:
    """Chooses the class names, in the order that ``read`` documents."""
    root = pathlib.Path(source.data_dir)
    maps = {find_label_map([folder, *folders, root]) for folder in folders}
    maps = [(path, *read_label_map(path)) for path in sorted(maps - {None})]
    categories = join_categories((path, names) for path, names, _ in maps)
    aliases = {alias: name for _, _, others in maps for alias, name in others.items()}
    if not maps:
        categories = _numbers_in(examples)
    names = {name for example in examples for name in example.names or ()}
    if not maps and not names and source.classes_file:
        lines = choose(None, source.classes_file, ())
        categories = dict(enumerate(lines, start=1))
    names = tuple(categories.values()) if categories else tuple(sorted(names))
    are_sparse = bool(maps) and sorted(categories) != list(range(1, len(categories) + 1))
    return _Classes(names, categories, aliases, are_sparse)


def _numbers_in(examples: Sequence[Example]) -> dict[int, str]:
    """Returns the names by number that the records agree upon; nothing if they do not."""
    pairs = {
        (int(number), name)
        for example in examples
        if example.names is not None and example.labels is not None
        for number, name in zip(example.labels, example.names, strict=True)
    }
    numbers, names = ({pair[place] for pair in pairs} for place in (0, 1))
    texts = {name for example in examples for name in example.names or ()}
    is_whole = len(pairs) == len(numbers) == len(names) == len(texts)
    return dict(sorted(pairs)) if is_whole and min(numbers, default=0) > 0 else {}


def _image_ids(examples: Sequence[Example]) -> list[int | str | None]:
    """Returns unique ids; None for one that its split has already."""
    keys = [(example.place.split, example.image_id) for example in examples]
    firsts = dict(zip(reversed(keys), reversed(range(len(keys))), strict=True))
    unique = len({image_id for _, image_id in firsts}) == len(firsts)
    return [
        None if firsts[key] != row else key[1] if unique else f"{key[0]}/{key[1]}"
        for row, key in enumerate(keys)
    ]


def _convert(
    example: Example, image_id: int | str, any_coco: bool, classes: _Classes, problems: Problems
) -> tuple[Record, ImageTruth]:
    """Turns names into labels and checks boxes; adds what is impossible to ``problems``."""
    boxes, labels, kept = [], [], []
    raw, size = example.boxes, [example.height, example.width]
    fine = np.all((raw[:, :2] >= 0) & (raw[:, :2] < raw[:, 2:]) & (raw[:, 2:] <= size), axis=1)
    for index, box in enumerate(raw.astype(np.float32)):
        name, label, problem = _class_of(example, index, classes)
        if problem:
            box = None
        elif not fine[index]:
            box, problem = _to_box(raw[index], example.height, example.width)
        if problem:
            what = f"{example.place.name}: object {index + 1} ({name}): {problem}"
            problems.append((what, "object dropped" if box is None else "box clipped"))
        if box is not None:
            boxes.append(box)
            labels.append(label)
            kept.append(index)
    record = Record(
        image_id=image_id,
        path=str(example.place.path),
        height=example.height,
        width=example.width,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int32),
        difficult=example.flags[kept],
        orientation=example.orientation,
        # Some tools write nothing at all of an image without objects.
        form="coco" if example.is_coco or (any_coco and not len(raw)) else "voc",
        span=example.span,
    )
    areas = None if example.areas is None else example.areas[kept]
    if example.annotations is None:
        return record, image_truth.of_record(record, areas)
    return record, image_truth.of_annotations(example.annotations, classes.label_of_number)


def _class_of(example: Example, index: int, classes: _Classes) -> tuple[str, int, str]:
    """Returns the name and label of an object, and what is wrong with them."""
    number = None if example.labels is None else int(example.labels[index])
    by_number = classes.categories.get(number)
    name = by_number if example.names is None else example.names[index]
    if name is None:
        return "", -1, f"{tf_example.LABEL} {number} is an unknown class: no label map names it"
    name = classes.aliases.get(name, name)
    if number is not None and by_number not in (None, name):
        words = f"{tf_example.LABEL} {number} is {by_number!r} in the label map"
        return name, -1, f"{words}; {tf_example.TEXT} says {name!r}"
    if name not in classes.label_of:
        return name, -1, f"unknown class; known are {', '.join(classes.names)}"
    return name, classes.label_of[name], ""


def _to_box(raw: np.ndarray, height: int, width: int) -> tuple[np.ndarray | None, str]:
    """Returns a box inside the image, None if nothing of it is, and what is wrong with it."""
    problem = dataset.box_problem(raw, height, width)
    inside = np.clip(raw, 0, [height, width, height, width])
    if not np.all(np.isfinite(raw)) or np.any(raw[:2] >= raw[2:]):
        return None, problem
    if np.abs(inside - raw).max() <= dataset.MAX_OVERHANG + _ROUNDING:
        problem = ""
    inside = inside.astype(np.float32)
    if dataset.box_problem(inside, height, width):
        return None, problem or dataset.box_problem(inside, height, width)
    return inside, problem
