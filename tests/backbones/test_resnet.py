"""ResNets: equal to keras.applications', padding without effect; what is trained, loaded, saved."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.backbones import backbone as backbones
from keras_frcnn.backbones import stacks
from keras_frcnn.layers import BoxHead
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training.optimizers import make_optimizer
from keras_frcnn.weights import checkpoint
from keras_frcnn.weights.imagenet import load_pretrained
from tests import fakes
from tests.base import as_numpy

CONFIG = fakes.SMALL.replace(backbone="resnet50", scales=(16.0, 32.0), pixel_std=1.0)


@pytest.fixture(scope="module")
def donor():
    """ResNet50 of keras.applications, all weights and statistics at random."""
    network = keras.applications.ResNet50(include_top=False, weights=None)
    rng = np.random.default_rng(0)
    for weight in network.weights:
        if weight.path.endswith("kernel"):
            scale = np.sqrt(2 / np.prod(weight.shape[:-1]))
            weight.assign(rng.normal(0, scale, weight.shape))
        else:
            low = 0.5 if weight.path.endswith(("gamma", "variance")) else -0.3
            weight.assign(rng.uniform(low, low + 0.6, weight.shape))
    return network


@pytest.fixture(scope="module")
def model(donor, tmp_path_factory):
    """A detector that starts from the donor's weights, by a file as users have it."""
    path = tmp_path_factory.mktemp("weights") / "resnet50.weights.h5"
    donor.save_weights(path)
    model = FasterRCNN(CONFIG.replace(backbone_weights=str(path)), fakes.CLASS_NAMES)
    loaded = load_pretrained(model, model.config)
    assert len(loaded) == 106 and {"conv1_conv", "conv4_block6_3_bn", "conv5_block1_0_bn"} < {
        *loaded
    }
    return model


@pytest.mark.slow
def test_features_are_those_of_the_fourth_stage(donor, model):
    image = fakes.image(50, 70)[np.newaxis] * 50
    features, shape = model.backbone(image, tf.constant([[50, 70]]))
    expected = keras.Model(donor.input, donor.get_layer("conv4_block6_out").output)(image)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert shape.numpy().tolist() == [[4, 5]]
    assert (model.backbone.stride, model.backbone.channels) == (16, 1024)


@pytest.mark.slow
def test_the_head_is_the_fifth_stage_without_its_stride(donor, model):
    pooled = np.random.default_rng(0).normal(size=(2, 3, 3, 3, 1024)).astype("float32")
    spread = np.zeros((6, 6, 6, 1024), "float32")
    spread[:, ::2, ::2] = pooled.reshape(6, 3, 3, 1024)  # all that a stride of 2 reads
    stage = keras.Model(donor.get_layer("conv4_block6_out").output, donor.output)
    x = stage(spread).numpy().mean(axis=(1, 2))
    kernel, bias = model.box_head.classes.get_weights()
    logits, deltas = model.box_head(pooled, seed=tf.constant([1, 2]))
    assert deltas.shape == (2, 3, 5, 4)
    np.testing.assert_allclose(logits.numpy().reshape(6, 5), x @ kernel + bias, atol=1e-4)


@pytest.mark.slow
def test_padding_changes_nothing(model):
    images = [50 * fakes.image(h, w, seed=i) for i, (h, w) in enumerate([(47, 70), (64, 33)])]
    inputs = fakes.inputs_of(images)
    maps, shapes = model.backbone(inputs["images"], inputs["image_shape"])
    for i, image in enumerate(images):
        (h, w), size = shapes[i].numpy(), tf.constant([image.shape[:2]])
        alone, _ = model.backbone(image[np.newaxis], size)
        assert alone.shape[1:3] == (h, w)
        scale = np.abs(alone).max()
        np.testing.assert_allclose(maps[i, :h, :w], alone[0], rtol=1e-4, atol=1e-5 * scale)
        assert not np.any(maps[i, h:]) and not np.any(maps[i, :, w:])


@pytest.mark.slow
def test_norms_are_never_trained_and_the_first_blocks_not_either(model):
    trained = {weight.path for weight in model.trainable_weights}
    assert not [path for path in trained if "_bn/" in path]
    assert not [path for path in trained if "/conv1_" in path or "/conv2_" in path]
    assert len([path for path in trained if "_conv/" in path]) == 2 * (53 - 1 - 10)
    block = stacks.Residual(model.backbone.stack[-1].branches[0], name="again")
    block.trainable = True  # whatever is asked of what is around it
    norms = [layer for layer in stacks.leaves([block]) if "_bn" in layer.name]
    assert len(norms) == 3 and not any(x.trainable or x.trainable_weights for x in norms)
    assert len(block.trainable_weights) == 2 * 3


@pytest.mark.slow
def test_a_step_moves_what_is_trained_and_only_that(model):
    model.compile(make_optimizer(model.config))
    before = {weight.path: weight.numpy() for weight in model.weights}
    inputs = fakes.inputs_of([50 * fakes.image(64, 96)])
    model.train_step((inputs, fakes.targets_of([[([5, 5, 40, 50], 1)]])))
    moved = {w.path for w in model.weights if np.any(w.numpy() != before[w.path])}
    trained = {w.path for w in model.trainable_weights}
    assert moved - {model.step.path} <= trained
    assert {p for p in trained if p.endswith("kernel")} <= moved


@pytest.mark.slow
def test_a_checkpoint_brings_it_all_back(model, tmp_path):
    checkpoint.save(model, tmp_path / "a.keras")
    again = checkpoint.load(tmp_path / "a.keras")
    inputs = fakes.inputs_of([50 * fakes.image(64, 96)])
    for one, other in zip(
        as_numpy(tf.nest.flatten(model(inputs))), tf.nest.flatten(again(inputs)), strict=True
    ):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4)


def test_random_weights_keep_activations_within_bounds():
    backbone = backbones.Backbone("resnet50", dtype=keras.DTypePolicy("float32"))
    features, _ = backbone(fakes.image(96, 96)[np.newaxis], tf.constant([[96, 96]]))
    assert 0.1 < np.std(features) < 20


def test_a_head_with_a_stage_comes_back_from_its_settings():
    convolution = keras.layers.Conv2D(6, 3, padding="same", name="a")
    stage = stacks.Stage([stacks.Residual([convolution], [keras.layers.Conv2D(6, 1, name="b")])])
    head = BoxHead(2, stage=stage)
    again = BoxHead.from_config(head.get_config())
    pooled = np.random.default_rng(0).normal(size=(1, 2, 3, 3, 4)).astype("float32")
    head(pooled), again(pooled)
    again.set_weights(head.get_weights())
    assert [w.shape for w in head.weights][:2] == [(3, 3, 4, 6), (6,)]
    np.testing.assert_allclose(again(pooled)[0], head(pooled)[0])


def test_the_sizes_of_maps_are_known_without_pixels(model):
    shapes = tf.constant([[33, 47], [64, 40], [17, 16]])
    _, expected = model.backbone(tf.zeros([3, 64, 47, 3]), shapes)
    np.testing.assert_array_equal(stacks.true_shape(model.backbone.stack, shapes), expected)
