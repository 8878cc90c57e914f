"""ResNets: equal to keras.applications', padding without effect; what is trained and loaded."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn import backbones
from tests import fakes
from tests.backbones import padding


@pytest.fixture(scope="module")
def original():
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
def backbone():
    keras.utils.set_random_seed(0)
    return backbones.ResNet50(frozen_blocks=2, dtype="float32")


@pytest.fixture(scope="module")
def random_features(backbone):
    (level,) = backbone(fakes.image(96, 96)[np.newaxis], tf.constant([[96, 96]]))
    return level.features


@pytest.fixture(scope="module")
def loaded(backbone, random_features, original, tmp_path_factory):
    """A backbone and a head that start from the original's weights, by a file as users have it."""
    path = tmp_path_factory.mktemp("weights") / "resnet50.weights.h5"
    original.save_weights(path)
    head = backbone.make_head()
    names = backbones.load_pretrained(backbone, str(path), head.layers)
    assert len(names) == 106
    assert {"conv1_conv", "conv4_block6_3_bn", "conv5_block1_0_bn"} < {*names}
    return backbone, head


@pytest.mark.slow
def test_features_are_those_of_the_fourth_stage(original, loaded):
    backbone, _ = loaded
    image = fakes.image(50, 70)[np.newaxis] * 50
    (level,) = backbone(image, tf.constant([[50, 70]]))
    stage4 = keras.Model(original.input, original.get_layer("conv4_block6_out").output)
    expected = stage4(image)
    scale = np.abs(expected).max()
    assert scale > 1
    np.testing.assert_allclose(level.features, expected, rtol=1e-4, atol=1e-4 * scale)
    assert level.shape.numpy().tolist() == [[4, 5]]
    assert (backbone.strides, backbone.channels) == ((16,), (1024,))


@pytest.mark.slow
def test_the_head_is_the_fifth_stage_without_its_stride(original, loaded):
    backbone, head = loaded
    pooled = np.random.default_rng(0).normal(size=(6, 3, 3, 1024)).astype("float32")
    spread = np.zeros((6, 6, 6, 1024), "float32")
    spread[:, ::2, ::2] = pooled  # all that a stride of 2 reads
    stage5 = keras.Model(original.get_layer("conv4_block6_out").output, original.output)
    expected = stage5(spread).numpy()
    assert head(pooled).shape == (6, 3, 3, 2048)
    np.testing.assert_allclose(head(pooled), expected, atol=1e-4 * np.abs(expected).max())
    # Heads that are made later start from the loaded weights too.
    np.testing.assert_array_equal(backbone.make_head()(pooled), head(pooled))


@pytest.mark.slow
def test_the_head_can_keep_its_stride(original, loaded):
    _, head = loaded
    with_stride = backbones.ResNet50(dtype="float32", head_stride=2).make_head()
    with_stride.set_weights(head.get_weights())
    pooled = np.random.default_rng(0).normal(size=(2, 6, 6, 1024)).astype("float32")
    stage5 = keras.Model(original.get_layer("conv4_block6_out").output, original.output)
    expected = stage5(pooled).numpy()
    assert expected.shape == (2, 3, 3, 2048)
    np.testing.assert_allclose(with_stride(pooled), expected, atol=1e-4 * np.abs(expected).max())
    in_3x3 = backbones.ResNet50(head_stride=2, bottleneck_stride="3x3").make_head()
    assert in_3x3.get_layer("conv5_block1_2_conv").strides == (2, 2)
    assert in_3x3.get_layer("conv5_block1_2_conv_pad").padding == ((1, 1), (1, 1))
    assert in_3x3(pooled).shape == (2, 3, 3, 2048)


@pytest.mark.slow
def test_padding_changes_nothing(loaded):
    images = [50 * one for one in padding.images_of([(47, 70), (64, 33)])]
    padding.assert_padding_changes_nothing(loaded[0], images, padding.round_up, tolerance=1e-4)


@pytest.mark.slow
def test_norms_and_the_first_blocks_are_not_trained(loaded):
    backbone, head = loaded
    trained = [weight.path for weight in backbone.trainable_weights + head.trainable_weights]
    assert not [path for path in trained if "_bn/" in path]
    assert not [path for path in trained if path.startswith(("conv1_", "conv2_"))]
    assert len([path for path in trained if "_conv/" in path]) == 2 * (53 - 1 - 10)
    assert backbone.frozen == ["conv1", "conv2", "batch normalisation"]
    head.trainable = True  # whatever is asked of what is around the norms
    norms = [layer for layer in head.layers if layer.name.endswith("_bn")]
    assert len(norms) == 10 and not any(x.trainable or x.trainable_weights for x in norms)
    assert len(head.trainable_weights) == 2 * 10


