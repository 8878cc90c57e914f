"""The common format of annotated images, in which readers return and training takes them.

A reader is a module of ``readers`` with a function ``read(source) -> Reading``. It returns every
image of a ``config.DataSource``, including faulty ones, each with its problems.
``Reading.settle`` turns this into a ``Dataset``, which holds only usable images; ``joining`` joins
several data sets into one with a common list of classes. The pipeline, evaluation and inspection
know only ``Dataset`` and ``Record``.
"""

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_frcnn.config import DataSource
from keras_frcnn.console import with_progress
from keras_frcnn.data.images.spans import Span
from keras_frcnn.data.problems import (
    DataError,
    Problem,
    ProblemKind,
    Remedy,
    first_lines,
    invalid,
    settle,
)

MAX_OVERHANG = 1.0
"""Pixels by which a box may extend beyond its image and is clipped silently, as tools round."""

_PROGRESS_FROM = 2000


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """One annotated image.

    Attributes:
        image_id: name or number of the image, unique in its dataset.
        path: the file that holds the image; in a ``Reading`` it is empty if the file is missing.
        height: height in pixels of the image as displayed, that is, turned by its EXIF
            orientation. In a ``Reading`` it is the height to which the boxes refer, 0 if unknown.
        width: width in pixels; see ``height``.
        boxes: float32 [G, 4], yxyx pixels of the image as displayed, far edge exclusive.
        labels: int32 [G], the index of each object's class name.
        difficult: bool [G], whether evaluation ignores each object. This is true for VOC's
            difficult objects and COCO's crowd regions.
        orientation: EXIF orientation (1 to 8) of the stored pixels; 1 is upright.
        form: the rules that the annotation follows, "voc" or "coco". Unless settings say
            otherwise, they decide how training treats difficult objects and which metric is used.
        span: the position of the image in ``path`` if this is a TFRecord file; None if the image
            is the whole file.
        annotation: the file that annotates only this image; empty if there is none.
        problems: the problems of the image and its objects. Only the records of a ``Reading`` have
            problems. Dropped objects are not in ``boxes``.
    """

    image_id: str | int
    path: str
    height: int
    width: int
    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray
    orientation: int = 1
    form: str = "voc"
    span: Span | None = None
    annotation: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def name(self) -> str:
        """The name of the image in messages."""
        return self.path if self.span is None else f"{self.path}: image {self.image_id}"

    @property
    def is_usable(self) -> bool:
        """Whether the image can be used in spite of its problems."""
        return all(problem.remedy != Remedy.LEAVE_OUT for problem in self.problems)


@dataclasses.dataclass(frozen=True, eq=False)
class GroundTruth:
    """The objects of all images as columns, which COCO's evaluation compares detections with.

    The boxes are exactly those of the annotations: unlike the boxes of records, they are neither
    rounded nor clipped.

    Attributes:
        class_names: the name of label 0, 1, ...
        category_ids: COCO's category id of each label.
        image_ids: the ids of all images, including images without objects.
        rows: int64 [N], the index of each object's image in ``image_ids``.
        labels: int64 [N].
        bboxes: float64 [N, 4]: x, y, width, height in pixels of the image.
        areas: float64 [N], in pixels; the area of the outline if the annotations have outlines.
        crowd: bool [N], whether each object is a region to ignore.
    """

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    image_ids: tuple[str | int, ...]
    rows: np.ndarray
    labels: np.ndarray
    bboxes: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray

    def select(self, images: np.ndarray, objects: np.ndarray | None = None) -> "GroundTruth":
        """Selects some of the images and some of their objects.

        Args:
            images: bool, whether to keep each of ``image_ids``.
            objects: bool [N], whether to keep each object of these images; by default all are kept.

        Returns:
            A copy with only these images and objects.
        """
        in_images = images[self.rows]
        objects = in_images if objects is None else objects & in_images
        new_rows = np.cumsum(images) - 1
        return dataclasses.replace(
            self,
            image_ids=tuple(i for i, kept in zip(self.image_ids, images, strict=True) if kept),
            rows=new_rows[self.rows[objects]],
            labels=self.labels[objects],
            bboxes=self.bboxes[objects],
            areas=self.areas[objects],
            crowd=self.crowd[objects],
        )


