"""Class names: choosing the classes of a data set, and matching names from other data to them."""

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
"""Names of the same class in VOC (first) and COCO (second), in lower case and without spaces."""

_SAME = {other: name for name, other in SYNONYMS}


def choose(given: Sequence[str] | None, classes_file: str, found: Sequence[str]) -> tuple[str, ...]:
    """Chooses the classes of a data set.

    Args:
        given: the names, if they are known.
        classes_file: the setting of this name. The file is used if no names are given.
        found: the names in the data, which are used if there is no file either.

    Returns:
        The names, in the order of their labels; empty if there are none.

    Raises:
        ValueError: If the given names or the file are empty or contain a name twice.
    """
    if given is None and not classes_file:
        return tuple(found)
    names = tuple(read_lines(pathlib.Path(classes_file)) if given is None else given)
    if not names or len(set(names)) < len(names):
        origin = classes_file if given is None else "class_names"
        expected = "at least one class name, none of them twice"
        raise invalid(expected, ", ".join(names) or "none", origin)
    return names


def match(names: Sequence[str], class_names: Sequence[str]) -> np.ndarray:
    """Matches names to classes; several names may match the same class.

    Args:
        names: the class names in other data.
        class_names: the classes.

    Returns:
        int64 [len(names)], the label of each name; -1 for a name that matches no class.

    Raises:
        ValueError: If a name matches several classes.
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
    """Finds all classes that names could match.

    A name matches a class of exactly the same name. If there is none, it matches the classes whose
    names differ only in case, spaces and punctuation ("dining table", "Potted-Plant"). If there are
    none of these either, ``SYNONYMS`` are tried.

    Args:
        names: see ``match``.
        class_names: see ``match``.

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


def look_alikes(class_names: Sequence[str]) -> list[str]:
    """Says which classes have names that differ only in case, spaces, punctuation or Unicode form.

    Returns:
        One sentence for each group of such classes, which says what to change.
    """
    groups: dict[str, list[str]] = {}
    for name in class_names:
        groups.setdefault(_plain(name), []).append(name)
    return [
        f"the classes {', '.join(map(_shown, group[:-1]))} and {_shown(group[-1])} look alike. If "
        "they are one class, write it in one way in the annotations, or list it once in "
        "--classes_file"
        for group in groups.values()
        if len(group) > 1
    ]


def _shown(name: str) -> str:
    """Returns a name in quotation marks; accents that are characters of their own are escaped."""
    is_plain = unicodedata.is_normalized("NFC", name) and name.isprintable()
    return repr(name) if is_plain else ascii(name)


def _plain(name: str) -> str:
    """Returns a name in lower case without spaces, punctuation and invisible characters, unless
    nothing would be left.
    """
    folded = unicodedata.normalize("NFKC", name).casefold()
    kept = (c for c in folded if not c.isspace() and unicodedata.category(c)[0] not in "PZC")
    return "".join(kept) or folded


def _common(name: str) -> str:
    plain = _plain(name)
    return _SAME.get(plain, plain)
