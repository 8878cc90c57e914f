"""Problems in data: their kinds, and the error that reports them.

A reader never stops at a faulty image or object: it records a ``Problem`` and continues. Training
turns the problems into an error or skips and counts them (``settle``); ``check-data`` lists all.
"""

import dataclasses
import enum
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

_SHOWN_PROBLEMS = 10
_SHOWN_SPLITS = 12


class ProblemKind(enum.StrEnum):
    """The kinds of problems, under the names that ``check-data`` reports and ``--allow`` takes."""

    MISSING_IMAGE = "missing_image"
    """An image is listed, but there is no such file."""

    BROKEN_IMAGE = "broken_image"
    """The header of an image cannot be read, or its pixels cannot be decoded."""

    REPEATED_IMAGE = "repeated_image"
    """An image or an image id that an earlier record already has."""

    SIMILAR_FILE = "similar_file"
    """Another file could be meant as well. Nothing is left out because of this."""

    OUTSIDE_PATH = "outside_path"
    """A name that leads out of the folder of the data."""

    MISSING_ANNOTATION = "missing_annotation"
    """An image that should have an annotation has none."""

    BROKEN_ANNOTATION = "broken_annotation"
    """An annotation file that cannot be read at all."""

    MISSING_TAG = "missing_tag"
    """An object without class or box, or a size that is not a pair of whole numbers."""

    MISSING_SIZE = "missing_size"
    """The annotation does not give the size of its image. Nothing is left out because of this."""

    SIZE_MISMATCH = "size_mismatch"
    """The annotation gives a size that differs from that of the image."""

    UNKNOWN_CLASS = "unknown_class"
    """An object of a class that is not one of the classes."""

    UNMATCHED_CLASS = "unmatched_class"
    """In joined data, a class that matches none of the classes. Its objects become background."""

    DEGENERATE_BOX = "degenerate_box"
    """A box that has no area or is not finite."""

    OUTSIDE_BOX = "outside_box"
    """A box that leaves its image by more than a pixel."""

    INVALID_ENTRY = "left_out"
    """An entry whose value is not valid in its format."""

    INVALID_SOURCE = "invalid_source"
    """A folder, a split or a whole file that cannot be read. This is always an error."""


class Remedy(enum.StrEnum):
    """What happens to a faulty image or object if problems are skipped."""

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
        kind: the kind of problem.
        message: a description that names neither the file nor the object. By default it is made
            from ``expected`` and ``received``.
        file: the faulty file; empty if there is none.
        object: the faulty entry of the file, such as "object 2" or "annotation 101".
        number: the number of the faulty object in its image, from 1; 0 if there is no such object.
        class_name: the class of the object; empty if unknown.
        box: float64 [4], the unchanged box in yxyx pixels; None if it is unknown.
        remedy: what is done about the problem if it is skipped.
        expected: a description of what was expected.
        received: a description of what was found instead.
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
        """What is wrong, without the file and the object."""
        return self.message or f"expected {self.expected}. Received: {self.received}"

    def __str__(self) -> str:
        """Returns the file, the object, and what is wrong."""
        which = f"{self.object} ({self.class_name})" if self.class_name else self.object
        return ": ".join(part for part in (self.file, which, self.text) if part)

    @property
    def skipped_line(self) -> str:
        """What is wrong, and what was done about it."""
        return f"{self}; {self.remedy}" if self.remedy else str(self)

    def replace(self, **changes: Any) -> "Problem":
        """Returns a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


class DataError(ValueError):
    """Raised for faulty data.

    Attributes:
        problems: all problems, at least one. The message describes at least the first one.
    """

    def __init__(self, *problems: Problem, message: str = ""):
        super().__init__(message or str(problems[0]))
        self.problems = problems


def invalid(expected: str, received: Any, file: Any = "", message: str = "") -> DataError:
    """Returns the error for a folder, a split or a whole file that cannot be read.

    Args:
        expected: a description of what was expected.
        received: what was found instead.
        file: the faulty file or folder.
        message: the message; by default it is made from ``expected`` and ``received``.
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


def unknown_split(split: str, known: Sequence[str], data_dir: Any, more: str = "") -> DataError:
    """Returns the error for a split that does not exist, with the splits that do.

    Args:
        split: the split.
        known: the splits that exist.
        data_dir: the folder or file that should have the split.
        more: what else a split can be, such as "the path of a .json file".
    """
    names = ", ".join(known[:_SHOWN_SPLITS]) + (", ..." if len(known) > _SHOWN_SPLITS else "")
    expected = f"one of the splits {names or '(there are none)'}{', or ' if more else ''}{more}"
    return invalid(expected, repr(split), data_dir)


def first_lines(lines: Sequence[Any]) -> str:
    """Returns the first ten of many lines, and how many there are more."""
    num_more = len(lines) - _SHOWN_PROBLEMS
    shown = [*map(str, lines[:_SHOWN_PROBLEMS])]
    return "\n".join([*shown, *([f"... and {num_more:,} more"] if num_more > 0 else [])])


def settle(problems: Sequence[Problem], on_bad_record: str) -> list[Problem]:
    """Raises the problems of a data set as an error, or accepts them, as the setting says.

    Args:
        problems: the problems that can be skipped.
        on_bad_record: the setting of this name, "error" or "skip".

    Returns:
        The same problems.

    Raises:
        DataError: If there are any problems and the setting is "error". It gives their number, the
            first ten problems, and the flag that skips them.
    """
    if problems and on_bad_record == "error":
        lines = textwrap.indent(first_lines([f"- {problem}" for problem in problems]), "  ")
        raise DataError(
            *problems,
            message=f"{len(problems)} problem(s) in the data:\n{lines}\n"
            "Correct the files, or skip and list these records with --on_bad_record=skip.",
        )
    return list(problems)
