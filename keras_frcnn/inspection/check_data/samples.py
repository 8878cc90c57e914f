"""Reads any data set for ``check-data`` with the readers of training; no fault in it stops that.

A folder that holds only images can be read too. Joined data get one set of classes, as in training.
"""

import collections
import concurrent.futures
import dataclasses
import os
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from keras_frcnn.config import Config, DataSource
from keras_frcnn.console import with_progress
from keras_frcnn.data import class_names as classes
from keras_frcnn.data import joining, naming_format, reader_of
from keras_frcnn.data.dataset import Record
from keras_frcnn.data.images import integrity
from keras_frcnn.data.images.integrity import ImageFile
from keras_frcnn.data.images.spans import Span
from keras_frcnn.data.paths import find_images
from keras_frcnn.data.problems import Problem, ProblemKind, Remedy

SUBSETS = ("train", "eval")

_LINK_WORDS = "a link out of the data folder; not shown"
_MOST_THREADS = 8
_ANNOTATION_SUFFIXES = (".xml", ".json", ".yaml", ".yml", ".csv", ".tfrecord", ".record")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Object:
    """One object.

    Attributes:
        number: its position in the annotation, from 1.
        name: its class; may be empty.
        written: float64 [4], the box as written: yxyx pixels, far edge exclusive; it may lie
            anywhere. None if unreadable.
        box: float32 [4], the part of the box inside the image; None if that is not usable.
        problem: what is wrong; None if nothing is.
        difficult: whether it is a difficult object or a crowd region.
    """

    number: int
    name: str
    written: np.ndarray | None
    box: np.ndarray | None
    problem: Problem | None = None
    difficult: bool = False


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One image, its annotation and what is wrong with them.

    Attributes:
        image_id: name of the image in its dataset.
        subset: one of ``SUBSETS``.
        record: the record of the reader.
        path: the image's file; None if there is none, or none that may be opened.
        file: what was found in the image's file.
        objects: the objects; None if there is no readable annotation.
        problems: what is wrong with the image and its annotation as a whole.
    """

    image_id: str
    subset: str
    record: Record
    path: Path | None
    file: ImageFile
    objects: list[Object] | None = None
    problems: list[Problem] = dataclasses.field(default_factory=list)

    @property
    def height(self) -> int:
        """The height in pixels of the image as its boxes refer to it; 0 if unknown."""
        return self.record.height

    @property
    def width(self) -> int:
        """The width in pixels of the image as its boxes refer to it; 0 if unknown."""
        return self.record.width

    @property
    def span(self) -> Span | None:
        """Where in ``path`` the image lies; None: it is the whole file."""
        return self.record.span

    @property
    def annotation(self) -> Path | None:
        """The annotation's file; None if the source has none for each image."""
        return Path(self.record.annotation) if self.record.annotation else None

    @property
    def as_stored(self) -> bool:
        """Whether the boxes refer to the image without its EXIF rotation."""
        turned = (self.file.width, self.file.height)
        is_turned = self.file.orientation >= 5 and turned[0] != turned[1]
        return is_turned and (self.height, self.width) == turned


@dataclasses.dataclass
class Source:
    """All images of a data set.

    Attributes:
        class_names: the classes; found in the training images unless given.
        samples: the images to train on, then those to evaluate on.
        problems: ``(subset, problem)`` for each problem that does not belong to an image.
        remarks: what the user should know about what was read.
        unmatched: ``(subset, class, line)`` for each class of joined data that matches no class.
        repeated: one line for each data set whose image sets are trained on and evaluated on.
        annotated: whether the annotations were read, and not only the images.
    """

    class_names: tuple[str, ...]
    samples: list[Sample]
    problems: list[tuple[str, Problem]] = dataclasses.field(default_factory=list)
    remarks: list[str] = dataclasses.field(default_factory=list)
    unmatched: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)
    repeated: list[str] = dataclasses.field(default_factory=list)
    annotated: bool = True


@dataclasses.dataclass
class _Part:
    """The part of a subset that comes from one source."""

    class_names: tuple[str, ...]
    samples: list[Sample]
    problems: list[tuple[str, Problem]]