@dataclasses.dataclass
class Dataset:
    """Usable records and their classes.

    Attributes:
        class_names: the name of label 0, 1, ...; background is not among them.
        records: the images.
        problems: the problems because of which something was left out, dropped or clipped.
        truth: the objects of exactly these records for COCO's evaluation, if all sources are in
            COCO's format. If it is None, evaluation uses the records instead.
        remarks: what the user should know about how the sources were joined.
    """

    class_names: tuple[str, ...]
    records: list[Record]
    problems: list[Problem] = dataclasses.field(default_factory=list)
    truth: GroundTruth | None = None
    remarks: list[str] = dataclasses.field(default_factory=list)

    @property
    def form(self) -> str:
        """The form of the first record; "coco" if there are no records."""
        return self.records[0].form if self.records else "coco"

    @property
    def skipped(self) -> list[str]:
        """One line for each problem, which also says what was done about it."""
        return [problem.skipped_line for problem in self.problems]

    def select(self, kept: np.ndarray) -> "Dataset":
        """Returns a copy with some of the records.

        Args:
            kept: bool, whether to keep each record.
        """
        records = [record for record, stays in zip(self.records, kept, strict=True) if stays]
        truth = self.truth and self.truth.select(kept)
        return dataclasses.replace(self, records=records, truth=truth)


@dataclasses.dataclass
class Reading:
    """Everything that a reader finds in a source.

    Attributes:
        class_names: the classes of the usable images, in the order of their labels.
        records: all images, each with its problems.
        problems: the problems that do not belong to a record.
        truth: the objects of exactly these records for COCO's evaluation, if the source is in
            COCO's format.
        further_class_names: the classes that only unusable images and objects have. Their labels
            follow those of ``class_names``.
    """

    class_names: tuple[str, ...]
    records: list[Record]
    problems: list[Problem] = dataclasses.field(default_factory=list)
    truth: GroundTruth | None = None
    further_class_names: tuple[str, ...] = ()

    def settle(self, source: DataSource) -> Dataset:
        """Makes the dataset that training uses, without the images that cannot be used.

        For an image that is left out, only the first reason is reported.

        Args:
            source: the source that was read.

        Returns:
            The dataset.

        Raises:
            DataError: If there is any problem and ``on_bad_record`` is "error", or if no image is
                left. The error names the files and objects.
        """
        usable = [record.is_usable for record in self.records]
        images = [
            next(p for p in record.problems if p.remedy == Remedy.LEAVE_OUT)
            for record, is_usable in zip(self.records, usable, strict=True)
            if not is_usable
        ]
        kept = [r for r, is_usable in zip(self.records, usable, strict=True) if is_usable]
        objects = [p for record in kept for p in record.problems if p.remedy != Remedy.NONE]
        problems = settle([*self.problems, *images, *objects], source.on_bad_record)
        truth = self.truth
        if truth is not None and not all(usable):
            truth = truth.select(np.array(usable, bool))
        if not kept and (truth is None or not truth.image_ids):
            raise _nothing_readable(source, problems)
        return Dataset(
            self.class_names,
            [dataclasses.replace(r, problems=()) if r.problems else r for r in kept],
            problems,
            truth,
            _similar_files(kept),
        )


def _similar_files(records: Sequence[Record]) -> list[str]:
    """Returns one line about the images that other files could be as well; or none."""
    kind = ProblemKind.SIMILAR_FILE
    found = [problem for record in records for problem in record.problems if problem.kind == kind]
    more = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
    return [f"{found[0]}{more}"] if found else []


def _nothing_readable(source: DataSource, problems: Sequence[Problem]) -> DataError:
    expected = f"readable images in {', '.join(source.splits)}"
    lines = first_lines([problem.skipped_line for problem in problems])
    received = f"none:\n{lines}" if lines else "none"
    message = f"expected {expected}. Received: {received}"
    return invalid(expected, received, source.data_dir, message)


