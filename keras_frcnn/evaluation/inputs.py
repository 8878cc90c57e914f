"""Reads what is judged without a model: the ground truth, detections of a run or of any tool."""

import dataclasses
import glob
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from keras_frcnn.config import Config

DETECTIONS = "detections.json"


class Known(NamedTuple):
    """What ``evaluate`` wrote beside its detections, as far as another evaluation needs it.

    Attributes:
        class_names: of labels 0, 1, ...
        category_ids: of the classes, in the file of detections.
        metric: "voc" or "coco".
        fingerprint: of the ground truth.
        config: the settings.
    """

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    metric: str
    fingerprint: str
    config: Config


class Written(NamedTuple):
    """Detections that were written.

    Attributes:
        name: as the user calls them.
        path: a file of COCO's results form, or a folder of the devkit's text files.
        known: what else is known; None for detections from elsewhere.
    """

    name: str
    path: Path
    known: Known | None


def locate(name: str) -> Written:
    """Finds detections.

    Args:
        name: a run's folder, a folder that ``evaluate`` wrote, a file of COCO's results form or a
            folder of the devkit's text files.

    Returns:
        Where they are.

    Raises:
        ValueError: naming what is missing or wrong.
    """
    from keras_frcnn.evaluation.report.result_files import RESULTS

    path = Path(name)
    for folder in (path, path / "evaluation"):
        if (folder / DETECTIONS).is_file() and (folder / RESULTS).is_file():
            return Written(name, folder / DETECTIONS, _read_known(folder / RESULTS))
    if path.is_file() or any(path.glob("comp4_det_*.txt")):
        return Written(name, path, None)
    raise ValueError(
        f"{name}: expected a folder with {DETECTIONS} and {RESULTS}, as evaluate writes them, the "
        "folder of such a run, a file of COCO's results form or a folder of VOC's text files"
    )


def read_data(config: Config, metric: str, class_names=None):
    """Reads what to measure detections on.

    Args:
        config: settings of the data group.
        metric: "auto", "voc" or "coco".
        class_names: classes in the order of their labels; None: those of the classes file, or as
            the data have them.

    Returns:
        The dataset. COCO's metric on COCO's data needs no images, and then it has no records.

    Raises:
        ValueError: naming the file, split or flag that is wrong.
    """
    from keras_frcnn import data

    forms = {source.dataset for source in config.sources(config.eval_split)}
    images = metric == "voc" or forms != {"coco"}
    return data.load(config, config.eval_split, class_names, strict=False, images=images)


def read_images(dataset, config: Config, truth):
    """Returns a dataset with the images for a page to show, if they are there.

    Args:
        dataset: of ``read_data``.
        config: settings of the data group.
        truth: the ground truth made of the dataset.

    Returns:
        The dataset if it has records, else one that has those of the truth's images in their
        order. That of an image which is missing or unreadable names no file. None if all are.
    """
    import numpy as np

    from keras_frcnn import data
    from keras_frcnn.data.dataset import Record

    if dataset.records:
        return dataset
    config = config.replace(on_bad_record="skip")
    try:
        found = data.load(config, config.eval_split, truth.class_names, strict=False)
    except ValueError:  # of the images, since the annotations have been read before
        return None
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool)
    records = dict.fromkeys(truth.image_ids, Record("", "", 1, 1, *nothing))
    records |= {record.image_id: record for record in found.records}
    return dataclasses.replace(found, records=[records[name] for name in truth.image_ids])


def read_found(written: Written, config: Config, truth):
    """Reads detections, with the numbers as they were written.

    Args:
        written: of ``locate``.
        config: its evaluation split names text files.
        truth: what they are compared with.

    Returns:
        The detections as columns.

    Raises:
        ValueError: naming the file and the line or entry that is wrong, or classes that differ.
    """
    import numpy as np

    from keras_frcnn.evaluation.metrics import coco, columns
    from keras_frcnn.evaluation.report import voc_files

    if written.path.is_dir():
        names = split_names(config)
        found = [n for n in names if any(written.path.glob(f"comp4_det_{glob.escape(n)}_*.txt"))]
        split = [*found, names[0]][0]
        return columns.found_of(voc_files.read_voc(written.path, truth.class_names, split), truth)
    if written.known is None:
        return coco.read_found(written.path, truth)
    names, category_ids, *_ = written.known
    if set(names) != set(truth.class_names):
        raise ValueError(
            f"{written.name} must have the classes of the ground truth, "
            f"{', '.join(truth.class_names)}. Received: {', '.join(names)}"
        )
    own = dataclasses.replace(truth, class_names=names, category_ids=category_ids)
    found = coco.read_found(written.path, own)
    labels = np.array([truth.class_names.index(name) for name in names], np.int64)
    return dataclasses.replace(found, labels=labels[found.labels])


def check_same_truth(both: Sequence[Written], metric: str, fingerprint: str) -> None:
    """Checks that detections were measured as they now will be, as far as that is known.

    Args:
        both: two of ``locate``.
        metric: that which they will be compared by.
        fingerprint: of the ground truth that they will be compared with.

    Raises:
        ValueError: naming those that were not.
    """
    known = [(written.name, written.known) for written in both if written.known]
    for name, one in known:
        if one.metric != metric:
            raise ValueError(
                f"{name} was measured with --metric={one.metric}, to be compared by {metric}: "
                "measure both by the same metric"
            )
    if len({one.fingerprint for _, one in known}) > 1:
        raise ValueError(
            f"{both[0].name} and {both[1].name} were measured on different ground truths: other "
            "images, classes or objects"
        )
    for name, one in known:
        if one.fingerprint != fingerprint:
            raise ValueError(
                f"{name} was measured on another ground truth than the one that is there now: "
                "other images, classes or objects"
            )


def split_names(config: Config) -> tuple[str, str]:
    """Returns the names that the image set may have in the names of text files, first that which is
    written: of a single one the devkit's, which its server expects; of several with their folders.
    """
    splits = [split for source in config.sources(config.eval_split) for split in source.splits]
    names = "_".join(splits).replace("/", "-"), "_".join(s.rpartition("/")[2] for s in splits)
    return names[::-1] if len(splits) == 1 else names


def _read_known(path: Path) -> Known:
    """Reads what evaluate wrote.

    Raises:
        ValueError: naming the file.
    """
    from keras_frcnn.data.readers.coco_json import MAX_BYTES

    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes are refused")
        values = json.loads(path.read_bytes())
        truth = values["ground_truth"]
        known = Known(
            class_names=tuple(values["class_names"]),
            category_ids=tuple(values["category_ids"]),
            metric=truth["metric"],
            fingerprint=truth["sha256"],
            config=Config.from_dict(values["settings"]).validate(),
        )
        if not all(type(name) is str for name in known.class_names):
            raise ValueError("class_names must be texts")
        if known.metric not in ("voc", "coco"):
            raise ValueError(f"metric must be voc or coco. Received: {known.metric!r}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} must be of evaluate, with settings of this version: {error}"
        ) from error
    return known
