"""Joins the data sets of several sources: matches classes by name and makes image ids unique.

In joined data, objects of unmatched classes are left out, because they are background for a
detector of the other classes. An image with no other objects is pure background, which training
uses if ``include_empty`` is set.
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
    """Replaces the classes of a data set by others, which ``classes.match`` matches by name.

    Args:
        dataset: the data of one source, with its own classes. If it has no records, its ``truth``
            is used.
        source: the source of the data.
        class_names: the new classes.
        strict: whether an object of an unmatched class is a problem that ``on_bad_record`` applies
            to. Otherwise such an object is left out.

    Returns:
        The data set with the new classes. If objects were left out, one more entry of ``problems``
        names their classes and numbers; with ``strict`` there is one for each class. ``remarks``
        say which classes have other names in the data and, without ``strict``, which are missing.

    Raises:
        ValueError: If no class matches, or a class matches several. With ``strict`` and
            ``on_bad_record="error"`` also if a class is unmatched; the error then names each such
            class and its first image.
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
        note = "their objects in these images count as background"
        remarks.append(f"{source}: has no annotations of {', '.join(missing)}; {note}")
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
    """Returns the problems of unmatched classes with objects; with ``strict`` may raise them."""
    columns = [record.labels for record in dataset.records]
    if not columns and dataset.truth is not None:
        columns = [dataset.truth.labels]
    counts = np.bincount(np.concatenate([np.zeros(0, np.int64), *columns]), minlength=len(labels))
    lost = np.flatnonzero((labels < 0) & (counts > 0)).tolist()
    if lost and not strict:
        names = (f"{dataset.class_names[label]} ({counts[label]:,})" for label in lost)
        message = f"objects of unmatched classes: {', '.join(names)}"
        kind = ProblemKind.UNMATCHED_CLASS
        return [Problem(kind=kind, message=message, file=str(source))]
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
    """Gives each class the first category id that matches it, or an unused one."""
    number_of = dict(zip(labels[::-1].tolist(), truth.category_ids[::-1], strict=True))
    missing = [label for label in range(len(class_names)) if label not in number_of]
    free = max(0, *truth.category_ids) + 1
    number_of |= {label: free + index for index, label in enumerate(missing)}
    kept = truth.select(np.ones(len(truth.image_ids), bool), labels[truth.labels] >= 0)
    return dataclasses.replace(
        kept,
        class_names=class_names,
        category_ids=tuple(number_of[label] for label in range(len(class_names))),
        labels=labels[kept.labels],
    )


def join(datasets: Sequence[Dataset], sources: Sequence[DataSource]) -> Dataset:
    """Joins data sets of the same classes.

    ``distinct`` makes the image ids unique.

    Args:
        datasets: at least one data set, all with the same classes.
        sources: the source of each data set.

    Returns:
        All records in their order. If all data sets have a ``truth``, it is joined too, with the
        category ids of the first.

    Raises:
        DataError: If two data sets hold the same image file and ``on_bad_record`` is "error".
    """
    if len(datasets) == 1:
        return datasets[0]
    datasets, repeated = _without_repeats(datasets, sources)
    ids = distinct([_ids(dataset) for dataset in datasets], [source.dataset for source in sources])
    return Dataset(
        datasets[0].class_names,
        [
            dataclasses.replace(record, image_id=image_id)
            for dataset, dataset_ids in zip(datasets, ids, strict=True)
            for record, image_id in zip(dataset.records, dataset_ids, strict=bool(dataset.records))
        ],
        [*(problem for dataset in datasets for problem in dataset.problems), *repeated],
        _join_truths([dataset.truth for dataset in datasets], ids),
        [line for dataset in datasets for line in dataset.remarks],
    )


def distinct(
    ids: Sequence[Sequence[str | int]], formats: Sequence[str]
) -> list[tuple[str | int, ...]]:
    """Makes the image ids of several sources unique.

    Args:
        ids: the ids of each source.
        formats: the format of each source.

    Returns:
        The same ids. If some are numbers and some are strings, all become strings, because files of
        ids hold one type. If two sources share an id, all ids get a prefix: the format of their
        source and a slash, with the number of the source in between if several have this format.
    """
    texts = [{str(image_id) for image_id in of_source} for of_source in ids]
    if len(set().union(*texts)) == sum(map(len, texts)):
        kinds = {isinstance(image_id, str) for of_source in ids for image_id in of_source}
        plain = str if len(kinds) > 1 else lambda image_id: image_id
        return [tuple(map(plain, of_source)) for of_source in ids]
    prefixes = [
        format if formats.count(format) == 1 else f"{format}{number}"
        for number, format in enumerate(formats, 1)
    ]
    return [
        tuple(f"{prefix}/{image_id}" for image_id in of_source)
        for prefix, of_source in zip(prefixes, ids, strict=True)
    ]


def _ids(dataset: Dataset) -> Sequence[str | int]:
    if dataset.truth is not None:
        return dataset.truth.image_ids
    return [record.image_id for record in dataset.records]


def _without_repeats(
    datasets: Sequence[Dataset], sources: Sequence[DataSource]
) -> tuple[list[Dataset], list[Problem]]:
    """Leaves out images that an earlier data set already has, with one problem per data set."""
    first: dict[tuple, DataSource] = {}
    problems, kept = [], []
    for dataset, source in zip(datasets, sources, strict=True):
        files = [(record.path, record.span) for record in dataset.records]
        repeated = [row for row, file in enumerate(files) if file in first]
        if repeated:
            more = f" and {len(repeated) - 1:,} more" if len(repeated) > 1 else ""
            other = first[files[repeated[0]]]
            problems.append(
                Problem(
                    kind=ProblemKind.REPEATED_IMAGE,
                    file=f"{dataset.records[repeated[0]].name}{more}",
                    message=f"in {other} and in {source}",
                    remedy=Remedy.KEEP_FIRST,
                )
            )
            dataset = dataset.select(np.array([file not in first for file in files]))
        kept.append(dataset)
        first |= dict.fromkeys(files, source)
    return kept, settle(problems, sources[0].on_bad_record)


def _join_truths(truths, ids) -> GroundTruth | None:
    if any(truth is None for truth in truths):
        return None
    firsts = np.cumsum([0, *map(len, ids)])
    columns = ("labels", "bboxes", "areas", "crowd")
    return dataclasses.replace(
        truths[0],
        image_ids=tuple(image_id for dataset_ids in ids for image_id in dataset_ids),
        rows=np.concatenate([t.rows + first for t, first in zip(truths, firsts, strict=False)]),
        **{name: np.concatenate([getattr(t, name) for t in truths]) for name in columns},
    )