def read(
    config: Config,
    asked: Collection[str] = (),
    before_decoding: Callable[[], None] = lambda: None,
) -> Source:
    """Reads the images and annotations of ``train_split`` and ``eval_split``.

    Args:
        config: settings; the data group is used except for ``on_bad_record``.
        asked: which of "train_split" and "eval_split" the user gave. An image set that is not there
            is then an error, even if it is the default one.
        before_decoding: called before TensorFlow is needed, when everything else has been read.

    Returns:
        All images. Each was decoded by Pillow and, if that found no problem, as in training.

    Raises:
        ValueError: if the folder or a split is missing or unreadable as a whole.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings do not name the file
        sources, repeated, remarks = _sources(config, asked)
        parts = [_read_part(source, subset) for source, subset in sources]
    class_names = classes.choose(None, config.classes_file, parts[0].class_names)
    unmatched: list[tuple[str, str, str]] = []
    for (source, subset), part in zip(sources, parts, strict=True):
        lost = _rename(part, class_names, is_joined=len(config.dataset) > 1)
        for name, count in sorted(lost.items()):
            words = f"{source}: {count:,} object{'s' if count > 1 else ''} left out"
            unmatched.append((subset, name, words))
    _tell_apart([source for source, _ in sources], parts)
    before_decoding()
    return Source(
        class_names,
        _decode([sample for part in parts for sample in part.samples]),
        [problem for part in parts for problem in part.problems],
        remarks,
        unmatched,
        repeated,
        any(source.annotated for source, _ in sources),
    )


def has_voc_layout(config: Config) -> bool:
    """Says whether the data are one data set in VOC's layout."""
    if config.dataset != ("voc",):
        return False
    return not _holds_only_images(config.sources(config.train_split)[0])


def _sources(
    config: Config, asked: Collection[str]
) -> tuple[list[tuple[DataSource, str]], list[str], list[str]]:
    """Returns the sources to read, each once and with its subset; a line for each that would be
    read for both subsets; and remarks.
    """
    train, defaults = config.sources(config.train_split), Config()
    is_any = config.train_split == defaults.train_split and "train_split" not in asked
    if is_any and config.dataset == ("voc",) and _holds_only_images(train[0]):
        images = DataSource("folder", train[0].data_dir, ("all",), "skip", annotated=False)
        remark = f"{images.data_dir} has no ImageSets/Main: only the images in it are checked"
        return [(images, "train")], [], [remark]
    evaluation = config.sources(config.eval_split) if config.is_evaluated else ()
    remarks = []
    list_splits = getattr(reader_of(train[0].dataset), "available_splits", None)
    is_default = config.eval_split == defaults.eval_split and len(config.dataset) == 1
    if is_default and "eval_split" not in asked and list_splits is not None:
        with naming_format(train[0]):
            missing = {*config.eval_split} - {*list_splits(train[0].data_dir)}
        if missing and not train[0].split:
            words = "only the training images are checked"
            remarks.append(f"no image set {', '.join(missing)}: {words}")
            evaluation = ()
    seen = {(str(source), frozenset(source.splits)) for source in train}
    again = [s for s in evaluation if (str(s), frozenset(s.splits)) in seen]
    repeated = [f"{s}: {', '.join(s.splits)} is trained on and evaluated on" for s in again]
    fresh = [(source, "eval") for source in evaluation if source not in again]
    return [*((source, "train") for source in train), *fresh], repeated, remarks


def _holds_only_images(source: DataSource) -> bool:
    """Says whether a folder holds images, but no annotations in any format."""
    root = Path(source.data_dir)
    if not source.data_dir or not root.is_dir():
        return False
    images = {path.with_suffix("") for path in find_images(root)}
    texts = {path.with_suffix("") for path in root.rglob("*.txt")}
    is_annotated = images & texts or any(root.rglob("labels"))
    return bool(images) and not is_annotated and not any(map(_is_annotation, root.rglob("*.*")))


def _is_annotation(path: Path) -> bool:
    return path.suffix.lower() in _ANNOTATION_SUFFIXES


def _read_part(source: DataSource, subset: str) -> _Part:
    with naming_format(source):
        reading = reader_of(source.dataset).read(source)
    names = reading.class_names + reading.further_class_names
    root = Path(source.data_dir).resolve()

    def look_at(record: Record) -> Sample:
        return _to_sample(record, subset, names, root, source.annotated)

    found = _in_threads(look_at, reading.records)
    return _Part(names, found, [(subset, problem) for problem in reading.problems])


