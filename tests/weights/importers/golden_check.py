"""Compares what an imported detector finds with what the original found; see ``golden_weights``."""

import json
import pickle

import numpy as np

from keras_frcnn.models.preprocessing import make_inputs
from keras_frcnn.weights.importers import detector as importer
from tests.weights.importers import golden_weights

XY = [1, 0, 3, 2]


def import_golden(source, name, folder, content=lambda arrays: arrays):
    """Returns the golden values of a model, and a detector that is imported from a pickle of its
    weights in the folder.
    """
    golden = json.loads(golden_weights.FILES[source].read_text(encoding="utf-8"))[name]
    path = folder / "mine.pkl"
    path.write_bytes(pickle.dumps(content(golden_weights.draw(golden["shapes"])), 4))
    names = golden_weights.CLASSES
    return golden, importer.import_detector(source, path, name, class_names=names)


def check(golden, model):
    """Checks levels, proposals and detections."""
    image = golden_weights.image()[np.newaxis]
    rules = *golden_weights.SIDES, *model.resizing[2:]
    inputs = make_inputs(image, model.backbone.preprocessing, *rules)
    levels = model.features(inputs)
    for level, mean, deviation in zip(
        levels, golden["level_means"], golden["level_deviations"], strict=True
    ):
        values = level.features.numpy()
        np.testing.assert_allclose(values.mean(), mean, atol=1e-4 * deviation)
        np.testing.assert_allclose(values.std(ddof=1), deviation, rtol=1e-4)
    proposals = model.propose(inputs, levels)
    assert proposals.valid.numpy().sum() == golden["num_proposals"]
    expected = np.array(golden["proposals"])
    np.testing.assert_allclose(proposals.boxes[0].numpy()[: len(expected), XY], expected, atol=2e-3)
    found = model.roi_head(levels=levels, proposals=proposals, image_shape=inputs["image_shape"])
    count = len(golden["scores"])
    scale = np.tile(np.divide(image.shape[1:3], inputs["image_shape"][0]), 2)
    boxes = (found["boxes"][0].numpy() * scale)[:count, XY]
    np.testing.assert_allclose(boxes, golden["boxes"], atol=2e-3)
    np.testing.assert_allclose(found["scores"][0, :count], golden["scores"], atol=1e-4)
    np.testing.assert_array_equal(found["labels"][0, :count] + 1, golden["labels"])
