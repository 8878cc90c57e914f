"""From images to the panels of their stages: the model's layers asked, their answers drawn."""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_frcnn import backbones
from keras_frcnn.backbones import backbone
from keras_frcnn.config import Config
from keras_frcnn.data import pipeline
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.images.files import to_image
from keras_frcnn.evaluation.analysis import errors
from keras_frcnn.evaluation.metrics import ground_truth
from keras_frcnn.evaluation.metrics.detections import to_table
from keras_frcnn.inference.over_dataset import detect_dataset
from keras_frcnn.inspection.visualize import stages, training_view
from keras_frcnn.models.faster_rcnn import FasterRCNN

_DIFFICULT = {
    "drop": "difficult, left out of training",
    "keep": "difficult, learned like others",
    "ignore": "difficult, ignored in training",
}


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
        dataset: the records.
        rows: of ``dataset.records``.
        config: settings of the data, and of the model if there is none.
        model: a detector; None: only stages that need none are drawn.
        epoch: of training, by which flips, crops, colors and samples are drawn.
        num_proposals: proposals that are drawn.
        draw_threshold: detections scored lower are not drawn.

    Yields:
        For each row its panels, by the names of their files, in the order of the stages.

    Raises:
        ValueError: naming an image that cannot be read.
    """
    if model is None:
        stack = backbone.BACKBONES[config.backbone]("float32")
        layers, stride = stack.layers, stack.stride
    else:
        layers, stride = model.backbone.stack, model.backbone.stride
    preprocessing = backbones.preprocessing_of(config.backbone, config.pixel_std)
    seed = tf.constant([epoch, config.seed], tf.int32)
    names = dataset.class_names
    for row in rows:
        record = dataset.records[row]
        original = to_image(record)
        ((inputs, targets),) = pipeline.training_examples(
            dataset, config, preprocessing, [row], epoch
        )
        image = pipeline.image_of(inputs, preprocessing)
        truth = {"boxes": record.boxes, "labels": record.labels, "apart": record.difficult}
        learned = pipeline.objects_of(targets)
        learned["apart"] = learned["ignore"]
        shape = inputs["image_shape"]
        anchors = training_view.lay_anchors(config, layers, stride, shape)
        matched = training_view.match_anchors(config, anchors, shape, targets, seed)
        title = f"1 ground truth: {_size(original)}"
        difficult = _DIFFICULT[config.resolve_difficult(record.form)]
        panels = {"1_ground_truth": stages.draw_objects(original, truth, names, title, difficult)}
        title = f"2 as training sees it: {_size(image)}, epoch {epoch}"
        panels["2_training"] = stages.draw_objects(image, learned, names, title, "ignored")
        panels["3_anchors"] = stages.draw_anchors(image, learned, names, matched, "3 anchors")
        if model is not None:
            regions = training_view.sample_regions(model, inputs, targets, seed)
            panels["4_proposals"] = stages.draw_proposals(
                image, learned, regions, num_proposals, "4 proposals"
            )
            panels["5_regions"] = stages.draw_regions(
                image, regions["rois"], regions["labels"], names, "5 regions to learn from"
            )
            one = Dataset(names, [record])
            detections, _ = detect_dataset(model, one, config)
            truth = ground_truth.of_records(one)
            table = to_table(detections, truth)
            split = errors.split(truth, table, score_threshold=draw_threshold)
            title = f"6 detections: score >= {draw_threshold:g}"
            panels["6_detections"] = stages.draw_judged(original, split, 0, title)
        yield panels


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
