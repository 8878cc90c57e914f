"""What a check of data can find, and the report of one."""

import collections
import dataclasses
from typing import Any

from keras_frcnn.config import Config
from keras_frcnn.inspection.check_data.samples import Sample, Source

FORMAT = 2
"""Of the JSON; a key that changes its meaning raises it."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of finding: what it is called, why it matters, whether it is only worth a look."""

    title: str
    words: str
    is_note: bool = False


KINDS = {
    "missing_image": Kind("Missing images", "Listed, but there is no such file."),
    "unreadable_image": Kind("Unreadable files", "Empty, or neither JPEG nor PNG."),
    "broken_image": Kind(
        "Broken images", "Cut off, damaged or too large: not decoded to the last pixel."
    ),
    "wrong_extension": Kind(
        "Wrong extensions", "The name promises another format than the content has."
    ),
    "outside_path": Kind("Paths leading out", "Names or links that lead out; not followed."),
    "missing_annotation": Kind("Missing annotations", "An image is listed without one."),
    "broken_annotation": Kind("Broken annotations", "Not XML, not an annotation, or refused."),
    "missing_tag": Kind("Missing tags", "An object without class or corners, a size unread."),
    "size_mismatch": Kind(
        "Wrong sizes", "The annotation is of an image of another size: boxes may be elsewhere."
    ),
    "unknown_class": Kind("Unknown classes", "Not in the classes file or the training images."),
    "degenerate_box": Kind("Boxes without area", "Zero, inverted or not finite: NaN losses."),
    "outside_box": Kind("Boxes outside", "A box leaves its image by more than a pixel."),
    "duplicate_box": Kind("Boxes drawn twice", "The same class and corners again."),
    "overlap": Kind(
        "In both sets", "An image to evaluate on is trained on too: figures come out too good."
    ),
    "left_out": Kind("Left out", "The reader refused these records."),
    "near_overlap": Kind(
        "Nearly in both sets", "Images to evaluate on that look like one trained on.", True
    ),
    "unmatched_class": Kind(
        "Classes left out", "Of joined data, called like none of the classes: background.", True
    ),
    "duplicate_image": Kind("Images twice", "The same file twice in one set.", True),
    "rotated_image": Kind(
        "EXIF-rotated", "Stored sideways and turned by viewers: tools disagree on boxes.", True
    ),
    "empty_image": Kind("Without objects", "Trained on as pure background.", True),
    "missing_size": Kind("Without <size>", "Whether boxes fit the image cannot be told.", True),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: key of ``KINDS``.
        subset: "train" or "eval".
        image_id: the image; empty if unknown.
        file: the file at fault, relative to the data folder; empty if unknown.
        number: the object's place in its annotation, from 1; 0 if it is no object's.
        name: the object's class; empty if unknown or no object's.
        message: what is wrong, in words.
        sample: the image.
        other: the image that it resembles.
    """

    kind: str
    subset: str
    image_id: str
    file: str
    number: int
    name: str
    message: str
    sample: Sample | None = None
    other: Sample | None = None

    @property
    def line(self) -> str:
        """File, image where the file holds many, object and message in one line."""
        many = self.sample is not None and self.sample.span is not None
        which = f"image {self.image_id}" if many else ""
        place = f"object {self.number}" if self.number else ""
        place += f" ({self.name})" if self.name else ""
        return ": ".join(part for part in (self.file, which, place.strip(), self.message) if part)


@dataclasses.dataclass
class Report:
    """What a check has found.

    Attributes:
        config: the settings it was made with.
        source: the data.
        findings: in the order of ``KINDS``, then of the images.
        allowed: kinds that are no problem here.
        statistics: of ``data_statistics.collect``.
    """

    config: Config
    source: Source
    findings: list[Finding]
    allowed: frozenset[str]
    statistics: dict[str, Any]

    @property
    def counts(self) -> dict[str, int]:
        """Findings of every kind, also of those without any."""
        found = collections.Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in KINDS}

    @property
    def num_problems(self) -> int:
        """Findings that are more than notes and not allowed."""
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
        """Returns plain values for JSON, under keys that stay."""
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
                    "object": finding.number or None,
                    "class": finding.name or None,
                    "message": finding.message,
                }
                for finding in self.findings
            ],
            **self.statistics,
        }
