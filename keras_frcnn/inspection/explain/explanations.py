"""Explains the objects and the wrong detections of a data set, in numbers and in sentences."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.evaluation.analysis import errors
from keras_frcnn.evaluation.metrics import ground_truth
from keras_frcnn.evaluation.metrics.boxes import iou
from keras_frcnn.evaluation.metrics.detections import to_table
from keras_frcnn.evaluation.report.error_kinds import kind_name
from keras_frcnn.inspection.explain.fates import Explanation, Fate, Limits, explain
from keras_frcnn.inspection.explain.trace import Trace, positive_anchors
from keras_frcnn.models.faster_rcnn import FasterRCNN

MEANINGS = {
    Fate.UNCOVERED: (
        "no box of the RPN fits",
        "The anchors may not suit the objects: see keras-frcnn anchor-fit.",
    ),
    Fate.LOW_RANK: (
        "the RPN scores the boxes that fit too low",
        "Raise --test_pre_nms_top_k, or train the RPN longer.",
    ),
    Fate.SMALL: ("the boxes that fit are too small for a proposal", "Lower --min_size."),
    Fate.LOW_OBJECTNESS: (
        "the RPN scores the boxes that fit below its threshold",
        "Lower --rpn_score_threshold, or train the RPN longer.",
    ),
    Fate.PROPOSAL_SUPPRESSED: (
        "proposals that do not fit suppressed the boxes that do",
        "Raise --rpn_nms_iou_threshold.",
    ),
    Fate.PROPOSAL_CUT: ("too many proposals score better", "Raise --test_post_nms_top_k."),
    Fate.MOVED_AWAY: (
        "the box head moved the proposal off the object",
        "Train longer; roi_pooling=align localises better.",
    ),
    Fate.BACKGROUND: (
        "the box head takes it for background",
        "Train longer or on more such objects, or lower --score_threshold.",
    ),
    Fate.CONFUSED: ("the box head takes it for another class", "Add examples of both classes."),
    Fate.LOW_SCORE: (
        "the box head prefers the right class, but its score is too low",
        "Lower --score_threshold, or train longer.",
    ),
    Fate.SUPPRESSED: (
        "a detection of the same class that does not fit suppressed it",
        "Raise --nms_iou_threshold.",
    ),
    Fate.CUT: ("too many detections score better", "Raise --max_detections."),
    Fate.TAKEN: ("its detection counts for another object", ""),
    Fate.FOUND: ("found", ""),
}
"""What each fate means, and what may help."""

_SHOWN_CLASSES = 3


@dataclasses.dataclass(frozen=True, eq=False)
class ImageExplanation:
    """Everything that is said about one image. Boxes are yxyx pixels of the original image.

    Attributes:
        record: the image.
        labels: int [G], the classes of its objects.
        boxes: [G, 4].
        explanations: of each object; None for objects that the metric ignores.
        sentences: for each object, what happened to it.
        wrong: for each wrong detection ``label``, ``score``, ``box``, ``kind`` and ``sentences``.
    """

    record: Record
    labels: np.ndarray
    boxes: np.ndarray
    explanations: list[Explanation | None]
    sentences: list[list[str]]
    wrong: list[dict[str, Any]]

    @property
    def num_lost(self) -> int:
        """The number of objects that were not found."""
        return sum(one is not None and one.fate != Fate.FOUND for one in self.explanations)


def limits_of(model: FasterRCNN, iou_threshold: float) -> Limits:
    """Returns the numbers of a detector that decide what passes a stage."""
    generator, decoder = model.rpn.test_generator, model.roi_head.detection_decoder
    return Limits(
        iou_threshold,
        generator.pre_nms_top_k,
        generator.nms_iou_threshold,
        decoder.score_threshold,
        decoder.nms_iou_threshold,
        generator.score_threshold,
    )


def explain_images(
    model: FasterRCNN, dataset: Dataset, traces: Iterable[Trace], iou_threshold: float = 0.5
) -> Iterator[ImageExplanation]:
    """Explains one image after the other, by the rule of PASCAL VOC.

    Args:
        model: the detector.
        dataset: the images.
        traces: what the detector made of them, see ``trace.trace_dataset``.
        iou_threshold: least IoU of a correct detection.

    Yields:
        The explanations of each image.
    """
    limits = limits_of(model, iou_threshold)
    for record, trace in zip(dataset.records, traces, strict=True):
        scale = np.tile(trace.scale, 2)
        split = _split(dataset, record, trace, scale, iou_threshold)
        gt_boxes = record.boxes * scale
        found = explain(trace, gt_boxes, record.labels, split.found_by >= 0, limits)
        found = [
            None if ignored else one for one, ignored in zip(found, record.difficult, strict=True)
        ]
        positives = positive_anchors(model, trace, gt_boxes, record.difficult)
        words = _Words(trace, dataset.class_names)
        yield ImageExplanation(
            record,
            record.labels,
            record.boxes,
            found,
            [
                ["The metric ignores this object: it is marked as difficult, or as a crowd."]
                if one is None
                else words.of_object(one, box, label, number)
                for one, box, label, number in zip(
                    found, gt_boxes, record.labels, positives, strict=True
                )
            ],
            [
                words.of_detection(index, split, gt_boxes)
                for index in np.flatnonzero(np.isin(split.kinds, errors.ERRORS))
            ],
        )


def count(images: Iterable[ImageExplanation], num_classes: int) -> np.ndarray:
    """Counts the objects by class and fate: int [C, len(Fate)], in the order of ``Fate``."""
    counts, columns = np.zeros((num_classes, len(Fate)), np.int64), list(Fate)
    for image in images:
        for label, one in zip(image.labels, image.explanations, strict=True):
            if one is not None:
                counts[label, columns.index(one.fate)] += 1
    return counts


def to_dict(image: ImageExplanation, class_names: Sequence[str]) -> dict[str, Any]:
    """Returns the explanations of an image as plain values, for JSON."""
    return {
        "image_id": image.record.image_id,
        "file": image.record.path,
        "objects": [
            {
                "class": class_names[label],
                "box_yxyx": _rounded(box),
                "fate": "ignored" if one is None else str(one.fate),
                **({} if one is None else _numbers(one)),
                "explanation": " ".join(sentences),
            }
            for label, box, one, sentences in zip(
                image.labels, image.boxes, image.explanations, image.sentences, strict=True
            )
        ],
        "wrong_detections": [
            {
                "class": class_names[one["label"]],
                "box_yxyx": _rounded(one["box"]),
                "score": round(one["score"], 6),
                "kind": one["kind"],
                "explanation": " ".join(one["sentences"]),
            }
            for one in image.wrong
        ],
    }


def _split(dataset, record, trace, scale, iou_threshold):
    """Determines what the detections on an image are worth."""
    proposals, labels = trace.detections.T
    single = Dataset(dataset.class_names, [record])
    truth = ground_truth.of_records(single)
    found = {
        "boxes": (trace.class_boxes[proposals, labels] / scale).astype(np.float32),
        "scores": trace.class_scores[proposals, labels],
        "labels": labels,
    }
    return errors.split(truth, to_table({record.image_id: found}, truth), iou_threshold)


def _numbers(one: Explanation) -> dict[str, float | int | None]:
    names = ("anchor_iou", "rpn_iou", "rpn_score", "rank", "proposal_iou", "score")
    values = {name: getattr(one, name) for name in names}
    values["rank"] = one.rank or None
    return {
        name: None if value is None or np.isnan(value) else round(value, 6)
        for name, value in values.items()
    }


def _rounded(box: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in box]


class _Words:
    """Puts the numbers of one image into sentences."""

    def __init__(self, trace: Trace, class_names: Sequence[str]):
        self._trace, self._names = trace, class_names

    def of_object(self, one: Explanation, box, label: int, positives: int) -> list[str]:
        trace = self._trace
        lines = [
            f"The best anchor has IoU {one.anchor_iou:.2f} with it; in training it has {positives} "
            f"positive anchor{'' if positives == 1 else 's'}.",
        ]
        if one.rank:
            lines.append(
                f"The RPN gives the best box that fits a score of {one.rpn_score:.3f}: rank "
                f"{one.rank:,} of {one.num_ranked:,}."
            )
        else:
            lines.append(f"The best box of the RPN has IoU {one.rpn_iou:.2f}, too little.")
        if one.rpn_suppressor >= 0:
            suppressor = trace.rpn_boxes[[one.rpn_suppressor]]
            lines.append(
                f"A proposal with score {trace.rpn_scores[one.rpn_suppressor]:.3f} suppressed that "
                f"box; its own IoU with the object is {iou(box[np.newaxis], suppressor)[0, 0]:.2f}."
            )
        if one.candidate >= 0:
            lines.append(
                f"The best proposal has IoU {one.proposal_iou:.2f}. The best box for "
                f"{self._names[label]} that fits has a score of {one.score:.3f}; the box head says "
                f"{self._classes(one.candidate)}."
            )
        elif one.proposal >= 0:
            lines.append(
                f"The best proposal has IoU {one.proposal_iou:.2f}; the box head says "
                f"{self._classes(one.proposal)}."
            )
        if one.suppressor >= 0:
            proposal, _ = trace.detections[one.suppressor]
            suppressor = trace.class_boxes[[proposal], label]
            lines.append(
                f"A detection with score {trace.class_scores[proposal, label]:.3f} suppressed it; "
                f"its own IoU with the object is {iou(box[np.newaxis], suppressor)[0, 0]:.2f}."
            )
        if one.detection >= 0:
            proposal, _ = trace.detections[one.detection]
            lines.append(f"It is detected with score {trace.class_scores[proposal, label]:.3f}.")
        return lines

    def of_detection(self, index: int, split: errors.ErrorSplit, gt_boxes) -> dict[str, Any]:
        trace = self._trace
        proposal, label = trace.detections[split.found.index_in_image[index]]
        row = trace.proposals[proposal]
        lines = [
            f"It comes from proposal {proposal + 1}, which the RPN scores "
            f"{trace.rpn_scores[row]:.3f}; the box head says {self._classes(proposal)}."
        ]
        if split.objects[index] >= 0:
            box = gt_boxes[[split.objects[index]]]
            before = iou(box, trace.rpn_boxes[[row]])[0, 0]
            name = self._names[split.truth.labels[split.objects[index]]]
            lines.append(
                f"IoU with the nearest object, {name}: {before:.2f} before and "
                f"{split.ious[index]:.2f} after the box head moved it."
            )
        return {
            "label": int(label),
            "score": float(split.found.scores[index]),
            "box": split.boxes[index],
            "kind": kind_name(split.kinds[index]),
            "sentences": lines,
        }

    def _classes(self, proposal: int) -> str:
        """Returns the most probable classes of a proposal, with their probabilities."""
        scores = self._trace.class_scores[proposal]
        scores = np.append(scores, max(0.0, 1 - scores.sum()))
        best = np.argsort(-scores, kind="stable")[:_SHOWN_CLASSES]
        names = [*self._names, "background"]
        return ", ".join(f"{names[label]} {scores[label]:.2f}" for label in best)
