"""Class names: which classes a data set has, and which names of other data mean the same."""

import pathlib
import unicodedata
from collections.abc import Sequence

import numpy as np

from keras_frcnn.data.paths import read_lines
from keras_frcnn.data.problems import invalid

SYNONYMS = (
    ("aeroplane", "airplane"),
    ("motorbike", "motorcycle"),
    ("sofa", "couch"),
    ("tvmonitor", "tv"),
)
"""Classes for which VOC (first) and COCO (second) use different words, without blanks and case."""

_SAME = {other: name for name, other in SYNONYMS}


def choose(given: Sequence[str] | None, classes_file: str, found: Sequence[str]) -> tuple[str, ...]:
    """Chooses the classes of a data set.

    Args:
        given: the names, if they are known.
        classes_file: the setting of this name; its names count if none are given.
        found: the names that the source has, which count if there is no file either.

    Returns:
        The names, in the order of their labels; empty if there are none.

    Raises:
        ValueError: if the given names or those of the file are none, or one is there twice.
    """
    if given is None and not classes_file:
        return tuple(found)
    names = tuple(read_lines(pathlib.Path(classes_file)) if given is None else given)
    if not names or len(set(names)) < len(names):
        place = classes_file if given is None else "class_names"
        expected = "at least one class name, none of them twice"
        raise invalid(expected, ", ".join(names) or "none", place)
    return names


def match(names: Sequence[str], class_names: Sequence[str]) -> np.ndarray:
    """Finds the class that each name means; several names may mean one class.

    Args:
        names: names of other data.
        class_names: the classes.

    Returns:
        int64 [len(names)], labels; -1 for a name that means none of the classes.

    Raises:
        ValueError: if a name could mean two classes.
    """
    found = candidates(names, class_names)
    for name, labels in zip(names, found, strict=True):
        if len(labels) > 1:
            raise ValueError(
                f"the class {name!r} could be any of "
                f"{', '.join(repr(class_names[label]) for label in labels)}: rename one of them"
            )
    return np.array([labels[0] if labels else -1 for labels in found], np.int64)


def candidates(names: Sequence[str], class_names: Sequence[str]) -> list[list[int]]:
    """Finds the classes that names could mean.

    A name means the classes that are equal to it. If there are none, it means those that differ
    only in case, blanks and punctuation ("dining table", "Potted-Plant"). If there are none of
    these either, ``SYNONYMS`` are tried.

    Args:
        names: as for ``match``.
        class_names: likewise.

    Returns:
        For each name the labels of its closest matches; empty if there are none.
    """
    found: list[list[int]] = [[] for _ in names]
    for key in (str, _plain, _common):
        known: dict[str, list[int]] = {}
        for label, name in enumerate(class_names):
            known.setdefault(key(name), []).append(label)
        found = [
            labels or known.get(key(name), []) for name, labels in zip(names, found, strict=True)
        ]
    return found


def _plain(name: str) -> str:
    """Returns a name without case, blanks and punctuation, unless nothing else is in it."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    kept = (c for c in folded if not c.isspace() and unicodedata.category(c)[0] not in "PZ")
    return "".join(kept) or folded


def _common(name: str) -> str:
    plain = _plain(name)
    return _SAME.get(plain, plain)
