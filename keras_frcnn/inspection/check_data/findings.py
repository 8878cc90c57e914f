"""Findings of a check: their kinds, and the report that holds them."""

import collections
import dataclasses
from typing import Any

from keras_frcnn.config import Config
from keras_frcnn.inspection.check_data.samples import Sample, Source

FORMAT = 2
"""The version of the JSON, which rises when a key changes its meaning."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Attributes:
        title: what its findings are called.
        words: why they matter.
        is_note: whether its findings are only worth a look, not problems.
    """

    title: str
    words: str
    is_note: bool = False


KINDS = {
    "nothing_to_learn": Kind(
        "Nothing to learn from",
        "Training would stop before its first step, or evaluation would measure nothing.",
    ),
    "missing_image": Kind("Missing images", "An image is listed, but there is no such file."),
    "unreadable_image": Kind("Unreadable files", "The file is empty, or neither JPEG nor PNG."),
    "broken_image": Kind(
        "Broken images", "The file is cut off, damaged or too large and cannot be decoded."
    ),
    "wrong_extension": Kind(
        "Wrong extensions", "The extension does not match the format of the content."
    ),
    "outside_path": Kind("Paths leading out", "A name or link leads out of the data folder."),
    "repeated_image": Kind(
        "Images listed twice", "Two records have the same image file or image id."
    ),
    "missing_annotation": Kind("Missing annotations", "A listed image has no annotation."),
    "broken_annotation": Kind(
        "Broken annotations", "The file is damaged, refused or not an annotation."
    ),
    "missing_tag": Kind(
        "Missing tags", "An object has no class or no corners, or a size cannot be read."
    ),
    "size_mismatch": Kind(
        "Wrong sizes",
        "The annotation was made for an image of another size, so boxes may be misplaced.",
    ),
    "unknown_class": Kind(
        "Unknown classes", "The class is not in the classes file or the training images."
    ),
    "degenerate_box": Kind(
        "Boxes without area", "The box is empty, inverted or not finite and would give NaN losses."
    ),
    "outside_box": Kind("Boxes outside", "A box leaves its image by more than a pixel."),
    "duplicate_box": Kind(
        "Boxes drawn twice", "Another object of the image has the same class and corners."
    ),
    "overlap": Kind(
        "In both sets",
        "An evaluation image is trained on too, so the measured results are too good.",
    ),
    "left_out": Kind("Invalid entries", "An entry does not follow the format and is left out."),
    "near_overlap": Kind(
        "Nearly in both sets", "An evaluation image looks like a training image.", True
    ),
    "similar_class": Kind(
        "Classes that look alike",
        "Their names differ only in case, spaces, punctuation or the form of accents.",
        True,
    ),
    "similar_file": Kind(
        "Images with similar file names", "More than one file could be the image.", True
    ),
    "cut_off": Kind(
        "Limits that are too low",
        "A setting keeps objects of crowded images from being found.",
        True,
    ),
    "unmatched_class": Kind(
        "Classes left out",
        "A class of joined data matches none of the classes and becomes background.",
        True,
    ),
    "duplicate_image": Kind("Equal images", "One set holds the same image twice.", True),
    "rotated_image": Kind(
        "EXIF-rotated images",
        "Viewers turn the image, but not all tools do: they may disagree on its boxes.",
        True,
    ),
    "empty_image": Kind(
        "Images without objects", "The image is trained on as pure background.", True
    ),
    "missing_size": Kind(
        "Without <size>", "It cannot be told whether the boxes were drawn on this image.", True
    ),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: key of ``KINDS``.
        subset: "train" or "eval".
        image_id: the image; empty if unknown.
        file: the file at fault, relative to the data folder; empty if unknown.
        entry: the entry of the file, in words, such as "object 2"; empty for the whole file.
        number: the object's position in its annotation, from 1; 0 if no object is concerned.
        class_name: the object's class; empty if it is unknown or no object is concerned.
        message: what is wrong, in words.
        sample: the image.
        other: the image that it resembles.
    """

    kind: str
    subset: str
    image_id: str = ""
    file: str = ""
    entry: str = ""
    number: int = 0
    class_name: str = ""
    message: str = ""
    sample: Sample | None = None
    other: Sample | None = None

    @property
    def line(self) -> str:
        """File, entry and message in one line."""
        entry = f"{self.entry} ({self.class_name})" if self.class_name else self.entry
        return ": ".join(part for part in (self.file, entry.strip(), self.message) if part)


@dataclasses.dataclass
class Report:
    """What a check has found.

    Attributes:
        config: the settings of the check.
        source: the data.
        findings: in the order of ``KINDS``, then of the images.
        allowed: kinds that do not count as problems here.
        statistics: the counts of ``statistics.collect``.
    """

    config: Config
    source: Source
    findings: list[Finding]
    allowed: frozenset[str]
    statistics: dict[str, Any]

    @property
    def counts(self) -> dict[str, int]:
        """The number of findings of every kind."""
        found = collections.Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in KINDS}

    @property
    def num_problems(self) -> int:
        """The number of findings that are neither notes nor allowed."""
        return sum(count for kind, count in self.counts.items() if not self.is_note(kind))

    def is_note(self, kind: str) -> bool:
        """Says whether findings of a kind are only worth a look."""
        return KINDS[kind].is_note or kind in self.allowed

    def by_kind(self) -> dict[str, list[Finding]]:
        """Returns the findings of each kind that has any, problems before notes."""
        found: dict[str, list[Finding]] = {}
        for finding in self.findings:
            found.setdefault(finding.kind, []).append(finding)
        return dict(sorted(found.items(), key=lambda item: self.is_note(item[0])))

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON, under stable keys."""
        return {
            "format": FORMAT,
            "data_dir": list(self.config.data_dir),
            "dataset": list(self.config.dataset),
            "splits": {
                "train": list(self.config.train_split),
                "eval": list(self.config.eval_split),
            },
            "remarks": self.source.remarks,
            "problems": self.num_problems,
            "notes": len(self.findings) - self.num_problems,
            "counts": self.counts,
            "findings": [
                {
                    "kind": finding.kind,
                    "level": "note" if self.is_note(finding.kind) else "problem",
                    "split": finding.subset,
                    "image_id": finding.image_id,
                    "file": finding.file,
                    "entry": finding.entry or None,
                    "object": finding.number or None,
                    "class": finding.class_name or None,
                    "message": finding.message,
                }
                for finding in self.findings
            ],
            **self.statistics,
        }