@pytest.mark.slow
def test_a_step_moves_what_is_trained_and_only_that(loaded):
    backbone, head = loaded
    weights = backbone.weights + head.weights
    trained = backbone.trainable_weights + head.trainable_weights
    before = {weight.path: weight.numpy() for weight in weights}
    with tf.GradientTape() as tape:
        (level,) = backbone(50 * fakes.image(32, 48)[np.newaxis], tf.constant([[32, 48]]))
        loss = tf.reduce_mean(tf.square(head(level.features)))
    keras.optimizers.SGD(0.01).apply(tape.gradient(loss, [w.value for w in trained]), trained)
    moved = {weight.path for weight in weights if np.any(weight.numpy() != before[weight.path])}
    assert moved <= {weight.path for weight in trained}
    assert {weight.path for weight in trained if weight.path.endswith("kernel")} <= moved
    for weight in weights:
        weight.assign(before[weight.path])  # other tests share them


def test_random_weights_keep_activations_within_bounds(random_features):
    assert 0.1 < np.std(random_features) < 20


@pytest.mark.slow
def test_a_backbone_with_a_head_comes_back_from_its_settings(loaded):
    backbone, head = loaded
    again = backbones.Backbone.from_config(backbone.get_config())
    again.set_weights(backbone.get_weights())
    image, size = 50 * fakes.image(40, 33)[np.newaxis], tf.constant([[40, 33]])
    np.testing.assert_array_equal(again(image, size)[0].features, backbone(image, size)[0].features)
    assert again.frozen == backbone.frozen
    assert [w.path for w in again.make_head().weights] == [w.path for w in head.weights]


@pytest.mark.slow
def test_the_sizes_of_maps_are_known_without_pixels(loaded):
    backbone, _ = loaded
    shapes = tf.constant([[33, 47], [64, 40], [17, 16]])
    (level,) = backbone(tf.zeros([3, 64, 47, 3]), shapes)
    np.testing.assert_array_equal(backbone.level_shapes(shapes)[0], level.shape)


@pytest.mark.slow
def test_resnet101_has_the_longer_fourth_stage():
    backbone = backbones.ResNet101(frozen_blocks=1)
    convolutions = [x for x in backbone.network.layers if isinstance(x, keras.layers.Conv2D)]
    assert len(convolutions) == 1 + 3 * (3 + 4 + 23) + 3  # the last three are shortcuts
    assert backbone.network.layers[-1].name == "conv4_block23_out"
    assert (backbone.strides, backbone.channels) == ((16,), (1024,))
    assert backbone.frozen == ["conv1", "batch normalisation"]
    images = padding.images_of([(64, 33), (49, 64)])
    padding.assert_padding_changes_nothing(backbone, images, padding.round_up, tolerance=1e-4)


@pytest.mark.slow
def test_a_pyramid_stands_on_stages_2_to_5(original, tmp_path):
    path = str(tmp_path / "resnet50.weights.h5")
    original.save_weights(path)
    backbone = backbones.ResNet50FPN(weights=path, frozen_blocks=2, dtype="float32")
    assert (backbone.strides, backbone.channels) == ((4, 8, 16, 32, 64), (256,) * 5)
    assert backbone.frozen == ["conv1", "conv2", "batch normalisation"]
    assert backbone.make_head() is None
    ends = ["conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"]
    image = 50 * fakes.image(50, 70)[np.newaxis]
    maps = [
        keras.Model(network.input, [network.get_layer(end).output for end in ends])(image)
        for network in (backbone.network, original)
    ]
    for received, expected in zip(*maps, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-4 * scale)
    images = [50 * one for one in padding.images_of([(47, 70), (64, 33)])]
    padding.assert_padding_changes_nothing(backbone, images, padding.round_up, tolerance=1e-4)


@pytest.mark.slow
def test_the_stride_of_a_stage_can_be_in_its_3x3_convolution():
    backbone = backbones.ResNet50FPN(bottleneck_stride="3x3", norm_epsilon=0.0)
    network = backbone.network
    for layer in backbone.leaf_layers():
        if isinstance(layer, keras.layers.Conv2D) and not layer.name.startswith(("conv1", "fpn")):
            halves = layer.name[4] in "345" and layer.name.endswith(("k1_0_conv", "k1_2_conv"))
            assert layer.strides == ((2, 2) if halves else (1, 1)), layer.name
            assert (layer.padding == "valid") or not layer.name.endswith("k1_2_conv") or not halves
    assert network.get_layer("conv3_block1_2_conv_pad").padding == ((1, 1), (1, 1))
    norms = [layer for layer in backbone.leaf_layers() if layer.name.endswith("_bn")]
    assert len(norms) == 53 and {norm.epsilon for norm in norms} == {0.0}
    shapes = backbone.level_shapes([[33, 100], [64, 1]])
    for shape, stride in zip(shapes, backbone.strides, strict=True):
        expected = [
            [padding.round_up(side, stride) for side in one] for one in ((33, 100), (64, 1))
        ]
        np.testing.assert_array_equal(shape, expected)
