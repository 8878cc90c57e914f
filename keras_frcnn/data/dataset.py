"""The one form in which annotated images are passed on: what readers find and training uses.

A reader is a module of ``readers`` with a function ``read(source) -> Reading``. It gives every
image that a ``config.DataSource`` holds, the faulty ones too, each with what is wrong with it.
``Reading.settle`` makes a ``Dataset`` of it, which holds only what can be used; ``joining`` joins
several data sets into one with one list of classes. The pipeline, evaluation and inspection know
only ``Dataset`` and ``Record``.
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
    invalid,
    settle,
)

MAX_OVERHANG = 1.0
"""Pixels by which a box may leave its image and be clipped silently, because tools round."""

_PROGRESS_FROM = 2000


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """One annotated image.

    Attributes:
        image_id: name or number of the image, unique in its dataset.
        path: the file that holds the image; empty in a ``Reading`` if there is none.
        height: pixels of the image as displayed, that is after its EXIF orientation is applied. In
            a ``Reading``, pixels of the image as its boxes see it, and 0 if unknown.
        width: as ``height``.
        boxes: float32 [G, 4], yxyx pixels of the image as displayed, far edge exclusive.
        labels: int32 [G], index of the class name.
        difficult: bool [G], objects that evaluation neither asks for nor counts as mistakes: VOC's
            difficult objects and COCO's crowd regions.
        orientation: EXIF orientation (1 to 8) of the stored pixels; 1 is upright.
        form: whose rules the annotation follows, "voc" or "coco". It decides what becomes of
            difficult objects in training and which metric fits, unless settings say otherwise.
        span: where the image lies in ``path``, a file of TFRecords; None: it is the whole file.
        annotation: the file that annotates this image alone; empty if there is none.
        problems: what is wrong with the image and its objects. Only records of a ``Reading`` have
            any. Objects that are dropped are not in ``boxes``.
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
        """The words for the image in messages."""
        return self.path if self.span is None else f"{self.path}: image {self.image_id}"

    @property
    def is_usable(self) -> bool:
        """Whether no problem makes the whole image unfit for use."""
        return all(problem.remedy != Remedy.LEAVE_OUT for problem in self.problems)


@dataclasses.dataclass(frozen=True, eq=False)
class GroundTruth:
    """What COCO's evaluation compares with: the objects of all images as columns.

    Unlike those of records, boxes are as the annotations have them, neither rounded nor clipped.

    Attributes:
        class_names: name of label 0, 1, ...
        category_ids: COCO's number of each label.
        image_ids: ids of the images, those without objects too.
        rows: int64 [N], index of each object's image in ``image_ids``.
        labels: int64 [N].
        bboxes: float64 [N, 4]: x, y, width, height in pixels of the image.
        areas: float64 [N], pixels; of the outline where the annotations have one.
        crowd: bool [N], regions to ignore.
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
        """Returns the truth of some images with some of their objects.

        Args:
            images: bool, for each of ``image_ids``.
            objects: bool [N]; those of other images go anyway. By default all.

        Returns:
            A copy without the others.
        """
        wanted = images[self.rows]
        objects = wanted if objects is None else objects & wanted
        numbers = np.cumsum(images) - 1
        return dataclasses.replace(
            self,
            image_ids=tuple(i for i, kept in zip(self.image_ids, images, strict=True) if kept),
            rows=numbers[self.rows[objects]],
            labels=self.labels[objects],
            bboxes=self.bboxes[objects],
            areas=self.areas[objects],
            crowd=self.crowd[objects],
        )


@dataclasses.dataclass
class Dataset:
    """Records that can be used, and the classes that their labels count.

    Attributes:
        class_names: name of label 0, 1, ...; background is not among them.
        records: the images.
        problems: what was left out, dropped or clipped.
        truth: the objects of exactly these records for COCO's evaluation, if all sources have its
            form. Otherwise it is made from the records.
        remarks: what the user should know about how sources were joined.
    """

    class_names: tuple[str, ...]
    records: list[Record]
    problems: list[Problem] = dataclasses.field(default_factory=list)
    truth: GroundTruth | None = None
    remarks: list[str] = dataclasses.field(default_factory=list)

    @property
    def form(self) -> str:
        """The form of the first record; COCO's if there is none."""
        return self.records[0].form if self.records else "coco"

    @property
    def skipped(self) -> list[str]:
        """One line for each problem, which says what was done about it."""
        return [problem.skipped_line for problem in self.problems]


