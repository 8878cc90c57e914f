"""A detector whose RPN has convolutions of its own: both networks in one model."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.serving.export import save
from keras_frcnn.weights import checkpoint
from keras_frcnn.weights.imagenet import load_imagenet
from tests import fakes
from tests.base import as_numpy

OBJECTS = [[([5, 5, 30, 40], 0), ([20, 41, 60, 90], 2)], [([3, 4, 34, 30], 3)]]


@pytest.fixture(scope="module")
def batch():
    return (
        fakes.inputs_of([fakes.image(64, 96), fakes.image(50, 37, seed=1)]),
        fakes.targets_of(OBJECTS),
    )


@pytest.fixture(scope="module")
def model():
    return fakes.detector(scheme="unshared")


@pytest.fixture(scope="module")
def halves(model):
    """Two ordinary detectors: with the RPN's convolutions, and with the detector's."""
    made = []
    for backbone in (model.rpn_backbone, model.backbone):
        one = fakes.detector()
        one.backbone.set_weights(backbone.get_weights())
        for name in ("rpn", "roi_head"):
            getattr(one, name).set_weights(getattr(model, name).get_weights())
        made.append(one)
    return made


def test_the_rpn_proposes_from_its_own_convolutions_and_the_head_pools_the_others(
    model, halves, batch
):
    of_rpn, of_detector = halves
    proposed = as_numpy(of_rpn(batch[0]))
    inputs = {**batch[0], "proposals": proposed["proposals"]}
    inputs["proposal_scores"] = proposed["proposal_scores"]
    expected, answer = as_numpy(of_detector(inputs)), as_numpy(model(batch[0]))
    for name, value in expected.items():
        np.testing.assert_allclose(answer[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
    assert np.abs(proposed["proposals"] - of_detector(batch[0])["proposals"]).max() > 1


def test_what_is_shared_in_name_is_computed_only_where_it_is_wanted(model, batch, monkeypatch):
    features, levels = model.features(batch[0]), model.rpn_levels(batch[0])
    proposals = model.propose(batch[0])

    def fail(*args, **kwargs):
        raise AssertionError("was called")

    with monkeypatch.context() as patch:
        patch.setattr(model.backbone, "call", fail)
        for one, other in zip(model.propose(batch[0])[:3], proposals[:3], strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(model.rpn_levels(batch[0])[0].features, levels[0].features)
    with monkeypatch.context() as patch:
        patch.setattr(model.rpn_backbone, "call", fail)
        np.testing.assert_array_equal(model.features(batch[0])[0].features, features[0].features)
        inputs = {**batch[0], "proposals": proposals.boxes}
        np.testing.assert_array_equal(model(inputs)["proposals"], proposals.boxes)


def test_each_loss_teaches_its_own_network(model, batch):
    parts = ("rpn_backbone", "rpn", "backbone", "roi_head")
    weights = {name: getattr(model, name).trainable_weights for name in parts}
    with tf.GradientTape(persistent=True) as tape:
        values = model.compute_losses(*batch)
        of_rpn = values["rpn_cls_loss"] + values["rpn_box_loss"]
        of_head = values["roi_cls_loss"] + values["roi_box_loss"]
    for loss, taught in ((of_rpn, parts[:2]), (of_head, parts[2:])):
        for name, gradients in tape.gradient(loss, weights).items():
            for gradient in gradients:
                assert (gradient is not None and np.abs(gradient).max() > 0) == (name in taught)


def test_a_checkpoint_holds_both_networks(model, batch, tmp_path):
    path = tmp_path / "unshared.keras"
    checkpoint.save(model, path)
    with fakes.small_backbone():
        loaded = checkpoint.load(path)
    paths = [w.path for w in model.weights if w is not model.step]
    assert [w.path for w in loaded.weights if w is not loaded.step] == paths
    assert len(set(paths)) == len(paths) == 20
    for one, other in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    expected, answer = as_numpy(model(batch[0])), as_numpy(loaded(batch[0]))
    np.testing.assert_array_equal(answer["boxes"], expected["boxes"])


def test_a_checkpoint_of_one_network_does_not_pass_for_two(model, tmp_path):
    shared = fakes.detector()
    checkpoint.save(shared, tmp_path / "shared.keras")
    with pytest.raises(ValueError, match="do not fit the model"):
        checkpoint.load_weights(model, tmp_path / "shared.keras")


def test_the_exported_model_answers_as_both_networks(model, tmp_path):
    save(model, tmp_path / "saved")
    served = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    image = np.random.default_rng(0).integers(0, 256, (1, 70, 90, 3)).astype("uint8")
    expected, answer = model.detect(image), as_numpy(served(tf.constant(image)))
    assert answer["num_detections"] == expected["num_detections"] > 0
    np.testing.assert_allclose(answer["detection_boxes_pixels"], expected["boxes"], atol=1e-3)
    np.testing.assert_allclose(answer["detection_scores"], expected["scores"], atol=1e-5)


def test_both_networks_start_alike(tmp_path):
    model = fakes.detector(scheme="unshared")
    own = [w.numpy() for w in model.rpn_backbone.weights]
    assert all((a != b).any() for a, b in zip(own, model.backbone.weights, strict=True))
    head = [w.numpy() for w in model.roi_head.weights]
    assert load_imagenet(model, model.config) == []
    pairs = zip(model.rpn_backbone.weights, model.backbone.weights, strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)
    for before, weight in zip(head, model.roi_head.weights, strict=True):
        np.testing.assert_array_equal(weight, before)


def test_first_blocks_are_frozen_in_both_networks():
    model = fakes.detector(scheme="unshared", backbone_weights="imagenet", frozen_blocks=1)
    frozen = {w.path for w in model.weights} - {w.path for w in model.trainable_weights}
    assert {path.rpartition("/")[0] for path in frozen} == {
        "block1_conv1",
        "rpn_backbone/block1_conv1",
        model.step.path.rpartition("/")[0],
    }


@pytest.mark.parametrize("scheme", ["joint", "alternating"])
def test_schemes_that_share_have_one_network(scheme):
    model = fakes.detector(scheme=scheme)
    assert model.rpn_backbone is None
    assert len(model.weights) == 17


def test_frozen_convolutions_cost_no_gradient(batch):
    model = fakes.detector()
    model.backbone.trainable = False

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = model.compute_losses(*batch)["loss"]
        return tape.gradient(loss, model.trainable_weights)

    def gradient_operations():
        graph = tf.function(lambda: step(), autograph=False).get_concrete_function().graph
        nodes = [*graph.as_graph_def().node]
        for body in graph.as_graph_def().library.function:
            nodes += body.node_def
        return sum(node.op == "Conv2DBackpropFilter" for node in nodes)

    assert gradient_operations() == 3  # the RPN's own
    assert all(np.abs(gradient).max() > 0 for gradient in step())
