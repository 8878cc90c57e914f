"""What can be wrong with data: the kinds of problems, and the error that names them.

A reader never stops at a faulty image or object. It notes a ``Problem`` and goes on. Training turns
the problems into an error or into counted skips (``settle``); ``check-data`` lists them all.
"""

import dataclasses
import enum
from collections.abc import Sequence
from typing import Any

import numpy as np

_SHOWN_PROBLEMS = 10


class ProblemKind(enum.StrEnum):
    """What is wrong. ``check-data`` counts problems by these names and ``--allow`` takes them."""

    MISSING_IMAGE = "missing_image"
    """An image is listed, but there is no such file."""

    BROKEN_IMAGE = "broken_image"
    """The header of an image cannot be read, or its pixels cannot be decoded."""

    REPEATED_IMAGE = "repeated_image"
    """An image or an image id that an earlier record has too."""

    OUTSIDE_PATH = "outside_path"
    """A name that leads out of the folder of the data."""

    MISSING_ANNOTATION = "missing_annotation"
    """An image that should have an annotation has none."""

    BROKEN_ANNOTATION = "broken_annotation"
    """An annotation file that cannot be read at all."""

    MISSING_TAG = "missing_tag"
    """An object without class or box, or a size that is not a pair of whole numbers."""

    MISSING_SIZE = "missing_size"
    """The annotation does not say how large its image is. Nothing is left out for it."""

    SIZE_MISMATCH = "size_mismatch"
    """The annotation gives another size than the image has."""

    UNKNOWN_CLASS = "unknown_class"
    """An object of a class that is not one of the classes."""

    UNMATCHED_CLASS = "unmatched_class"
    """In joined data, a class that matches none of the classes. Its objects become background."""

    DEGENERATE_BOX = "degenerate_box"
    """A box that has no area or is not finite."""

    OUTSIDE_BOX = "outside_box"
    """A box that leaves its image by more than a pixel."""

    INVALID_ENTRY = "left_out"
    """An entry whose value is not what the format asks for."""

    INVALID_SOURCE = "invalid_source"
    """A folder, a split or a file as a whole that cannot be read. This is always an error."""


class Remedy(enum.StrEnum):
    """What happens to a faulty image or object where problems are skipped."""

    NONE = ""
    LEAVE_OUT = "image left out"
    DROP = "object dropped"
    CLIP = "box clipped"
    STOP_READING = "what follows in the file left out"
    KEEP_FIRST = "left out the second time"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Problem:
    """One thing that is wrong with data.

    Attributes:
        kind: what is wrong.
        message: what is wrong, in words, without the file and the object. By default it is made of
            ``expected`` and ``received``.
        file: the file at fault; empty if there is none.
        object: the entry of the file, in words, such as "object 2" or "annotation 101".
        number: the place of the object among those of its image, from 1; 0 if it is not about one.
        class_name: the class of the object; empty if unknown.
        box: float64 [4], the box as written in yxyx pixels; None if it is unknown.
        remedy: what skipping the problem does.
        expected: what was expected, in words.
        received: what was there instead, in words.
    """

    kind: ProblemKind
    message: str = ""
    file: str = ""
    object: str = ""
    number: int = 0
    class_name: str = ""
    box: np.ndarray | None = None
    remedy: Remedy = Remedy.NONE
    expected: str = ""
    received: str = ""

    @property
    def text(self) -> str:
        """What is wrong, in words."""
        return self.message or f"expected {self.expected}. Received: {self.received}"

    def __str__(self) -> str:
        """Names the file and the object, and says what is wrong."""
        which = f"{self.object} ({self.class_name})" if self.class_name else self.object
        return ": ".join(part for part in (self.file, which, self.text) if part)

    @property
    def skipped_line(self) -> str:
        """Says what is wrong and what was done about it."""
        return f"{self}; {self.remedy}" if self.remedy else str(self)

    def replace(self, **changes: Any) -> "Problem":
        """Returns a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


class DataError(ValueError):
    """An error in data, which carries the problems that it names.

    Attributes:
        problems: at least one; the message of the error is about the first ones of them.
    """

    def __init__(self, *problems: Problem, message: str = ""):
        super().__init__(message or str(problems[0]))
        self.problems = problems


def invalid(expected: str, received: Any, file: Any = "", message: str = "") -> DataError:
    """Returns the error of a folder, a split or a file as a whole that cannot be read.

    Args:
        expected: what was expected, in words.
        received: what was there instead.
        file: the file or folder at fault.
        message: other words for it.
    """
    return DataError(
        Problem(
            kind=ProblemKind.INVALID_SOURCE,
            file=str(file),
            message=message,
            expected=expected,
            received=str(received),
        )
    )


def settle(problems: Sequence[Problem], on_bad_record: str) -> list[Problem]:
    """Decides what becomes of the problems of a data set.

    Args:
        problems: the problems that skipping would pass over.
        on_bad_record: the setting of this name, "error" or "skip".

    Returns:
        The same problems.

    Raises:
        DataError: under "error" if there are any. It says how many there are, names the first ten
            and the flag that skips them.
    """
    if problems and on_bad_record == "error":
        shown = [f"  - {problem}" for problem in problems[:_SHOWN_PROBLEMS]]
        if len(problems) > len(shown):
            shown.append(f"  ... and {len(problems) - len(shown)} more")
        raise DataError(
            *problems,
            message=f"{len(problems)} problem(s) in the data:\n"
            + "\n".join(shown)
            + "\nCorrect the files, or skip these records (counted and named) with "
            "--on_bad_record=skip.",
        )
    return list(problems)