@dataclasses.dataclass
class Reading:
    """Everything that a reader finds in a source.

    Attributes:
        class_names: classes of the images that can be used, in the order of their labels.
        records: all images, each with its problems.
        problems: what is wrong without belonging to a record.
        truth: the objects of exactly these records for COCO's evaluation, if the source has its
            form.
        further_class_names: classes that only objects to be left out have. Labels count them after
            ``class_names``.
    """

    class_names: tuple[str, ...]
    records: list[Record]
    problems: list[Problem] = dataclasses.field(default_factory=list)
    truth: GroundTruth | None = None
    further_class_names: tuple[str, ...] = ()

    def settle(self, source: DataSource) -> Dataset:
        """Makes the dataset that training uses: without the images that cannot be used.

        Of an image that is left out only the first reason counts.

        Args:
            source: what was read.

        Returns:
            The dataset.

        Raises:
            DataError: under ``on_bad_record="error"`` if there is any problem; else if no image is
                left. It names the files and objects.
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
        )


def _nothing_readable(source: DataSource, problems: Sequence[Problem]) -> DataError:
    expected = f"readable images in {', '.join(source.splits)}"
    received = "\n".join(problem.skipped_line for problem in problems) or "none"
    message = f"expected {expected}. Received:\n{received}"
    return invalid(expected, received, source.data_dir, message)


def check(record: Record, class_names: Sequence[str]) -> None:
    """Checks that a record keeps what its fields promise.

    Args:
        record: the record.
        class_names: the dataset's classes.

    Raises:
        ValueError: naming the image's file and the object (counted from 1) at fault.
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
    if (  # of all objects at once, since there may be a million
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
    """Says what is wrong with a box.

    Args:
        box: [4], yxyx pixels, far edge exclusive.
        height: pixels of the image that should hold the box.
        width: likewise.

    Returns:
        A few words; empty for a finite box of positive area inside the image.
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
    """Clips a box as it was written to its image.

    Args:
        box: float64 [4], yxyx pixels, far edge exclusive; any numbers.
        height: pixels of the image; infinite if unknown.
        width: likewise.
        written: the box in words, as its file gives it.
        max_overhang: pixels by which the box may leave the image without being a problem.

    Returns:
        The box inside the image, float32 [4], or None if nothing of it lies there; and what is
        wrong with it, None if nothing is.
    """

    def problem(kind: ProblemKind, words: str, remedy: Remedy = Remedy.DROP) -> Problem:
        return Problem(kind=kind, message=f"box {words} ({written})", box=box, remedy=remedy)

    if not np.all(np.isfinite(box)):
        return None, problem(ProblemKind.DEGENERATE_BOX, "is not finite")
    if np.any(box[:2] >= box[2:]):
        return None, problem(ProblemKind.DEGENERATE_BOX, "has no area")
    inside = np.clip(box, 0, [height, width, height, width])
    overhang = np.max(np.abs(box - inside))
    with np.errstate(over="ignore"):  # where the size is unknown, numbers may be beyond float32
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


def read_files(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """Applies a function that mostly waits for files to many items, in parallel and in order.

    Args:
        function: called with one item, from several threads.
        items: one for each call.

    Yields:
        The results in the order of the items; a long run on a terminal shows a progress bar.
    """
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = pool.map(function, items)
        if len(items) > _PROGRESS_FROM:
            results = with_progress(results, "Reading annotations", len(items))
        yield from results
