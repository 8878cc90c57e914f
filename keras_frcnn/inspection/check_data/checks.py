"""Finds everything that is wrong with a data set before training does.

``check`` collects findings. ``report`` prints and writes them, ``page`` shows them with images, and
``fix`` writes a corrected copy.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np

from keras_frcnn.backbones import strides_of
from keras_frcnn.config import Config
from keras_frcnn.console import plain
from keras_frcnn.data import class_names
from keras_frcnn.data.dataset import Record
from keras_frcnn.data.images import integrity
from keras_frcnn.data.problems import Problem, ProblemKind
from keras_frcnn.inspection import suitability
from keras_frcnn.inspection.check_data import samples, statistics
from keras_frcnn.inspection.check_data.findings import KINDS, Finding, Report
from keras_frcnn.inspection.check_data.samples import SUBSETS, Object, Sample, Source

NEAR = 6
"""Images whose hashes differ in at most this many of 128 bits look the same."""

_SHOWN_CLASSES = 8


def check(
    config: Config,
    near: int = NEAR,
    allow: Collection[str] = (),
    asked: Collection[str] = (),
    before_decoding: Callable[[], None] = lambda: None,
) -> Report:
    """Checks the images and annotations of ``train_split`` and ``eval_split``.

    Args:
        config: settings; the data group, the backbone, the anchors and the limits of detection are
            used.
        near: images look the same if at most this many of 128 bits differ; -1 switches the search
            for such images off.
        allow: kinds of findings that do not count as problems here.
        asked, before_decoding: see ``samples.read``.

    Returns:
        The report. However bad the findings are, only a missing folder or split is an error.

    Raises:
        ValueError: if there is nothing to check, or ``allow`` or ``near`` is wrong.
    """
    unknown = sorted(set(allow) - set(KINDS))
    if unknown:
        raise ValueError(
            f"--allow must name kinds of findings: {', '.join(KINDS)}. "
            f"Received: {', '.join(unknown)}"
        )
    if not -1 <= near <= 128:
        raise ValueError(f"--near must be between -1 and 128 bits. Received: {near}")
    source = samples.read(config, asked, before_decoding)
    finder = _Finder(config, source)
    findings = [
        *(finder.of_settings(config) if source.annotated else ()),
        *finder.without_image(),
        *finder.unmatched(),
        *(finding for sample in source.samples for finding in finder.of_sample(sample)),
        *finder.of_equal_images(),
        *(finder.of_similar_images(near) if near >= 0 else ()),
    ]
    order = {kind: place for place, kind in enumerate(KINDS)}
    findings.sort(key=lambda finding: order[finding.kind])
    stride = min(strides_of(config.backbone))
    return Report(
        config,
        source,
        findings,
        frozenset(allow),
        statistics.collect(source, config.shorter_side, config.longer_side, stride),
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

    def without_image(self) -> Iterator[Finding]:
        for subset, problem in self._source.problems:
            yield self._of_problem(problem, subset)

    def of_settings(self, config: Config) -> Iterator[Finding]:
        """Finds what keeps a run with these settings from learning or finding all objects."""
        for line in class_names.look_alikes(self._source.class_names):
            yield Finding("similar_class", "train", message=plain(line))
        for line in self._source.repeated:
            yield Finding("overlap", "eval", message=plain(line))
        for subset in dict.fromkeys(("train", *(s.subset for s in self._source.samples))):
            of_subset = [sample for sample in self._source.samples if sample.subset == subset]
            problems = [problem for part, problem in self._source.problems if part == subset]
            problems += [p for s in of_subset for p in s.record.problems if p.remedy]
            records = [
                self._usable(sample)
                for sample in of_subset
                if sample.record.is_usable and sample.file.suffix
            ]
            fault = suitability.nothing_to_learn(records, problems, config, subset == "train")
            if fault:
                yield Finding("nothing_to_learn", subset, message=plain(fault))
            for line in suitability.cut_off(records, config):
                yield Finding("cut_off", subset, message=plain(line))

    def _usable(self, sample: Sample) -> Record:
        """Returns the record of an image, without objects of unknown classes."""
        items = [o for o in sample.objects or () if o.box is not None and o.name in self._known]
        return dataclasses.replace(
            sample.record,
            boxes=np.array([item.box for item in items], np.float32).reshape(-1, 4),
            labels=np.zeros(len(items), np.int32),
            difficult=np.array([item.difficult for item in items], bool),
        )

    def unmatched(self) -> Iterator[Finding]:
        for subset, name, words in self._source.unmatched:
            kind = ProblemKind.UNMATCHED_CLASS
            yield Finding(kind, subset, class_name=plain(name), message=plain(words))

    def of_sample(self, sample: Sample) -> Iterator[Finding]:
        annotation, file = sample.annotation or sample.path, sample.file
        if file.problem:
            yield self._finding(file.problem[0], sample, sample.path, file.problem[1])
        for problem in sample.problems:
            yield self._of_problem(problem, sample.subset, sample)
        if file.orientation != 1:
            words = f"EXIF orientation {file.orientation}; read upright"
            yield self._finding("rotated_image", sample, sample.path, words)
        if sample.objects is not None:
            if not sample.objects and sample.file.suffix:  # unreadable images have no suffix
                yield self._finding("empty_image", sample, annotation, "no objects")
            yield from self._of_objects(sample, annotation)

    def _of_objects(self, sample: Sample, annotation: Path | None) -> Iterator[Finding]:
        doubled = doubles(sample.objects)
        for item in sample.objects:
            if item.problem:
                yield self._of_problem(item.problem, sample.subset, sample)
            if item.name and item.name not in self._known and not _is_unknown(item):
                words = f"not one of {self._classes}"
                yield self._finding("unknown_class", sample, annotation, words, item)
            if item.number in doubled:
                words = f"the same box as object {doubled[item.number]}"
                yield self._finding("duplicate_box", sample, annotation, words, item)

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
        hashes = _difference_hashes(tested), _difference_hashes(trained)
        indices, distances = integrity.nearest(*hashes)
        for sample, index, distance in zip(tested, indices, distances, strict=True):
            if distance <= near:
                twin = trained[index]
                words = f"looks like {twin.image_id} of the training images ({distance} of 128)"
                yield self._finding("near_overlap", sample, sample.path, words, other=twin)

    def _of_problem(self, problem: Problem, subset: str, sample: Sample | None = None) -> Finding:
        """Turns a problem that a reader has found into a finding."""
        return Finding(
            problem.kind,
            subset,
            "" if sample is None else plain(sample.image_id),
            plain(problem.file.removeprefix(self._root)),
            plain(problem.object),
            problem.number,
            plain(problem.class_name),
            plain(problem.text.replace(self._root, "")),
            sample,
        )

    def _finding(
        self,
        kind: str,
        sample: Sample,
        path: Path | None,
        words: str,
        item: Object | None = None,
        other: Sample | None = None,
    ) -> Finding:
        """Returns a finding about an image, or about one of its objects."""
        entry = [f"image {sample.image_id}"] if sample.span is not None else []
        entry += [f"object {item.number}"] if item else []
        return Finding(
            kind,
            sample.subset,
            plain(sample.image_id),
            plain("" if path is None else str(path).removeprefix(self._root)),
            plain(": ".join(entry)),
            item.number if item else 0,
            plain(item.name) if item else "",
            plain(words.replace(self._root, "")),
            sample,
            other,
        )


def _is_unknown(item: Object) -> bool:
    """Says whether a reader has found that the class of an object is unknown."""
    return item.problem is not None and item.problem.kind == ProblemKind.UNKNOWN_CLASS


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


def _difference_hashes(found: list[Sample]) -> np.ndarray:
    content = b"".join(sample.file.difference_hash for sample in found)
    return np.frombuffer(content, np.uint64).reshape(-1, 2)
