"""Inputs of an evaluation without a model: the ground truth, and detections read from files."""

import dataclasses
import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from keras_frcnn.config import Config

DETECTIONS = "detections.json"


class EvaluatedRun(NamedTuple):
    """What ``evaluate`` wrote beside its detections and another evaluation needs.

    Attributes:
        class_names: names of the labels 0, 1, ...
        category_ids: ids of the classes in the file of detections.
        metric: "voc" or "coco".
        fingerprint: fingerprint of the ground truth.
        config: the settings.
    """

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    metric: str
    fingerprint: str
    config: Config


class DetectionFiles(NamedTuple):
    """Detections on disk.

    Attributes:
        name: the name that the user gave.
        path: a COCO results file, or a folder of the development kit's text files.
        run: what ``evaluate`` wrote beside them; None for detections of other tools.
    """

    name: str
    path: Path
    run: EvaluatedRun | None


def locate(name: str) -> DetectionFiles:
    """Finds detections on disk.

    Args:
        name: the folder of a run, a folder that ``evaluate`` wrote, a COCO results file, or a
            folder of the development kit's text files.

    Returns:
        Where the detections are.

    Raises:
        ValueError: naming what is missing or wrong.
    """
    from keras_frcnn.evaluation.report.result_files import RESULTS

    path = Path(name)
    for folder in (path, path / "evaluation"):
        if (folder / DETECTIONS).is_file() and (folder / RESULTS).is_file():
            return DetectionFiles(name, folder / DETECTIONS, _read_run(folder / RESULTS))
    if path.is_file() or any(path.glob("comp4_det_*.txt")):
        return DetectionFiles(name, path, None)
    if not path.exists():
        raise ValueError(f"there is no file or folder of results {name}")
    raise ValueError(
        f"{name}: expected a folder with {DETECTIONS} and {RESULTS}, as evaluate writes them, the "
        "folder of such a run, a COCO results file, or a folder of VOC's text files"
    )


def read_dataset(config: Config, metric: str, class_names=None):
    """Reads the data set to evaluate detections on.

    Args:
        config: the data settings.
        metric: "auto", "voc" or "coco".
        class_names: classes in the order of their labels; None: those of the classes file, or in
            the data's own order.

    Returns:
        The data set. For COCO's metric on COCO's data no images are needed, and it has no records.

    Raises:
        ValueError: naming the file, split or flag that is wrong.
    """
    from keras_frcnn import data

    forms = {source.dataset for source in config.sources(config.eval_split)}
    needs_images = metric == "voc" or forms != {"coco"}
    return data.load(config, config.eval_split, class_names, strict=False, images=needs_images)


def read_images(dataset, config: Config, truth):
    """Finds the images that a page shows, if they are there.

    Args:
        dataset: what ``read_dataset`` returned.
        config: the data settings.
        truth: the ground truth of the data set.

    Returns:
        The data set if it has records. Otherwise one with a record for each image of the ground
        truth, in the same order; the record of a missing or unreadable image has no path. None if
        no image is there.
    """
    import numpy as np

    from keras_frcnn import data
    from keras_frcnn.data.dataset import Record

    if dataset.records:
        return dataset
    config = config.replace(on_bad_record="skip")
    try:
        with_images = data.load(config, config.eval_split, truth.class_names, strict=False)
    except ValueError:  # the error concerns the images: the annotations have been read before
        return None
    no_objects = np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool)
    records = dict.fromkeys(truth.image_ids, Record("", "", 1, 1, *no_objects))
    records |= {record.image_id: record for record in with_images.records}
    records = [records[image_id] for image_id in truth.image_ids]
    return dataclasses.replace(with_images, records=records)


def read_detections(files: DetectionFiles, config: Config, truth):
    """Reads detections and keeps their numbers exactly as they are written.

    Args:
        files: what ``locate`` returned.
        config: its evaluation split names the text files.
        truth: the ground truth that the detections are compared with.

    Returns:
        The ``DetectionTable``.

    Raises:
        ValueError: naming the file and the line or entry that is wrong, or classes that differ from
            those of the ground truth.
    """
    import numpy as np

    from keras_frcnn.evaluation.metrics.detections import to_table
    from keras_frcnn.evaluation.report import coco_files, voc_files

    if files.path.is_dir():
        names = split_names(config)
        present = [n for n in names if any(files.path.glob(f"comp4_det_{glob.escape(n)}_*.txt"))]
        split = [*present, names[0]][0]
        return to_table(voc_files.read_voc(files.path, truth.class_names, split), truth)
    if files.run is None:
        return coco_files.read(files.path, truth)
    class_names, category_ids, *_ = files.run
    if set(class_names) != set(truth.class_names):
        raise ValueError(
            f"{files.name} must have the classes of the ground truth, "
            f"{', '.join(truth.class_names)}. Received: {', '.join(class_names)}"
        )
    own_truth = dataclasses.replace(truth, class_names=class_names, category_ids=category_ids)
    table = coco_files.read(files.path, own_truth)
    labels = np.array([truth.class_names.index(name) for name in class_names], np.int64)
    return dataclasses.replace(table, labels=labels[table.labels])


def check_same_truth(pair: Sequence[DetectionFiles], metric: str, fingerprint: str) -> None:
    """Checks that detections were evaluated on the ground truth that they are now compared on.

    Args:
        pair: two results of ``locate``. Detections of other tools are not checked.
        metric: the metric of the comparison.
        fingerprint: fingerprint of the ground truth of the comparison.

    Raises:
        ValueError: naming the detections that were evaluated on other data or by another metric.
    """
    runs = [(files.name, files.run) for files in pair if files.run]
    for name, run in runs:
        if run.metric != metric:
            raise ValueError(
                f"{name} was measured with --metric={run.metric}, but is to be compared by "
                f"{metric}: measure both by the same metric"
            )
    if len({run.fingerprint for _, run in runs}) > 1:
        raise ValueError(
            f"{pair[0].name} and {pair[1].name} were measured on different ground truths: their "
            "images, classes or objects differ"
        )
    for name, run in runs:
        if run.fingerprint != fingerprint:
            raise ValueError(
                f"{name} was measured on another ground truth than the present one: images, "
                "classes or objects differ"
            )


def split_names(config: Config) -> tuple[str, str]:
    """Returns the two names that the image set may have in the names of VOC's text files.

    Files are written under the first name. For a single split it is the development kit's ("test"),
    which VOC's server expects; for several splits it contains their folders ("VOC2007-test_...").
    """
    splits = [split for source in config.sources(config.eval_split) for split in source.splits]
    names = "_".join(splits).replace("/", "-"), "_".join(s.rpartition("/")[2] for s in splits)
    return names[::-1] if len(splits) == 1 else names


class _GroundTruthResults(msgspec.Struct):
    metric: Literal["voc", "coco"]
    sha256: str


class _Results(msgspec.Struct):
    """The fields of results.json that are needed here."""

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    ground_truth: _GroundTruthResults
    settings: dict[str, Any]


def _read_run(path: Path) -> EvaluatedRun:
    """Reads what ``evaluate`` wrote.

    Raises:
        ValueError: naming the file.
    """
    from keras_frcnn.data.readers.coco_json import MAX_BYTES

    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"files of more than {MAX_BYTES} bytes are refused")
        results = msgspec.json.decode(path.read_bytes(), type=_Results)
        return EvaluatedRun(
            class_names=results.class_names,
            category_ids=results.category_ids,
            metric=results.ground_truth.metric,
            fingerprint=results.ground_truth.sha256,
            config=Config.from_dict(results.settings).validate(),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} must be a file that evaluate wrote, with settings of this version: {error}"
        ) from error
