"""Runs the stages of training and detection on single images and draws the panel of each stage."""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from keras_frcnn.config import Config
from keras_frcnn.data import pipeline
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.images.files import to_image
from keras_frcnn.evaluation.analysis import errors
from keras_frcnn.evaluation.metrics import ground_truth
from keras_frcnn.evaluation.metrics.detections import to_table
from keras_frcnn.inference.over_dataset import detect_dataset
from keras_frcnn.inspection.visualize import stages, training_view
from keras_frcnn.models import build
from keras_frcnn.models.faster_rcnn import FasterRCNN

_DIFFICULT = {
    "drop": "difficult, left out of training",
    "keep": "difficult, learned like the others",
    "ignore": "difficult, ignored in training",
}
"""What the legend says about difficult objects, for each way to treat them."""


def draw(
    dataset: Dataset,
    rows: Sequence[int],
    config: Config,
    model: FasterRCNN | None = None,
    epoch: int = 0,
    num_proposals: int = 50,
    draw_threshold: float = 0.5,
) -> Iterator[dict[str, Image.Image]]:
    """Draws the stages of some images.

    Args:
        dataset: The records.
        rows: The indices in ``dataset.records`` of the images to draw.
        config: The settings of the data, and of the model if ``model`` is None.
        model: A detector; None to draw only the stages that need none.
        epoch: The epoch of training whose random flips, crops, colors and samples are drawn.
        num_proposals: The number of best proposals to draw.
        draw_threshold: Detections with a lower score are not drawn.

    Yields:
        The panels of each image, by their file names and in the order of the stages.

    Raises:
        ValueError: If an image cannot be read; the message names its file.
    """
    backbone = build.build_backbone(config) if model is None else model.backbone
    preprocessing = backbone.preprocessing
    names = dataset.class_names
    for row in rows:
        record = dataset.records[row]
        original = to_image(record)
        ((inputs, targets),) = pipeline.training_examples(
            dataset, config, preprocessing, [row], epoch
        )
        image = pipeline.image_of(inputs, preprocessing)
        truth = {"boxes": record.boxes, "labels": record.labels, "dashed": record.difficult}
        learned = pipeline.objects_of(targets)
        learned["dashed"] = learned["ignore"]
        anchors = training_view.lay_anchors(config, backbone, inputs["image_shape"])
        matched = training_view.match_anchors(config, anchors, inputs, targets)
        title = f"1 ground truth: {_size(original)}"
        difficult = _DIFFICULT[config.resolve_difficult(record.form)]
        panels = {"1_ground_truth": stages.draw_objects(original, truth, names, title, difficult)}
        title = f"2 as training sees it: {_size(image)}, epoch {epoch}"
        panels["2_training"] = stages.draw_objects(image, learned, names, title, "ignored")
        panels["3_anchors"] = stages.draw_anchors(image, learned, names, matched, "3 anchors")
        if model is not None:
            regions = training_view.sample_rois(model, inputs, targets)
            panels["4_proposals"] = stages.draw_proposals(
                image, learned, regions, num_proposals, "4 proposals"
            )
            panels["5_regions"] = stages.draw_regions(
                image, regions["rois"], regions["labels"], names, "5 regions to learn from"
            )
            split = _detect(dataset, row, config, model, draw_threshold)
            title = f"6 detections: score >= {draw_threshold:g}"
            panels["6_detections"] = stages.draw_detections(original, split, 0, title)
        yield panels


def _detect(
    dataset: Dataset, row: int, config: Config, model: FasterRCNN, score_threshold: float
) -> errors.ErrorSplit:
    """Detects objects in one image and returns which detections are right and which are wrong."""
    single = Dataset(dataset.class_names, [dataset.records[row]])
    found, _ = detect_dataset(model, single, config)
    truth = ground_truth.of_records(single)
    return errors.split(truth, to_table(found, truth), score_threshold=score_threshold)


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
