"""A trace holds what the model computes: its proposals, its detections and where they come from."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.inspection.explain import trace
from tests import fakes
from tests.models import test_levels


@pytest.fixture(scope="module", params=["one level", "two levels"])
def case(request):
    """A detector, a batch of one image, and the trace."""
    one = request.param == "one level"
    model = fakes.detector() if one else test_levels.compose()
    inputs = fakes.inputs_of([fakes.image(64, 93) if one else fakes.image(256, 272)])
    inputs |= {"original_shape": inputs["image_shape"] // 2}
    return model, inputs, trace.trace_of(model, inputs)


def test_proposals_and_detections_are_the_models(case):
    model, inputs, made = case
    expected = {name: value[0].numpy() for name, value in model(inputs).items()}
    count = expected["num_detections"]
    assert count == len(made.detections) > 3
    proposals, labels = made.detections.T
    np.testing.assert_array_equal(labels, expected["labels"][:count])
    np.testing.assert_array_equal(made.class_boxes[proposals, labels], expected["boxes"][:count])
    np.testing.assert_array_equal(made.class_scores[proposals, labels], expected["scores"][:count])
    valid = expected["proposal_scores"] > 0
    assert len(made.proposals) == valid.sum() > 10
    np.testing.assert_allclose(
        made.rpn_boxes[made.proposals], expected["proposals"][valid], rtol=1e-5, atol=1e-4
    )
    np.testing.assert_allclose(
        made.rpn_scores[made.proposals], expected["proposal_scores"][valid], rtol=1e-6
    )


def test_ranks_count_within_a_level(case):
    model, inputs, made = case
    sizes = [int(size) for size in model.rpn.predict(model.rpn_levels(inputs)).anchors.level_sizes]
    assert np.bincount(made.levels).tolist() == sizes
    for level in np.unique(made.levels):
        here = made.levels == level
        assert sorted(made.ranks[here]) == list(range(here.sum()))
        assert np.all(np.diff(made.rpn_scores[here][np.argsort(made.ranks[here])]) <= 0)


def test_the_sizes(case):
    _, inputs, made = case
    np.testing.assert_array_equal(made.image_shape, inputs["image_shape"][0])
    np.testing.assert_allclose(
        made.scale, made.image_shape / inputs["original_shape"][0].numpy(), rtol=1e-6
    )


def test_boxes_below_the_smallest_size_are_marked():
    model = fakes.detector(min_size=10.0)
    inputs = fakes.inputs_of([fakes.image(64, 96)]) | {"original_shape": tf.constant([[32, 48]])}
    made = trace.trace_of(model, inputs)
    sides = made.rpn_boxes[:, 2:] - made.rpn_boxes[:, :2]
    np.testing.assert_array_equal(made.large, sides.min(axis=1) >= 20)
    assert 0 < made.large.sum() < len(made.large)


def test_positive_anchors_are_those_of_training():
    model = fakes.detector()
    inputs = fakes.inputs_of([fakes.image(64, 96)])
    made = trace.trace_of(model, inputs | {"original_shape": inputs["image_shape"]})
    boxes = np.array([[0, 0, 32, 32], [30, 40, 62, 72], [5, 60, 40, 90]], np.float32)
    ignore = np.array([False, False, True])
    counts = trace.positive_anchors(model, made, boxes, ignore)
    targets = fakes.targets_of([[(boxes[0], 0), (boxes[1], 0), (boxes[2], 0, True)]])
    assignment, objects = model.rpn.target_assigner.assign(
        tf.constant(made.anchors),
        targets["boxes"],
        targets["labels"],
        inputs["image_shape"],
        ignore=targets["ignore"],
    )
    own = objects[0].numpy()[assignment[0].numpy() == 1]
    assert counts.tolist() == [np.sum(own == 0), np.sum(own == 1), 0]
    assert counts[:2].min() >= 1
    assert trace.positive_anchors(model, made, boxes[:0], ignore[:0]).tolist() == []


def test_an_image_is_traced_without_padding(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, int), np.zeros(0, bool)
    dataset = Dataset(fakes.CLASS_NAMES, [Record("a", str(tmp_path / "a.png"), 60, 60, *nothing)])
    model = fakes.detector()
    (made,) = trace.trace_dataset(model, dataset, model.config.replace(jit_compile=True))
    assert made.image_shape.tolist() == [64, 64]
    assert len(made.anchors) == 9 * 4 * 4
    assert len(made.detections) == len(model.detect(image)) > 3
