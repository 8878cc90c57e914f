"""Whether data and settings suit each other, checked before a run starts.

Training needs objects and anchors that match them. Limits must not cut off what is to be found, and
images that are trained on should not be evaluated on.
"""

import dataclasses
import hashlib
import os
from collections.abc import Sequence

import numpy as np

from keras_frcnn.backbones import strides_of
from keras_frcnn.config import Config
from keras_frcnn.data.dataset import Record
from keras_frcnn.data.images.spans import open_image
from keras_frcnn.data.problems import Problem

_CHUNK = 1000  # images whose objects are matched with anchors at a time


def nothing_to_learn(
    records: Sequence[Record], problems: Sequence[Problem], config: Config, is_training: bool
) -> str:
    """Says why there is nothing to learn from, or to evaluate on.

    Training needs an object and an anchor that overlaps it, from which the RPN may learn.

    Args:
        records: the usable images.
        problems: what was left out of the data.
        config: the settings. ``difficult`` decides whether training uses difficult objects, which
            evaluation never counts.
        is_training: whether the images are for training.

    Returns:
        One sentence, which says what to change; empty if there is something.
    """
    fault = _missing_objects(records, problems, config, is_training)
    if fault or not is_training or config.train_proposals != "rpn":
        return fault
    return _missing_anchors(records, config)


def _missing_objects(
    records: Sequence[Record], problems: Sequence[Problem], config: Config, is_training: bool
) -> str:
    kept = _learned(records, config) if is_training else [~r.difficult for r in records]
    if any(np.any(of_image) for of_image in kept):
        return ""
    splits = config.train_split if is_training else config.eval_split
    flag, purpose = ("train", "learn from") if is_training else ("eval", "evaluate on")
    start = f"there is no object to {purpose} in {', '.join(splits)} ({len(records):,} images)"
    num_difficult = sum(len(record.difficult) for record in records)
    if num_difficult:
        words = f"all {num_difficult:,} objects are difficult or crowd regions"
        if is_training:
            mode = config.difficult
            return f"{start}: {words}, which --difficult={mode} leaves out. Use --difficult=keep"
        words = f"{words}, which evaluation leaves out"
    elif problems:
        words = f"{len(problems):,} problems left out images or objects, the first: {problems[0]}"
        words = f"{words}. Correct the annotations"
    else:
        words = f"the annotations hold none. Check --data_dir and --{flag}_split"
    without = "" if is_training else ". Or use --eval_split=- to train without evaluations"
    return f"{start}: {words}{without}"


def _missing_anchors(records: Sequence[Record], config: Config) -> str:
    """Says that no object overlaps an anchor that the RPN may learn from; empty if one does."""
    from keras_frcnn.inspection.anchor_fit import best_iou as fit  # loads TensorFlow

    strides = strides_of(config.backbone)

    def level_shapes(shapes):  # at least as large as the true ones, which need the whole backbone
        return [-(-shapes // stride) for stride in strides]

    kind = "all" if config.rpn_border_anchors else "inside"
    layout = fit.layout_of(config)
    grids = fit.anchor_grids(config.level_scales, config.ratios, strides, **layout)
    largest = [0, 0]
    learned = _only_learned(records, config)
    for start in range(0, len(learned), _CHUNK):
        some = learned[start : start + _CHUNK]
        for sides in config.sizes(config.train_shorter_sides):
            objects = fit.objects_of(some, *sides, level_shapes, rounding=config.resize_rounding)
            if np.any(fit.best_iou(objects, grids, kind) > 0):
                return ""
            largest = np.max([largest, *objects.image_shape], axis=0)
    size = " x ".join(map(str, largest))
    scales = ",".join(f"{scale:g}" for scale in np.ravel(config.scales))
    which = "" if config.rpn_border_anchors else "inside an image "
    remedy = "" if config.rpn_border_anchors else ", or use --rpn_border_anchors"
    return (
        f"the RPN has nothing to learn from: no object overlaps an anchor {which}(--scales={scales}"
        f"; the images have at most {size} pixels after resizing). Choose smaller --scales or a "
        f"larger --shorter_side{remedy}; keras-frcnn anchor-fit suggests scales"
    )


def cut_off(records: Sequence[Record], config: Config) -> list[str]:
    """Says which limits lie below the number of objects in an image, and what that costs.

    Args:
        records: the images.
        config: the settings of the detections.

    Returns:
        One sentence for each limit that is too low.
    """
    counts = np.array([np.sum(~record.difficult) for record in records], np.int64)
    limits = {"max_detections": config.max_detections}
    if config.test_proposals != "dense":
        limits["test_post_nms_top_k"] = config.test_post_nms_top_k
    lines = []
    for name, limit in limits.items():
        over = int(np.sum(counts > limit))
        if over:
            recall = np.sum(np.minimum(counts, limit)) / np.sum(counts)
            images = f"{over:,} images have" if over > 1 else "1 image has"
            is_coco = name == "max_detections" and any(r.form == "coco" for r in records)
            note = ", though COCO's metric counts 100 of an image at most" if is_coco else ""
            lines.append(
                f"{images} more objects (up to {counts.max()}) than --{name}={limit} lets a "
                f"detector find, so recall cannot exceed {100 * recall:.1f} %. Use "
                f"--{name}={counts.max()} to find all{note}"
            )
    return lines


def shared_images(train: Sequence[Record], evaluation: Sequence[Record], config: Config) -> str:
    """Says how many evaluation images are also trained on, as the same file or as a copy of it.

    Args:
        train: the training images.
        evaluation: the evaluation images.
        config: the settings. Without ``check_images``, no file is opened to find copies.

    Returns:
        One sentence; empty if there are none.
    """
    places = {(record.path, record.span): record for record in train}
    sizes: set[int] = set()
    if config.check_images:  # only files of the same length can be copies
        sizes = {_num_bytes(r) for r in evaluation if (r.path, r.span) not in places}
        sizes &= {_num_bytes(r) for r in train} if sizes else set()
    copies = {_digest(r): r for r in train if sizes and _num_bytes(r) in sizes}
    pairs = []
    for record in evaluation:
        twin = places.get((record.path, record.span))
        if twin is None and copies and _num_bytes(record) in sizes:
            twin = copies.get(_digest(record))
        pairs += [(record, twin)] if twin is not None else []
    if not pairs:
        return ""
    first, twin = pairs[0]
    same = "" if first.name == twin.name else f", a copy of {twin.name}"
    return (
        f"{len(pairs):,} of the {len(evaluation):,} evaluation images are also trained on, so the "
        f"results will be too good. The first is {first.name}{same}"
    )


def _learned(records: Sequence[Record], config: Config) -> list[np.ndarray]:
    """Returns which objects of each image training learns."""
    return [
        np.ones_like(record.difficult)
        if config.resolve_difficult(record.form) == "keep"
        else ~record.difficult
        for record in records
    ]


def _only_learned(records: Sequence[Record], config: Config) -> list[Record]:
    """Returns the images that have objects to learn, with only these objects."""
    return [
        dataclasses.replace(
            record,
            boxes=record.boxes[kept],
            labels=record.labels[kept],
            difficult=np.zeros(np.sum(kept), bool),
        )
        for record, kept in zip(records, _learned(records, config), strict=True)
        if np.any(kept)
    ]


def _num_bytes(record: Record) -> int:
    return os.path.getsize(record.path) if record.span is None else record.span.length


def _digest(record: Record) -> bytes:
    with open_image(record.path, record.span) as file:
        return hashlib.file_digest(file, "sha256").digest()
