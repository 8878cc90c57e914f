"""One stage without the other, and proposals that come with a batch."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.training.optimizers import make_optimizer
from tests import fakes
from tests.base import as_numpy

OBJECTS = [[([5, 5, 30, 40], 0), ([20, 41, 60, 90], 2)], [([3, 4, 34, 30], 3)]]
RPN = {"rpn_cls_loss", "rpn_box_loss", "rpn_foreground"}
ROI = {"roi_cls_loss", "roi_box_loss", "roi_foreground"}
BOTH = {"weight_decay_loss", "loss"}


@pytest.fixture(scope="module")
def batch():
    return (
        fakes.inputs_of([fakes.image(64, 96), fakes.image(50, 37, seed=1)]),
        fakes.targets_of(OBJECTS),
    )


def forbid(monkeypatch, holder, name):
    def fail(*args, **kwargs):
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(holder, name, fail)


def given(model, inputs, training):
    """The model's own proposals as part of the inputs."""
    proposals = model.propose(inputs, training=training)
    return {**inputs, "proposals": proposals.boxes, "proposal_scores": proposals.scores}


def test_a_frozen_head_leaves_out_its_stage_and_its_work(batch, monkeypatch):
    model = fakes.detector()
    expected = as_numpy(model.compute_losses(*batch))
    assert set(expected) == RPN | ROI | BOTH
    model.roi_head.trainable = False
    forbid(monkeypatch, model.rpn, "propose")
    forbid(monkeypatch, model.roi_head, "classify")
    values = as_numpy(model.compute_losses(*batch))
    assert set(values) == RPN | BOTH
    assert {name: values[name] for name in RPN} == {name: expected[name] for name in RPN}
    np.testing.assert_allclose(
        values["loss"], sum(v for n, v in values.items() if n.endswith("_loss")), rtol=1e-6
    )


def test_a_frozen_rpn_with_proposals_given_does_not_run(batch, monkeypatch):
    model = fakes.detector()
    expected = as_numpy(model.compute_losses(*batch))
    inputs = given(model, batch[0], training=True)
    model.rpn.trainable = False
    values = as_numpy(model.compute_losses(*batch))  # on the RPN's own proposals
    assert set(values) == ROI | BOTH
    assert {name: values[name] for name in ROI} == {name: expected[name] for name in ROI}
    forbid(monkeypatch, model.rpn.head, "call")
    again = as_numpy(model.compute_losses(inputs, batch[1]))
    assert again == values


def test_the_head_learns_from_the_proposals_given(batch):
    model = fakes.detector(append_gt_boxes=False)
    inputs = {**batch[0], "proposals": batch[1]["boxes"]}
    values = as_numpy(model.compute_losses(inputs, batch[1]))
    own = as_numpy(model.compute_losses(*batch))
    assert values["roi_foreground"] == 1.5  # each object's own box and nothing else
    assert values["roi_box_loss"] != own["roi_box_loss"]
    assert {name: values[name] for name in RPN} == {name: own[name] for name in RPN}
    nothing = {**batch[0], "proposals": tf.zeros([2, 5, 4])}
    values = as_numpy(model.compute_losses(nothing, batch[1]))
    assert values["roi_cls_loss"] == values["roi_box_loss"] == 0


def test_proposals_given_are_classified_as_the_rpns_own(batch, monkeypatch):
    model = fakes.detector()
    expected = as_numpy(model(batch[0]))
    inputs = given(model, batch[0], training=False)
    assert (expected["proposals"][:, -1] == 0).any()  # some rows are padding
    forbid(monkeypatch, model.rpn.head, "call")
    answer = as_numpy(model(inputs))
    for name, value in expected.items():
        np.testing.assert_array_equal(answer[name], value, err_msg=name)


def test_boxes_without_area_are_no_proposals(batch):
    model = fakes.detector()
    real = tf.constant([[[5.0, 5.0, 30.0, 40.0]]] * 2)
    hollow = tf.constant([[[50.0, 37.0, 50.0, 37.0], [9.0, 9.0, 9.0, 30.0]]] * 2)
    expected = as_numpy(model({**batch[0], "proposals": real}))
    answer = as_numpy(model({**batch[0], "proposals": tf.concat([hollow, real, hollow], axis=1)}))
    np.testing.assert_array_equal(answer["num_detections"], expected["num_detections"])
    np.testing.assert_allclose(answer["boxes"], expected["boxes"], rtol=1e-5)
    np.testing.assert_array_equal(answer["proposals"][:, [0, 1, 3, 4]], np.zeros((2, 4, 4)))
    assert not answer["proposal_scores"].any()


def test_proposals_given_are_answered_in_pixels_of_the_original(batch):
    model = fakes.detector()
    inputs = {
        **batch[0],
        "original_shape": tf.constant([[128, 96], [25, 111]]),
        "proposals": tf.constant([[[8.0, 4, 32, 40]], [[10.0, 3, 40, 30]]]),
        "proposal_scores": tf.constant([[0.5], [7.0]]),
    }
    answer = as_numpy(model.predict_step(inputs))
    np.testing.assert_allclose(
        answer["proposals"], [[[16, 4, 64, 40]], [[5, 9, 20, 90]]], rtol=1e-6
    )
    np.testing.assert_array_equal(answer["proposal_scores"], [[0.5], [7.0]])


@pytest.mark.parametrize(
    ("frozen", "expected"),
    [("roi_head", RPN | BOTH), ("rpn", ROI | BOTH)],
)
def test_a_step_logs_and_updates_only_what_learns(batch, frozen, expected):
    model = fakes.detector(weight_decay=0.1)
    getattr(model, frozen).trainable = False
    model.compile(make_optimizer(model.config))
    model.optimizer.build(model.trainable_variables)
    before = {w.path: w.numpy() for w in model.weights}
    logs = model.train_step(batch)
    assert set(logs) == {meter.name for meter in model.metrics} == expected
    changed = {w.path for w in model.weights if (w.numpy() != before[w.path]).any()}
    still = {w.path for w in getattr(model, frozen).weights}
    assert changed == set(before) - still


def test_on_all_anchors_the_second_stage_learns_alone(batch):
    model = fakes.detector(train_proposals="dense", test_proposals="dense")
    assert model.learning_stages == ("roi",)
    values = as_numpy(model.compute_losses(*batch))
    assert set(values) == ROI | BOTH and values["roi_foreground"] > 0
    model.compile(make_optimizer(model.config))
    before = as_numpy(model.rpn.weights)
    model.train_step(batch)
    for weight, start in zip(model.rpn.weights, before, strict=True):
        np.testing.assert_array_equal(weight, start)
    anchors = model.rpn.predict(model.features(batch[0])).anchors.boxes
    answer = model(batch[0])
    assert answer["proposals"].shape == (2, 6 * 4 * 9, 4)
    np.testing.assert_allclose(answer["proposals"][0], np.clip(anchors, 0, [64, 96, 64, 96]))
    assert model.detect([np.zeros((50, 60, 3), np.uint8)])["boxes"].shape == (1, 10, 4)


def test_a_detector_of_proposals_from_a_file_says_that_it_cannot_do_without():
    model = fakes.detector(train_proposals="found.npz", test_proposals="found.npz")
    with pytest.raises(ValueError, match="the RPN of this detector was not trained.*found.npz"):
        model.detect([np.zeros((50, 60, 3), np.uint8)])
