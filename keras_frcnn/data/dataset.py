"""The one form in which readers hand over annotated images, and what every reader needs.

A reader is a function ``read(source, splits) -> Dataset``. It gives what one ``config.DataSource``
holds, its classes as they are called there; ``joining`` makes one data set of what the readers
return, with one set of classes. Everything after that (pipeline, evaluation, inspection) knows only
``Dataset`` and ``Record``.
"""

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_frcnn.console import with_progress
from keras_frcnn.data.images.spans import Span

MAX_OVERHANG = 1.0
"""Pixels by which a box may leave its image and be clipped without a word: tools round."""

_SHOWN_PROBLEMS = 10
_PROGRESS_FROM = 2000


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """One annotated image.

    Attributes:
        image_id: name or number of the image, unique in its dataset.
        path: the file that holds the image.
        height: pixels of the image as displayed, that is after its EXIF orientation is applied.
        width: likewise.
        boxes: float32 [G, 4], yxyx pixels of the image as displayed, far edge exclusive.
        labels: int32 [G], index of the class name.
        difficult: bool [G], objects that evaluation neither asks for nor counts as mistakes: VOC's
            difficult ones, COCO's crowd regions.
        orientation: EXIF orientation (1 to 8) of the stored pixels; 1 is upright.
        form: whose rules the annotation follows, "voc" or "coco": decides what becomes of difficult
            objects in training and which metric fits, unless settings say otherwise.
        span: where in the file, then one of TFRecords, the image lies; None: it is the whole.
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

    @property
    def name(self) -> str:
        """The words for the image in messages."""
        return self.path if self.span is None else f"{self.path}: image {self.image_id}"


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
    """Records and the classes that their labels count.

    Attributes:
        class_names: name of label 0, 1, ...; background is not among them.
        records: the images.
        skipped: one line for each record or object that was left out, or for all of a kind, saying
            why.
        truth: the objects of exactly these records for COCO's evaluation, where all sources have
            its form; else it is made from the records.
        remarks: what the user should know about how sources were put together.
    """

    class_names: tuple[str, ...]
    records: list[Record]
    skipped: list[str] = dataclasses.field(default_factory=list)
    truth: GroundTruth | None = None
    remarks: list[str] = dataclasses.field(default_factory=list)

    @property
    def form(self) -> str:
        """The form of its records, of joined ones that of the first; without any it is COCO's."""
        return self.records[0].form if self.records else "coco"


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
    if (  # of all objects at once, as there may be a million
        np.all((boxes[:, :2] >= 0) & (boxes[:, :2] < boxes[:, 2:]) & (boxes[:, 2:] <= size))
        and np.all((record.labels >= 0) & (record.labels < len(class_names)))
    ):
        return
    for number, (box, label) in enumerate(zip(boxes, record.labels, strict=True), start=1):
        problem = box_problem(box, record.height, record.width)
        if not 0 <= label < len(class_names):
            problem = f"label {label} is not one of the {len(class_names)} classes' (from 0)"
        if problem:
            raise ValueError(f"{record.name}: object {number}: {problem}")


def box_problem(box: np.ndarray, height: int, width: int) -> str:
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


def settle(problems: Sequence[tuple[str, str]], on_bad_record: str) -> list[str]:
    """Ends a reader's work on the problems that it met.

    Args:
        problems: what is wrong, with file and object, and what skipping does ("object dropped").
        on_bad_record: the setting of this name, "error" or "skip".

    Returns:
        One line for each problem, for ``Dataset.skipped``.

    Raises:
        ValueError: under "error": how many problems, the first of them, and the flag to skip them.
    """
    if problems and on_bad_record == "error":
        shown = [f"  - {what}" for what, _ in problems[:_SHOWN_PROBLEMS]]
        if len(problems) > len(shown):
            shown.append(f"  ... and {len(problems) - len(shown)} more")
        raise ValueError(
            f"{len(problems)} problem(s) in the data:\n"
            + "\n".join(shown)
            + "\nMend the files, or leave them out (counted and named) with --on_bad_record=skip."
        )
    return [f"{what}; {remedy}" for what, remedy in problems]


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
