"""The output folder of the commands that detect: its files, and going on after a stop.

Each image gets a line in ``unfinished.jsonl`` once its own files are written, from which the same
command goes on after any stop. The files about all images are written when the command ends or is
stopped. ``unfinished.jsonl`` is deleted when all images are done.
"""

import builtins
import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_frcnn import files, signals
from keras_frcnn.cli.detect import CLASSES, COCO, CSV, JOURNAL, RESULTS
from keras_frcnn.data.images.headers import image_header
from keras_frcnn.data.writers import voc, yolo
from keras_frcnn.inference import videos
from keras_frcnn.inference.sources import SourceImage
from keras_frcnn.models.detections import ImageDetections

_CSV_HEAD = ("file", "class", "score", "y1", "x1", "y2", "x2", "frame")


@dataclasses.dataclass(frozen=True)
class Result:
    """What was found on an image.

    Attributes:
        name: the image's or video's file.
        frame: the number of the frame in a video; None for an image.
        stem: the name of its own files, without suffix.
        drawing: the name of the file with its drawn detections, or None.
        size: its height and width as displayed, in pixels.
        found: its detections.
    """

    name: str
    frame: int | None
    stem: str
    drawing: str | None
    size: tuple[int, int]
    found: ImageDetections

    @property
    def key(self) -> tuple[str, int | None]:
        return self.name, self.frame

    def to_line(self) -> str:
        names = {int(label): self.found.class_names[label] for label in self.found.labels}
        columns = {name: self.found[name].tolist() for name in ("boxes", "scores", "labels")}
        known = {name: getattr(self, name) for name in ("name", "frame", "stem", "drawing", "size")}
        return json.dumps({**known, "names": list(names.items()), **columns})

    @classmethod
    def of_line(cls, line: str) -> "Result":
        row = json.loads(line)
        found = ImageDetections(
            np.array(row["boxes"], np.float32).reshape(-1, 4),
            np.array(row["scores"], np.float32),
            np.array(row["labels"], np.int32),
            _listed(row["names"]),
        )
        known = (row[name] for name in ("name", "frame", "stem", "drawing"))
        return cls(*known, tuple(row["size"]), found)

    def to_entry(self) -> dict[str, Any]:
        """Returns the entry of the image for detections.json."""
        frame = {} if self.frame is None else {"frame": self.frame}
        image = {"file": self.name, **frame, "drawing": self.drawing}
        rows = [_row(one.class_name, one.score, one.box.tolist()) for one in self.found]
        return image | {"height": self.size[0], "width": self.size[1], "detections": rows}