def check(record: Record, class_names: Sequence[str]) -> None:
    """Checks that a record is valid.

    Args:
        record: the record.
        class_names: the dataset's classes.

    Raises:
        ValueError: If it is not. The error names the image's file and the faulty object, counted
            from 1.
    """
    lengths = [len(record.boxes), len(record.labels), len(record.difficult)]
    if record.height < 1 or record.width < 1 or record.orientation not in range(1, 9):
        raise ValueError(
            f"{record.name}: height and width must be positive and orientation 1 to 8. Received: "
            f"{record.height} x {record.width}, orientation {record.orientation}"
        )
    if record.boxes.shape != (lengths[0], 4) or len(set(lengths)) > 1:
        raise ValueError(
            f"{record.name}: boxes must be [G, 4], labels and difficult [G]. Received: "
            f"{record.boxes.shape}, {record.labels.shape} and {record.difficult.shape}"
        )
    boxes, size = record.boxes, np.array([record.height, record.width])
    if (  # checks all objects at once, because there may be a million
        np.all((boxes[:, :2] >= 0) & (boxes[:, :2] < boxes[:, 2:]) & (boxes[:, 2:] <= size))
        and np.all((record.labels >= 0) & (record.labels < len(class_names)))
    ):
        return
    for number, (box, label) in enumerate(zip(boxes, record.labels, strict=True), start=1):
        fault = box_fault(box, record.height, record.width)
        if not 0 <= label < len(class_names):
            fault = f"label {label} is not one of the {len(class_names)} classes' (from 0)"
        if fault:
            raise ValueError(f"{record.name}: object {number}: {fault}")


def box_fault(box: np.ndarray, height: int, width: int) -> str:
    """Describes what is wrong with a box.

    Args:
        box: [4], yxyx pixels, far edge exclusive.
        height: height of the image that should contain the box.
        width: width of the image that should contain the box.

    Returns:
        A description; empty for a finite box of positive area inside the image.
    """
    numbers = "[" + ", ".join(f"{value:g}" for value in box) + "]"
    if not np.all(np.isfinite(box)):
        return f"box {numbers} (yxyx) is not finite"
    if box[2] <= box[0] or box[3] <= box[1]:
        return f"box {numbers} (yxyx) has no area"
    if box[0] < 0 or box[1] < 0 or box[2] > height or box[3] > width:
        return f"box {numbers} (yxyx) leaves the image of height {height}, width {width}"
    return ""


def fit_box(
    box: np.ndarray,
    height: float,
    width: float,
    written: str,
    max_overhang: float = MAX_OVERHANG,
) -> tuple[np.ndarray | None, Problem | None]:
    """Clips a box from an annotation to its image.

    Args:
        box: float64 [4], yxyx pixels, far edge exclusive. It may hold any numbers.
        height: height of the image in pixels; infinite if unknown.
        width: width of the image in pixels; infinite if unknown.
        written: the box as its file gives it, for messages.
        max_overhang: pixels by which the box may extend beyond the image without a problem.

    Returns:
        ``(box, problem)``: the part of the box inside the image, float32 [4], or None if there is
        none; and the problem with the box, or None.
    """

    def problem(kind: ProblemKind, words: str, remedy: Remedy = Remedy.DROP) -> Problem:
        return Problem(kind=kind, message=f"box {words} ({written})", box=box, remedy=remedy)

    if not np.all(np.isfinite(box)):
        return None, problem(ProblemKind.DEGENERATE_BOX, "is not finite")
    if np.any(box[:2] >= box[2:]):
        return None, problem(ProblemKind.DEGENERATE_BOX, "has no area")
    inside = np.clip(box, 0, [height, width, height, width])
    overhang = np.max(np.abs(box - inside))
    with np.errstate(over="ignore"):  # if the size is unknown, numbers may exceed float32
        inside = inside.astype(np.float32)
    vanishes = bool(np.any(inside[:2] >= inside[2:]))
    if overhang > max_overhang:
        words = "leaves the image"
        words += f" of height {height}, width {width}" if np.isfinite(height) else ""
        remedy = Remedy.DROP if vanishes else Remedy.CLIP
        return None if vanishes else inside, problem(ProblemKind.OUTSIDE_BOX, words, remedy)
    if not vanishes:
        return inside, None
    if overhang:
        return None, problem(ProblemKind.OUTSIDE_BOX, "lies outside the image")
    return None, problem(ProblemKind.DEGENERATE_BOX, "has no area in float32")


def map_in_threads(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """Applies a function that mostly waits for files to many items in parallel.

    Long lists of items get a progress bar.

    Args:
        function: called with one item, from several threads.
        items: the items.

    Yields:
        The results, in the order of the items.
    """
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = pool.map(function, items)
        if len(items) > _PROGRESS_FROM:
            results = with_progress(results, "Reading annotations", len(items))
        yield from results