def _in_threads(function: Callable[[Any], Sample], items: list[Any]) -> list[Sample]:
    """Applies a function to items in order; Pillow releases Python's lock while it decodes."""
    workers = min(_MOST_THREADS, os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        results = pool.map(function, items)
        return list(with_progress(results, "Checking images", len(items)))


def _to_sample(
    record: Record, subset: str, class_names: tuple[str, ...], root: Path, annotated: bool
) -> Sample:
    """Looks at the image of a record, unless its file is a link out of the data folder."""
    problems = [problem for problem in record.problems if not problem.number]
    unreadable = {ProblemKind.MISSING_ANNOTATION, ProblemKind.BROKEN_ANNOTATION}
    annotated = annotated and all(problem.kind not in unreadable for problem in problems)
    path, file = Path(record.path) if record.path else None, ImageFile()
    if path is not None and _leads_out(path, root):
        problems = [p for p in problems if p.kind != ProblemKind.BROKEN_IMAGE]
        problems.append(_link_problem(path))
        path = None
    if record.annotation and _leads_out(Path(record.annotation), root):
        problems.append(_link_problem(record.annotation))
        annotated = False
    if path is not None:
        file = integrity.read(path, record.span)
    if file.problem is not None:  # more precise than the reader's, which saw only the header
        problems = [p for p in problems if p.kind != ProblemKind.BROKEN_IMAGE]
    objects = _objects(record, class_names) if annotated else None
    return Sample(str(record.image_id), subset, record, path, file, objects, problems)


def _leads_out(path: Path, root: Path) -> bool:
    """Says whether a file is a link out of its folder; the folder itself may be a link."""
    try:
        real = path.resolve()
    except (OSError, ValueError):  # a name that no file can have
        return False
    return not (real.is_relative_to(root) or real.is_relative_to(path.parent.resolve()))


def _link_problem(path: Path | str) -> Problem:
    kind, remedy = ProblemKind.OUTSIDE_PATH, Remedy.LEAVE_OUT
    return Problem(kind=kind, message=_LINK_WORDS, file=str(path), remedy=remedy)


def _objects(record: Record, class_names: tuple[str, ...]) -> list[Object]:
    """Returns all objects of a record in their order, including those that its reader dropped."""
    faults = {problem.number: problem for problem in record.problems if problem.number}
    dropped = {number for number, fault in faults.items() if fault.remedy == Remedy.DROP}
    kept = zip(record.boxes, record.labels.tolist(), record.difficult.tolist(), strict=True)
    objects = []
    for number in range(1, len(record.boxes) + len(dropped) + 1):
        fault = faults.get(number)
        if number in dropped:
            objects.append(Object(number, fault.class_name, _finite(fault.box), None, fault))
            continue
        box, label, difficult = next(kept)
        written = box.astype(np.float64) if fault is None else _finite(fault.box)
        objects.append(Object(number, class_names[label], written, box, fault, difficult))
    return objects


def _finite(box: np.ndarray | None) -> np.ndarray | None:
    return box if box is not None and np.all(np.isfinite(box)) else None


def _decode(found: list[Sample]) -> list[Sample]:
    """Decodes the images that Pillow could read again, as training does, because TensorFlow refuses
    some damage that Pillow ignores.

    Args:
        found: the images.

    Returns:
        The same images; those that training would refuse are marked as broken.
    """
    from keras_frcnn.data.images import decoding  # TensorFlow takes seconds to load

    read_well = [sample for sample in found if sample.file.suffix]
    problems = decoding.problems([_bare_record(sample) for sample in read_well])
    words = dict(zip(read_well, problems, strict=True))
    return [_broken(s, words[s]) if words.get(s) else s for s in found]


def _bare_record(sample: Sample) -> Record:
    """Returns the record of an image as displayed, without objects."""
    file = sample.file
    return dataclasses.replace(
        sample.record,
        height=file.height,
        width=file.width,
        orientation=file.orientation,
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int32),
        difficult=np.zeros(0, bool),
    )


def _broken(sample: Sample, words: str) -> Sample:
    file = dataclasses.replace(sample.file, problem=(ProblemKind.BROKEN_IMAGE, words))
    return dataclasses.replace(sample, file=file)


def _rename(part: _Part, class_names: tuple[str, ...], is_joined: bool) -> collections.Counter[str]:
    """Replaces the class names of objects with those of the classes that they match.

    Args:
        part: its samples are changed.
        class_names: the classes.
        is_joined: whether objects that match no class are left out, as in training. Objects with a
            problem stay, because training stops at them in any case.

    Returns:
        The number of objects left out, by class.
    """
    lost: collections.Counter[str] = collections.Counter()
    names = {item.name for sample in part.samples for item in sample.objects or () if item.name}
    names = sorted(names)
    found = classes.candidates(names, class_names)
    name_of = {
        name: class_names[labels[0]] if len(labels) == 1 else None
        for name, labels in zip(names, found, strict=True)
    }
    for place, sample in enumerate(part.samples):
        objects = []
        for item in sample.objects or ():
            name = name_of.get(item.name, item.name)
            if name is None and is_joined and not item.problem:
                lost[item.name] += 1
            elif name in (None, item.name):
                objects.append(item)
            else:
                objects.append(dataclasses.replace(item, name=name))
        if sample.objects is not None:
            part.samples[place] = dataclasses.replace(sample, objects=objects)
    return lost


def _tell_apart(sources: list[DataSource], parts: list[_Part]) -> None:
    """Makes the image ids of different data sets distinct, as ``joining.join`` does."""
    grouped: dict[tuple[str, str], list[_Part]] = {}
    for source, part in zip(sources, parts, strict=True):
        grouped.setdefault((source.dataset, source.data_dir), []).append(part)
    ids = [[s.image_id for part in group for s in part.samples] for group in grouped.values()]
    forms = [form for form, _ in grouped]
    for group, of_group in zip(grouped.values(), joining.distinct(ids, forms), strict=True):
        names = iter(of_group)
        for part in group:
            part.samples[:] = [
                dataclasses.replace(sample, image_id=next(names)) for sample in part.samples
            ]