class DetectionsFolder:
    """Writes what a command finds, image by image.

    Args:
        folder: the folder; it is created.
        formats: some of those of ``detect.IMAGES``.
        draw_threshold: detections with a lower score are neither drawn nor written as labels.
        settings: all on which the results depend, as a text. What a stopped command with the same
            settings has found is kept.
        head: what detections.json says beside the results.

    Attributes:
        unreadable: the images that could not be read: their file and the error.
    """

    def __init__(
        self,
        folder: Path,
        formats: Sequence[str],
        draw_threshold: float,
        settings: str,
        head: Mapping[str, Any],
    ):
        self._folder, self._formats, self._draw_threshold = folder, formats, draw_threshold
        self._head = {**head, "draw_threshold": draw_threshold}
        self.unreadable: list[dict[str, str]] = []
        self._results: dict[tuple[str, int | None], Result] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._known = {
            result.key: result
            for result in _read_journal(folder / JOURNAL, settings)
            if all(path.is_file() for path in self._files_of(result))
        }
        lines = [json.dumps(settings), *(result.to_line() for result in self._known.values())]
        files.write_text(folder / JOURNAL, "".join(f"{line}\n" for line in lines))

    @contextlib.contextmanager
    def open(self) -> Iterator["DetectionsFolder"]:
        """Takes results inside a ``with`` block, and writes the files about all images after it.

        They are also written if the block fails, or is left by a signal.
        """
        with builtins.open(self._folder / JOURNAL, "a", encoding="utf-8") as self._journal:
            is_finished = False
            try:
                yield self
                is_finished = True
            finally:
                with signals.handled(lambda number, frame: None):  # also if it is sent twice
                    self._write(is_finished)
        (self._folder / JOURNAL).unlink()

    @property
    def num_detections(self) -> int:
        return sum(len(result.found) for result in self._results.values())

    @property
    def num_images(self) -> int:
        return len(self._results)

    def known(self, one: SourceImage, stem: str, drawing: str | None) -> Result | None:
        """Returns what a stopped command has found on an image, if it named its files alike."""
        result = self._known.get(one.key)
        named = _frame_stem(stem, one.frame), drawing
        return result if result and (result.stem, result.drawing) == named else None

    def result(
        self, one: SourceImage, found: ImageDetections, stem: str, drawing: str | None
    ) -> Result:
        """Returns the result of an image, after drawing it if it is not a video's frame.

        Args:
            one: the image.
            found: its detections.
            stem: the name of the files of the image or video, without suffix.
            drawing: the name of the drawing, or None.

        Raises:
            ValueError: If the image can no longer be read.
        """
        if one.frame is not None:
            size = one.image.shape[:2]
        else:
            size = image_header(one.path)[:2]
            if drawing:
                with files.replacing(self._folder / drawing) as part:
                    found.draw(self._draw_threshold).save(part, "PNG")
        found = dataclasses.replace(found, image=None)  # pixels would fill the memory
        return Result(one.name, one.frame, _frame_stem(stem, one.frame), drawing, size, found)

    @contextlib.contextmanager
    def drawn_video(self, path: Path, drawing: str) -> Iterator[Callable[[Any, Result], None]]:
        """Yields a function that draws a frame's result and appends it to the drawn video."""
        with videos.writing(self._folder / drawing, videos.frame_rate(path)) as append:

            def draw(frame, result):
                found = dataclasses.replace(result.found, image=frame)
                append(np.asarray(found.draw(self._draw_threshold)))

            yield draw

    def add(self, result: Result) -> None:
        """Adds a result. Unless it is known, its label files and its line are written."""
        if result.key not in self._known:
            for path, text in self._labels_of(result).items():
                path.parent.mkdir(exist_ok=True)
                files.write_text(path, text, errors="backslashreplace")
            self._journal.write(f"{result.to_line()}\n")
            self._journal.flush()
        self._results[result.key] = result

    def _write(self, is_finished: bool) -> None:
        results = list(self._results.values())
        self._write_json(RESULTS, self._summary(results, is_finished))
        if "coco" in self._formats:
            self._write_json(COCO, [row for one in results for row in _coco_rows(one)], None)
        if "csv" in self._formats:
            from keras_frcnn.evaluation.report.result_files import write_csv

            rows = [
                (one.name, d.class_name, d.score, *d.box.tolist(), one.frame)
                for one in results
                for d in one.found
            ]
            write_csv([_CSV_HEAD, *rows], self._folder / CSV)
        if "yolo" in self._formats:
            names = self._head.get("class_names") or _seen_names(results)
            files.write_text(self._folder / CLASSES, "".join(f"{name}\n" for name in names))

    def _summary(self, results: Iterable[Result], is_finished: bool) -> dict[str, Any]:
        unfinished = {} if is_finished else {"unfinished": True}
        entries = [result.to_entry() for result in results]
        return unfinished | self._head | {"images": entries, "unreadable": self.unreadable}

    def _write_json(self, name: str, value: Any, indent: int | None = 1) -> None:
        text = json.dumps(value, indent=indent, ensure_ascii=False)
        # A file name may contain bytes that are not text; JSON can write them as \\udc80.
        files.write_text(self._folder / name, text, errors="backslashreplace")

    def _files_of(self, result: Result) -> list[Path]:
        """Returns the files of a result of its own. A drawn video belongs to all its frames."""
        drawing = [self._folder / result.drawing] if result.drawing else []
        return [*(drawing if result.frame is None else []), *self._labels_of(result)]

    def _labels_of(self, result: Result) -> dict[Path, str]:
        """Returns the label files of a result, with their texts."""
        sure = result.found[result.found.scores >= self._draw_threshold]
        texts = {}
        if "voc" in self._formats:
            image, folder = f"{result.stem}{_suffix(result)}", self._folder.name
            boxes = _whole_pixels(sure.boxes, result.size).tolist()
            names = [{"name": one.class_name} for one in sure]
            rows = zip(names, boxes, strict=True)
            text = voc.annotation(folder, image, "keras_frcnn detect", result.size, rows)
            texts[self._folder / "Annotations" / f"{result.stem}.xml"] = text
        if "yolo" in self._formats:
            text = yolo.label_lines(sure.labels, sure.boxes, result.size)
            texts[self._folder / "labels" / f"{result.stem}.txt"] = text
        return texts


