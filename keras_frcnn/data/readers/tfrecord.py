"""Reads TFRecords of tf.Example.

``tfrecord_file`` finds the files and their records, ``tf_example`` reads one record, and
``writers.tfrecord`` writes such files. Images are not copied: a ``Record`` holds the position of
its image in the TFRecord file.
"""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_frcnn.config import DataSource
from keras_frcnn.console import with_progress
from keras_frcnn.data.categories import find_label_map, join_categories, read_label_map
from keras_frcnn.data.class_names import choose
from keras_frcnn.data.dataset import MAX_OVERHANG, GroundTruth, Reading, Record, fit_box
from keras_frcnn.data.problems import DataError, Problem, ProblemKind, Remedy
from keras_frcnn.data.readers import coco_json, tf_example, tfrecord_file
from keras_frcnn.data.readers.tf_example import Example

_ROUNDING = 0.001  # largest error in pixels of fractions in float32


@dataclasses.dataclass(frozen=True, eq=False)
class _Classes:
    """The names and numbers of the classes.

    Attributes:
        names: the name of label 0, 1, ...
        categories: the names by their numbers in the files; empty if the files have only names.
        aliases: the class names by the other names that the files use for them.
        are_sparse: whether a label map omits numbers, as COCO's does.
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


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _ImageTruth:
    """The objects of one image as columns, see ``GroundTruth``."""

    labels: Sequence[int]
    bboxes: Sequence[Sequence[float]]
    areas: Sequence[float]
    crowd: Sequence[bool]


def read(source: DataSource) -> Reading:
    """Reads TFRecords of tf.Example with annotated images.

    A split is, under ``source.data_dir``, one of

    - ``train``: the files ``train.tfrecord``, ``train-00000-of-00008.tfrecord`` and so on, or
      ``train.record-00000-of-00008`` and so on; all of them must be there;
    - ``train-0000[0-3]*``: the files that the pattern finds.

    Details:

    - An image id is ``image/id``, or else ``image/source_id``, ``image/filename``, or the file with
      the record's number. In COCO's data (with ``is_crowd`` or ``area``) a source id of digits is a
      number. If two splits share an id, all ids are prefixed with the split and a slash.
    - The classes are those of the label map beside the files, ``label_map.pbtxt`` or another
      ``*label_map.pbtxt``, in its order. Without a label map they are the texts in the records,
      ordered by their numbers or else sorted. Without texts they are the lines of the classes file,
      counted from 1.
    - Objects are ``difficult`` if the records say ``difficult`` or ``is_crowd``.
    - Boxes are clipped to the image, silently by up to one pixel.

    Args:
        source: the source to read. Its ``classes_file`` names the classes if nothing else does.

    Returns:
        All images whose records can be read, with the problems of their objects. Other records are
        only in ``problems``. COCO's data and label maps that omit numbers have a ``truth``, with
        exactly the values that the writer took from COCO's files.

    Raises:
        DataError: If a folder, a split or a label map cannot be read. The error names it.
    """
    split_of: dict[pathlib.Path, str] = {}  # each file is read once
    for split in source.splits:
        for path in tfrecord_file.locate(source.data_dir, split):
            split_of.setdefault(path, split)
    files = {
        split: [path for path, of in split_of.items() if of == split] for split in split_of.values()
    }
    return read_files(source, files)


def read_files(source: DataSource, files: Mapping[str, Sequence[pathlib.Path]]) -> Reading:
    """Reads TFRecords from given files.

    Args:
        source: see ``read``.
        files: the files of each split, by name.

    Returns:
        The reading, see ``read``.

    Raises:
        DataError: See ``read``.
    """
    problems: list[Problem] = []
    places = []
    for split, paths in files.items():
        for path in paths:
            found, problem = tfrecord_file.index(split, path)
            places += found
            problems += [problem] if problem else []
    # One thread reads the files sequentially; several threads would wait for each other.
    results = map(_read_example, places)
    results = list(with_progress(results, "Reading records", len(places)))
    problems += [result for result in results if isinstance(result, Problem)]
    examples = [result for result in results if isinstance(result, Example)]
    folders = dict.fromkeys(path.parent for paths in files.values() for path in paths)
    classes = _choose_classes(source, list(folders), examples)
    any_coco = any(example.is_coco for example in examples)

    kept: list[tuple[Record, _ImageTruth]] = []
    for example, image_id in zip(examples, _image_ids(examples), strict=True):
        try:
            if image_id is None:
                raise DataError(_repeated(example))
            kept.append(_convert(example, image_id, any_coco, classes))
        except DataError as error:
            problems += [_placed(problem, example.place) for problem in error.problems]
    truth = None
    if kept and (classes.are_sparse or all(record.form == "coco" for record, _ in kept)):
        category_ids = tuple(classes.categories) or tuple(range(1, len(classes.names) + 1))
        truth = _join_truths(kept, classes.names, category_ids)
    return Reading(classes.names, [record for record, _ in kept], problems, truth)


def _read_example(place: tfrecord_file.Place) -> Example | Problem:
    """Reads one record and the header of its image; returns a problem if it is unusable."""
    try:
        return tf_example.decode(tfrecord_file.read(place), place)
    except DataError as error:
        return _placed(error.problems[0], place)
    except (ValueError, OSError) as error:
        kind, remedy = ProblemKind.INVALID_ENTRY, Remedy.LEAVE_OUT
        return _placed(Problem(kind=kind, message=str(error), remedy=remedy), place)


def _placed(problem: Problem, place: tfrecord_file.Place, more: str = "") -> Problem:
    """Adds the file and the name of the record, and of the object in it, to a problem."""
    return problem.replace(file=str(place.path), object=f"{place.words}{more}")


def _repeated(example: Example) -> Problem:
    return Problem(
        kind=ProblemKind.REPEATED_IMAGE,
        message=f"the image id {example.image_id!r} occurs a second time",
        remedy=Remedy.LEAVE_OUT,
    )


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
    """Returns the names by number if all records agree on them, or else an empty dict."""
    pairs = {
        (int(number), name)
        for example in examples
        if example.names is not None and example.labels is not None
        for number, name in zip(example.labels, example.names, strict=True)
    }
    numbers, names = ({pair[index] for pair in pairs} for index in (0, 1))
    texts = {name for example in examples for name in example.names or ()}
    is_whole = len(pairs) == len(numbers) == len(names) == len(texts)
    return dict(sorted(pairs)) if is_whole and min(numbers, default=0) > 0 else {}


def _image_ids(examples: Sequence[Example]) -> list[int | str | None]:
    """Returns unique ids; None for an id that occurred earlier in the same split."""
    keys = [(example.place.split, example.image_id) for example in examples]
    firsts = dict(zip(reversed(keys), reversed(range(len(keys))), strict=True))
    unique = len({image_id for _, image_id in firsts}) == len(firsts)
    return [
        None if firsts[key] != row else key[1] if unique else f"{key[0]}/{key[1]}"
        for row, key in enumerate(keys)
    ]


def _convert(
    example: Example, image_id: int | str, any_coco: bool, classes: _Classes
) -> tuple[Record, _ImageTruth]:
    """Converts names to labels, and checks the boxes."""
    boxes, labels, kept, problems = [], [], [], []
    raw, size = example.boxes, [example.height, example.width]
    fine = np.all((raw[:, :2] >= 0) & (raw[:, :2] < raw[:, 2:]) & (raw[:, 2:] <= size), axis=1)
    for index, box in enumerate(raw.astype(np.float32)):
        name, label, problem = _class_of(example, index, classes)
        if problem is not None:
            box = None
        elif not fine[index]:
            written = "yxyx {:g} {:g} {:g} {:g}".format(*raw[index])
            box, problem = fit_box(raw[index], *size, written, MAX_OVERHANG + _ROUNDING)
        if problem is not None:
            problem = problem.replace(number=index + 1, class_name=name, box=raw[index])
            problems.append(_placed(problem, example.place, f": object {index + 1}"))
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
        # Some tools write no keys for objects if an image has none.
        form="coco" if example.is_coco or (any_coco and not len(raw)) else "voc",
        span=example.span,
        problems=tuple(problems),
    )
    areas = None if example.areas is None else example.areas[kept]
    if example.annotations is None:
        return record, _truth_of_record(record, areas)
    return record, _truth_of_annotations(example.annotations, classes.label_of_number)


def _class_of(example: Example, index: int, classes: _Classes) -> tuple[str, int, Problem | None]:
    """Returns the name and label of an object, and the problem with them, if any."""
    number = None if example.labels is None else int(example.labels[index])
    by_number = classes.categories.get(number)
    name = by_number if example.names is None else example.names[index]
    if name is None:
        words = f"{tf_example.LABEL} {number} is an unknown class: no label map names it"
        return "", -1, _unknown_class(words)
    name = classes.aliases.get(name, name)
    if number is not None and by_number not in (None, name):
        words = (
            f"{tf_example.LABEL} {number} is {by_number!r} in the label map; {tf_example.TEXT} "
            f"says {name!r}"
        )
        return name, -1, _unknown_class(words)
    if name not in classes.label_of:
        words = f"unknown class; known are {', '.join(classes.names)}"
        return name, -1, _unknown_class(words)
    return name, classes.label_of[name], None


def _unknown_class(words: str) -> Problem:
    return Problem(kind=ProblemKind.UNKNOWN_CLASS, message=words, remedy=Remedy.DROP)


def _truth_of_record(record: Record, areas: np.ndarray | None) -> _ImageTruth:
    """Converts the objects of a record.

    Args:
        record: the record.
        areas: float64 [G], pixels; None for the areas of the boxes.

    Returns:
        The objects; difficult objects become crowd regions.
    """
    y1, x1, y2, x2 = record.boxes.astype(np.float64).T
    bboxes = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)
    areas = bboxes[:, 2] * bboxes[:, 3] if areas is None else areas
    return _ImageTruth(record.labels, bboxes, areas, record.difficult)


def _truth_of_annotations(text: bytes, label_of: Mapping[int, int]) -> _ImageTruth:
    """Converts annotations in COCO's format.

    Args:
        text: a list of annotations, as JSON.
        label_of: labels by category id.

    Returns:
        The objects.

    Raises:
        DataError: If an annotation is wrong. The error names the key, the annotation, counted from
            0, and what is wrong.
    """
    try:
        items = coco_json.decode(text, list[coco_json.ObjectEntry])
    except DataError as error:
        raise tf_example.fault(tf_example.COCO, error.problems[0].text) from error
    except (ValueError, RecursionError) as error:
        raise tf_example.fault(tf_example.COCO, f"expected JSON. Received: {error}") from error
    rows = []
    for number, item in enumerate(items):
        if isinstance(item, coco_json.ObjectEntry):
            item.image_id = 0
        try:
            _, _, category_id, bbox, area, crowd = coco_json.read_object(item, {0: 0}, label_of)
        except DataError as error:
            key = f"{tf_example.COCO}[{number}]"
            raise tf_example.fault(key, error.problems[0].text) from error
        rows.append((label_of[category_id], bbox, area, bool(crowd)))
    return _ImageTruth(*zip(*rows, strict=True)) if rows else _ImageTruth([], [], [], [])


def _join_truths(
    images: Sequence[tuple[Record, _ImageTruth]],
    class_names: tuple[str, ...],
    category_ids: tuple[int, ...],
) -> GroundTruth:
    """Joins the objects of several images.

    Args:
        images: the records, each with its objects.
        class_names: the name of label 0, 1, ...
        category_ids: COCO's category id of each label.

    Returns:
        The ground truth of these records.
    """

    def joined(name: str, dtype: Any) -> np.ndarray:
        values = (getattr(truth, name) for _, truth in images)
        return np.array(list(itertools.chain.from_iterable(values)), dtype)

    return GroundTruth(
        class_names=class_names,
        category_ids=category_ids,
        image_ids=tuple(record.image_id for record, _ in images),
        rows=np.repeat(np.arange(len(images)), [len(truth.labels) for _, truth in images]),
        labels=joined("labels", np.int64),
        bboxes=joined("bboxes", np.float64).reshape(-1, 4),
        areas=joined("areas", np.float64),
        crowd=joined("crowd", bool),
    )
