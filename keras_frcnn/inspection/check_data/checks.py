"""Looks for everything that is wrong with a data set, before training finds out.

``check`` collects findings; ``check_report`` prints and writes them, ``check_page`` shows them with
images, ``mend`` writes a copy without them.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from keras_frcnn.config import Config
from keras_frcnn.console import plain
from keras_frcnn.data.images import integrity
from keras_frcnn.inspection.check_data import sources, statistics
from keras_frcnn.inspection.check_data.findings import KINDS, Finding, Report
from keras_frcnn.inspection.check_data.samples import SUBSETS, Object, Sample, Source

NEAR = 6
"""Images whose hashes differ in at most this many of 128 bits look the same."""

_SHOWN_CLASSES = 8
_WORDS_OF_READERS = {
    "unknown class": "unknown_class",
    "has no area": "degenerate_box",
    "is not finite": "degenerate_box",
    "leaves the image": "outside_box",
    "lies outside the image": "outside_box",
    "The annotation says": "size_mismatch",
    "unreadable image": "broken_image",
    " inside ": "outside_path",
}


def check(config: Config, near: int = NEAR, allow: Collection[str] = ()) -> Report:
    """Checks the images and annotations of ``train_split`` and ``eval_split``.

    Args:
        config: settings; the data group is used.
        near: most differing bits, of 128, of images that look the same; -1: do not look for any.
        allow: kinds of findings that are no problem here.

    Returns:
        What was found, however bad: only a missing folder or split is an error.

    Raises:
        ValueError: if there is nothing to check, or ``allow`` or ``near`` is wrong.
    """
    unknown = sorted(set(allow) - set(KINDS))
    if unknown:
        raise ValueError(
            f"allow must name kinds of findings: {', '.join(KINDS)}. Received: {', '.join(unknown)}"
        )
    if not -1 <= near <= 128:
        raise ValueError(f"near must be between -1 and 128 bits. Received: {near}")
    source = sources.read(config)
    finder = _Finder(config, source)
    findings = [
        *finder.left_out(),
        *finder.unmatched(),
        *(finding for sample in source.samples for finding in finder.of_sample(sample)),
        *finder.of_equal_images(),
        *(finder.of_similar_images(near) if near >= 0 else ()),
    ]
    order = {kind: place for place, kind in enumerate(KINDS)}
    findings.sort(key=lambda finding: order[finding.kind])
    return Report(
        config,
        source,
        findings,
        frozenset(allow),
        statistics.collect(source, config.shorter_side, config.longer_side),
    )


class _Finder:
    """Turns what is wrong with samples into findings."""

    def __init__(self, config: Config, source: Source):
        folders = {str(Path(data_dir).resolve()) for data_dir in config.data_dir}
        self._root = f"{folders.pop()}/" if len(folders) == 1 else ""  # left out of messages
        self._source = source
        self._known = set(source.class_names)
        names = source.class_names
        many = len(names) > _SHOWN_CLASSES
        self._classes = f"the {len(names)} classes" if many else ", ".join(names) or "none"

    def left_out(self) -> Iterator[Finding]:
        for subset, line in self._source.left_out:
            kinds = (kind for words, kind in _WORDS_OF_READERS.items() if words in line)
            line = line.replace(self._root, "")
            yield Finding(next(kinds, "left_out"), subset, "", "", 0, "", plain(line))

    def unmatched(self) -> Iterator[Finding]:
        for subset, name, words in self._source.unmatched:
            yield Finding("unmatched_class", subset, "", "", 0, plain(name), plain(words))

    def of_sample(self, sample: Sample) -> Iterator[Finding]:
        annotation, file = sample.annotation or sample.path, sample.file
        if file.problem:
            yield self._finding(file.problem[0], sample, sample.path, file.problem[1])
        for kind, words in sample.problems:
            yield self._finding(kind, sample, annotation, words)
        if file.orientation != 1:
            words = f"EXIF orientation {file.orientation}; read upright"
            yield self._finding("rotated_image", sample, sample.path, words)
        if sample.objects is not None:
            if not sample.objects:
                yield self._finding("empty_image", sample, annotation, "no objects")
            yield from self._of_objects(sample, annotation)

    def _of_objects(self, sample: Sample, annotation: Path | None) -> Iterator[Finding]:
        doubled = doubles(sample.objects)
        for item in sample.objects:
            problems = [item.problem] if item.problem else []
            if item.name and item.name not in self._known:
                problems.append(("unknown_class", f"not one of {self._classes}"))
            if item.number in doubled:
                words = f"the same box as object {doubled[item.number]}"
                problems.append(("duplicate_box", words))
            for kind, words in problems:
                yield self._finding(kind, sample, annotation, words, item.number, item.name)

    def of_equal_images(self) -> Iterator[Finding]:
        first: dict[str, dict[str, Sample]] = {subset: {} for subset in SUBSETS}
        for sample in self._source.samples:
            digest = sample.file.digest
            if not digest:
                continue
            twin = first[sample.subset].setdefault(digest, sample)
            if (twin.path, twin.span) != (sample.path, sample.span):
                words = f"the same file as {twin.image_id}"
                yield self._finding("duplicate_image", sample, sample.path, words, other=twin)
            twin = first["train"].get(digest)
            if twin is not None and sample.subset == "eval":
                words = f"the same image as {twin.image_id} of the training images"
                yield self._finding("overlap", sample, sample.path, words, other=twin)

    def of_similar_images(self, near: int) -> Iterator[Finding]:
        seen = {sample.file.digest for sample in self._source.samples if sample.subset == "train"}
        trained, tested = (
            [s for s in self._source.samples if s.subset == subset and s.file.difference_hash]
            for subset in SUBSETS
        )
        tested = [sample for sample in tested if sample.file.digest not in seen]
        if not trained or not tested:
            return
        indices, distances = integrity.nearest(
            _difference_hashes(tested), _difference_hashes(trained)
        )
        for sample, index, distance in zip(tested, indices, distances, strict=True):
            if distance <= near:
                twin = trained[index]
                words = f"looks like {twin.image_id} of the training images ({distance} of 128)"
                yield self._finding("near_overlap", sample, sample.path, words, other=twin)

    def _finding(
        self,
        kind: str,
        sample: Sample,
        path: Path | None,
        words: str,
        number: int = 0,
        object_name: str = "",
        other: Sample | None = None,
    ) -> Finding:
        file = "" if path is None else str(path).removeprefix(self._root)
        words = words.replace(self._root, "")
        return Finding(
            kind,
            sample.subset,
            plain(sample.image_id),
            plain(file),
            number,
            plain(object_name),
            plain(words),
            sample,
            other,
        )


def doubles(objects: list[Object]) -> dict[int, int]:
    """Finds objects that repeat an earlier one's class and box.

    Args:
        objects: of one image.

    Returns:
        The number of each such object, and that of the earlier one.
    """
    first, doubled = {}, {}
    for item in objects:
        if item.box is not None:
            number = first.setdefault((item.name, item.box.tobytes()), item.number)
            if number != item.number:
                doubled[item.number] = number
    return doubled


def _difference_hashes(samples: list[Sample]) -> np.ndarray:
    return np.frombuffer(b"".join(s.file.difference_hash for s in samples), np.uint64).reshape(
        -1, 2
    )
