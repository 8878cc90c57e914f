"""What is shown of a training step is what its losses are computed from."""

from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.inspection.visualize import training_view
from tests import fakes, reference

OBJECTS = [[([5, 5, 30, 40], 0), ([20, 41, 60, 90], 2), ([30, 5, 60, 30], 1, True)]]
# Fewer than there are, so that what is drawn depends on the key.
FEW = {"rpn_num_samples": 12, "roi_num_samples": 6}


@pytest.fixture(scope="module")
def model():
    return fakes.detector(**FEW)


@pytest.fixture(scope="module")
def batch():
    inputs = fakes.inputs_of([fakes.image(70, 93)])
    return inputs | {"original_shape": tf.constant([[35, 47]])}, fakes.targets_of(OBJECTS)


def answers_of(layer, model, batch):
    """What a layer answers while losses are computed."""
    call, answers = layer.call, []

    def recorded(*args, **kwargs):
        answers.append(call(*args, **kwargs))
        return answers[-1]

    with mock.patch.object(layer, "call", recorded):
        model.compute_losses(*batch)
    (answer,) = answers
    return {name: value[0].numpy() for name, value in answer.items()}


def anchors_of(model, inputs):
    return training_view.lay_anchors(model.config, model.backbone, inputs["image_shape"])


def matches_of(model, batch):
    return training_view.match_anchors(model.config, anchors_of(model, batch[0]), *batch)


def with_another_key(batch):
    return fakes.with_seed(batch[0], (6, 7)), batch[1]


@pytest.mark.parametrize("size", [(70, 93), (64, 96), (15, 40)])
def test_the_anchors_are_the_models(model, size):
    inputs = fakes.inputs_of([fakes.image(*size)])
    expected = model.rpn.predict(model.rpn_levels(inputs)).anchors
    found = anchors_of(model, inputs)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.ids, expected.ids)


def test_the_anchors_are_those_that_the_losses_sample(model, batch):
    expected = answers_of(model.rpn.target_assigner, model, batch)
    found = matches_of(model, batch)
    indices = expected["indices"][expected["weights"] > 0]
    assert np.sum(found["sampled"]) == len(indices) == 12
    assert sorted(np.flatnonzero(found["sampled"])) == sorted(indices)
    positive = expected["indices"][(expected["weights"] > 0) & (expected["labels"] == 1)]
    assert len(positive)
    drawn = np.flatnonzero(found["sampled"] & found["positive"])
    assert sorted(drawn) == sorted(positive)
    other = matches_of(model, with_another_key(batch))
    assert np.any(other["sampled"] != found["sampled"])


def test_the_regions_are_those_that_the_losses_sample(model, batch):
    expected = answers_of(model.roi_head.proposal_sampler, model, batch)
    found = training_view.sample_rois(model, *batch)
    drawn = expected["weights"] > 0
    np.testing.assert_array_equal(found["rois"], expected["rois"][drawn])
    np.testing.assert_array_equal(found["labels"], expected["labels"][drawn])
    assert len(found["rois"]) == 6 and found["labels"].max() > 0
    other = training_view.sample_rois(model, *with_another_key(batch))
    assert not np.array_equal(other["rois"], found["rois"])


def test_the_proposals_are_those_of_training_without_padding(batch):
    # 12 pixels of the original image are 24 of the network's input.
    model = fakes.detector(min_size=12.0, roi_num_samples=600)
    found = training_view.sample_rois(model, *batch)
    proposals, scores, valid, _ = model.propose(batch[0], training=True)
    count = int(tf.reduce_sum(tf.cast(valid, tf.int32)))
    assert 0 < count < proposals.shape[1]
    np.testing.assert_array_equal(found["proposals"], proposals[0, :count])
    np.testing.assert_array_equal(found["scores"], scores[0, :count])
    assert np.min(found["proposals"][:, 2:] - found["proposals"][:, :2]) >= 23.8
    samples = answers_of(model.roi_head.proposal_sampler, model, batch)
    drawn = samples["weights"] > 0
    assert 0 < np.sum(drawn) < 600
    np.testing.assert_array_equal(found["rois"], samples["rois"][drawn])


def match_squares(objects):
    """Matches anchors of 16 x 16 on 2 x 3 cells with objects."""
    config = fakes.SMALL.replace(scales=(16.0,), ratios=(1.0,))
    inputs = fakes.inputs_of([fakes.image(32, 48)])
    anchors = training_view.lay_anchors(config, fakes.small_vgg16(), inputs["image_shape"])
    return training_view.match_anchors(config, anchors, inputs, fakes.targets_of([objects]))


def test_by_hand():
    # A region to ignore lies on the first anchor, an object on the last.
    found = match_squares([([16, 32, 32, 44], 3), ([0, 0, 16, 16], 0, True)])
    corners = [(0, 0), (0, 16), (0, 32), (16, 0), (16, 16), (16, 32)]
    np.testing.assert_array_equal(found["anchors"], [[y, x, y + 16, x + 16] for y, x in corners])
    assert found["positive"].tolist() == [False] * 5 + [True]
    assert found["negative"].tolist() == [False] + [True] * 4 + [False]  # the region is neither
    assert found["sampled"].tolist() == [False] + [True] * 5  # of 32, the rest is padding
    assert found["objects"][5] == 0
    assert found["ious"][5] == pytest.approx(0.75)


def test_of_several_anchors_each_knows_its_object():
    found = match_squares([([0, 0, 16, 16], 3), ([0, 32, 16, 46], 1)])
    np.testing.assert_array_equal(found["anchors"], reference.anchors(2, 3, (16,), (1,), 16))
    positive = np.flatnonzero(found["positive"])
    assert positive.tolist() == [0, 2]
    assert found["objects"][positive].tolist() == [0, 1]
    np.testing.assert_allclose(found["ious"][positive], [1, 14 / 16], rtol=1e-6)


def test_an_image_without_objects(model):
    inputs = fakes.inputs_of([fakes.image(64, 96)])
    batch = inputs, fakes.targets_of([[]])
    found = matches_of(model, batch)
    assert not found["positive"].any() and found["negative"].all()
    regions = training_view.sample_rois(model, *batch)
    assert len(regions["rois"]) == 6 and not regions["labels"].any()
