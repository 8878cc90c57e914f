"""Joins the data sets of several sources: classes are matched by name, ids are told apart.

In joined data an object whose class matches none of the classes is left out: to a detector of these
classes it is background like everything else. So is an image without other objects, if
``include_empty`` lets it be trained on.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_frcnn.config import DataSource
from keras_frcnn.data import class_names as classes
from keras_frcnn.data.dataset import Dataset, GroundTruth, Record
from keras_frcnn.data.problems import Problem, ProblemKind, Remedy, invalid, settle


def relabel(
    dataset: Dataset, source: DataSource, class_names: Sequence[str], strict: bool = False
) -> Dataset:
    """Gives a data set other classes, matched by ``classes.match``.

    Args:
        dataset: the data of one source, with its own classes. If it has no records, its ``truth``
            is looked at.
        source: where it comes from.
        class_names: the new classes.
        strict: whether an object of a class that matches none is a problem, for
            ``on_bad_record`` to decide about; otherwise it is left out.

    Returns:
        The data set with these classes. ``problems`` has one that names all classes that lost
        objects and how many, under ``strict`` one for each class. ``remarks`` tell which classes
        have other names there and, unless ``strict``, which are missing.

    Raises:
        ValueError: if none of its classes matches, or one matches two; under ``strict`` and
            ``on_bad_record="error"`` naming each class that matches none, with its first image.
    """
    class_names = tuple(class_names)
    if class_names == dataset.class_names:
        return dataset
    if not dataset.class_names and not source.annotated:
        return dataclasses.replace(dataset, class_names=class_names)
    labels = classes.match(dataset.class_names, class_names)
    if len(labels) and np.all(labels < 0):
        expected = f"at least one of the classes {', '.join(class_names)}"
        raise invalid(expected, ", ".join(dataset.class_names), source)
    renamed = [
        f"{theirs} is {class_names[label]}"
        for theirs, label in zip(dataset.class_names, labels, strict=True)
        if label >= 0 and theirs != class_names[label]
    ]
    remarks = [f"{source}: {', '.join(renamed)}"] if renamed else []
    missing = [name for label, name in enumerate(class_names) if label not in labels]
    if missing and not strict:
        words = "what shows one there counts as background"
        remarks.append(f"{source}: has no {', '.join(missing)}; {words}")
    return Dataset(
        class_names,
        [_relabel_record(record, labels) for record in dataset.records],
        [*dataset.problems, *_lost_classes(dataset, source, class_names, labels, strict)],
        None if dataset.truth is None else _relabel_truth(dataset.truth, class_names, labels),
        [*dataset.remarks, *remarks],
    )


def _lost_classes(
    dataset: Dataset,
    source: DataSource,
    class_names: tuple[str, ...],
    labels: np.ndarray,
    strict: bool,
) -> list[Problem]:
    """Returns the problems of classes that lose objects, or raises under ``strict``."""
    columns = [record.labels for record in dataset.records]
    if not columns and dataset.truth is not None:
        columns = [dataset.truth.labels]
    counts = np.bincount(np.concatenate([np.zeros(0, np.int64), *columns]), minlength=len(labels))
    lost = np.flatnonzero((labels < 0) & (counts > 0)).tolist()
    if lost and not strict:
        names = (f"{dataset.class_names[label]} ({counts[label]:,})" for label in lost)
        words = f"objects of classes that match none: {', '.join(names)}"
        kind = ProblemKind.UNMATCHED_CLASS
        return [Problem(kind=kind, message=words, file=str(source))]
    problems = []
    for label in lost:
        holders = (record.name for record in dataset.records if label in record.labels)
        more = f" and {counts[label] - 1:,} more" if counts[label] > 1 else ""
        problems.append(
            Problem(
                kind=ProblemKind.UNKNOWN_CLASS,
                file=next(holders, str(source)),
                object=f"object of class {dataset.class_names[label]}{more}",
                message=f"unknown class; known are {', '.join(class_names)}",
                remedy=Remedy.DROP,
            )
        )
    return settle(problems, source.on_bad_record)


def _relabel_record(record: Record, labels: np.ndarray) -> Record:
    found = labels[record.labels].astype(np.int32)
    kept = found >= 0
    return dataclasses.replace(
        record,
        boxes=record.boxes[kept],
        labels=found[kept],
        difficult=record.difficult[kept],
    )


def _relabel_truth(
    truth: GroundTruth, class_names: tuple[str, ...], labels: np.ndarray
) -> GroundTruth:
    """Gives each class the first category number that means it, or one that no category has."""
    number_of = dict(zip(labels[::-1].tolist(), truth.category_ids[::-1], strict=True))
    missing = [label for label in range(len(class_names)) if label not in number_of]
    free = max(0, *truth.category_ids) + 1
    number_of |= {label: free + place for place, label in enumerate(missing)}
    kept = truth.select(np.ones(len(truth.image_ids), bool), labels[truth.labels] >= 0)
    return dataclasses.replace(
        kept,
        class_names=class_names,
        category_ids=tuple(number_of[label] for label in range(len(class_names))),
        labels=labels[kept.labels],
    )


def join(parts: Sequence[Dataset], sources: Sequence[DataSource]) -> Dataset:
    """Joins data sets of the same classes.

    Image ids are those of ``distinct``.

    Args:
        parts: at least one data set, all with the same classes.
        sources: where each data set comes from.

    Returns:
        All records in their order. ``truth`` is there if all data sets have one, with the category
        numbers of the first.

    Raises:
        DataError: under ``on_bad_record="error"``, if two of them hold the same image file.
    """
    if len(parts) == 1:
        return parts[0]
    parts, repeated = _without_repeats(parts, sources)
    ids = distinct([_ids(part) for part in parts], [source.dataset for source in sources])
    return Dataset(
        parts[0].class_names,
        [
            dataclasses.replace(record, image_id=image_id)
            for part, of_part in zip(parts, ids, strict=True)
            for record, image_id in zip(part.records, of_part, strict=bool(part.records))
        ],
        [*(problem for part in parts for problem in part.problems), *repeated],
        _join_truths([part.truth for part in parts], ids),
        [line for part in parts for line in part.remarks],
    )


def distinct(
    ids: Sequence[Sequence[str | int]], forms: Sequence[str]
) -> list[tuple[str | int, ...]]:
    """Tells the image ids of several sources apart.

    Args:
        ids: the ids of each source.
        forms: the form of each source.

    Returns:
        The same ids. If some are numbers and some are texts, all become texts, since files of ids
        hold one type. If two sources share an id, all ids get a prefix: the form of their source
        and a slash, with the number of the source in between if several have this form.
    """
    texts = [{str(image_id) for image_id in of_source} for of_source in ids]
    if len(set().union(*texts)) == sum(map(len, texts)):
        kinds = {isinstance(image_id, str) for of_source in ids for image_id in of_source}
        plain = str if len(kinds) > 1 else lambda image_id: image_id
        return [tuple(map(plain, of_source)) for of_source in ids]
    prefixes = [
        form if forms.count(form) == 1 else f"{form}{place}" for place, form in enumerate(forms, 1)
    ]
    return [
        tuple(f"{prefix}/{image_id}" for image_id in of_source)
        for prefix, of_source in zip(prefixes, ids, strict=True)
    ]


def _ids(part: Dataset) -> Sequence[str | int]:
    if part.truth is not None:
        return part.truth.image_ids
    return [record.image_id for record in part.records]


def _without_repeats(
    parts: Sequence[Dataset], sources: Sequence[DataSource]
) -> tuple[list[Dataset], list[Problem]]:
    """Leaves out images whose file an earlier data set has, and returns a problem for each set."""
    first: dict[tuple, DataSource] = {}
    problems, kept = [], []
    for part, source in zip(parts, sources, strict=True):
        files = [(record.path, record.span) for record in part.records]
        repeated = [row for row, file in enumerate(files) if file in first]
        if repeated:
            more = f" and {len(repeated) - 1:,} more" if len(repeated) > 1 else ""
            place = first[files[repeated[0]]]
            problems.append(
                Problem(
                    kind=ProblemKind.REPEATED_IMAGE,
                    file=f"{part.records[repeated[0]].name}{more}",
                    message=f"in {place} and in {source}",
                    remedy=Remedy.KEEP_FIRST,
                )
            )
            part = _select(part, [file not in first for file in files])
        kept.append(part)
        first |= dict.fromkeys(files, source)
    return kept, settle(problems, sources[0].on_bad_record)


def _select(part: Dataset, kept: list[bool]) -> Dataset:
    truth = part.truth
    if truth is not None:
        truth = truth.select(np.array(kept), np.ones(len(truth.rows), bool))
    chosen = [record for record, stays in zip(part.records, kept, strict=True) if stays]
    return dataclasses.replace(part, records=chosen, truth=truth)


def _join_truths(truths, ids) -> GroundTruth | None:
    if any(truth is None for truth in truths):
        return None
    firsts = np.cumsum([0, *map(len, ids)])
    columns = ("labels", "bboxes", "areas", "crowd")
    return dataclasses.replace(
        truths[0],
        image_ids=tuple(image_id for of_part in ids for image_id in of_part),
        rows=np.concatenate([t.rows + first for t, first in zip(truths, firsts, strict=False)]),
        **{name: np.concatenate([getattr(t, name) for t in truths]) for name in columns},
    )