def check_folder(folder: Path, paths: Sequence[Path], drawings: Sequence[str]) -> None:
    """Makes sure that nothing that is written can replace an image or any other file.

    Args:
        folder: the folder.
        paths: the images.
        drawings: the names of the drawings.

    Raises:
        ValueError: If it could.
    """
    marks = RESULTS, JOURNAL
    is_ours = any((folder / mark).is_file() for mark in marks)
    if folder.is_dir() and any(folder.iterdir()) and not is_ours:
        raise ValueError(
            "--output_dir must be new, empty, or written by an earlier detect command. Received: "
            f"{folder}, which holds other files and no {RESULTS}"
        )
    for drawing in drawings:
        if (folder / drawing).is_dir():
            raise ValueError(
                "--output_dir must not hold a folder with the name of a drawing. Received: "
                f"{folder / drawing}"
            )
    if any(path.resolve().parent == folder.resolve() for path in paths):
        raise ValueError(
            f"--output_dir must not be a folder that holds --images. Received: {folder}"
        )


def _read_journal(path: Path, settings: str) -> list[Result]:
    """Returns what a stopped command has found with the same settings."""
    results = []
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        if json.loads(first) == settings:
            for line in lines:  # the last one may have been cut off
                results.append(Result.of_line(line))
    return results


def _row(class_name: str, score: float, box: list[float]) -> dict[str, Any]:
    """Returns a detection for detections.json, in pixels of the image as it is displayed."""
    y1, x1, y2, x2 = box
    return {
        "class": class_name,
        "score": round(score, 6),
        "box_yxyx": [round(value, 3) for value in (y1, x1, y2, x2)],
        "box_xywh": [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)],
    }


def _coco_rows(result: Result) -> list[dict[str, Any]]:
    """Returns the rows of COCO's results. An image's id is the file's name, "#" and the frame."""
    name = Path(result.name).name
    return result.found.to_coco(name if result.frame is None else f"{name}#{result.frame}")


def _frame_stem(stem: str, frame: int | None) -> str:
    return stem if frame is None else f"{stem}_{frame:06d}"


def _suffix(result: Result) -> str:
    """Returns the suffix of the image that a label file belongs to."""
    return Path(result.name).suffix if result.frame is None else ".jpg"


def _whole_pixels(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Rounds boxes to whole pixels inside the image, at least one pixel wide and high."""
    ends = np.array([*size, *size])
    low, high = np.split(np.clip(np.rint(boxes), 0, ends).astype(int), 2, axis=1)
    low = np.minimum(low, ends[:2] - 1)
    return np.concatenate([low, np.maximum(high, low + 1)], axis=1)


def _listed(names: Iterable[tuple[int, str]]) -> tuple[str, ...]:
    """Returns a list of class names of which only some are known; the others are empty."""
    known = dict(names)
    return tuple(known.get(label, "") for label in range(1 + max(known, default=-1)))


def _seen_names(results: Iterable[Result]) -> list[str]:
    """Returns the class names that occur, by label; "class_3" for a label that does not."""
    seen = {one.label: one.class_name for result in results for one in result.found}
    return [seen.get(label, f"class_{label + 1}") for label in range(1 + max(seen, default=-1))]
