"""The feature pyramid: values against loops for sizes that no stride divides, and padding."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.backbones.feature_pyramid import TopDown, with_pyramid
from keras_frcnn.backbones.padding_exact import PaddingExactNetwork
from tests import fakes
from tests.backbones import padding

layers = keras.layers


def enlarge(coarse, rows, columns):
    """Reads cell (row // 2, column // 2) of a map [h, w, C], or the last one."""
    h, w, _ = coarse.shape
    y = [min(row // 2, h - 1) for row in range(rows)]
    x = [min(column // 2, w - 1) for column in range(columns)]
    return coarse[np.ix_(y, x)]


def convolve(x, kernel, bias):
    """A convolution of a map [h, w, C] that reads zeros outside."""
    border = kernel.shape[0] // 2
    padded = np.pad(x.astype("float64"), [(border, border), (border, border), (0, 0)])
    result = np.zeros((*x.shape[:2], kernel.shape[-1]))
    for row, column in np.ndindex(*x.shape[:2]):
        window = padded[row : row + kernel.shape[0], column : column + kernel.shape[1]]
        result[row, column] = np.tensordot(window, kernel, axes=3) + bias
    return result


def pyramid(maps, weights, norms=None):
    """The levels of maps [h, w, C], finest first, by the text of Lin et al. 2017, section 3.

    Args:
        maps: one of each stage.
        weights: kernel and bias of each convolution, by name.
        norms: scale and offset of each convolution's normalisation, by name.
    """

    def layer(x, name):
        scale, offset = norms[name] if norms else (1, 0)
        return convolve(x, *weights[name]) * scale + offset

    levels, above = [], None
    for number in range(len(maps) + 1, 1, -1):
        merged = layer(maps[number - 2], f"fpn_lateral{number}")
        if above is not None:
            merged = merged + enlarge(above, *merged.shape[:2])
        levels.insert(0, layer(merged, f"fpn_output{number}"))
        above = merged
    return [*levels, levels[-1][::2, ::2]]


def stages(rounds_up):
    """A network of three maps of strides 2, 4 and 8, whose sizes are rounded up or down."""
    images = x = keras.Input((None, None, 3))
    maps = []
    for number, channels in enumerate((3, 4, 5)):
        if rounds_up:
            x = layers.ZeroPadding2D(1)(x)
        x = layers.Conv2D(channels, 3 if rounds_up else 2, 2, name=f"stage{number}")(x)
        maps.append(x)
    return keras.Model(images, maps, name="toy")


def randomized(network, seed=0):
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        low = 0.5 if weight.path.endswith(("gamma", "variance")) else -0.5
        weight.assign(rng.uniform(low, low + 1, weight.shape))
    return network


@pytest.mark.parametrize(
    ("size", "fine"), [((2, 3), (4, 6)), ((2, 3), (3, 5)), ((2, 3), (5, 7)), ((1, 1), (1, 1))]
)
def test_a_coarse_map_is_enlarged_to_the_size_of_the_finer_one(size, fine):
    rng = np.random.default_rng(0)
    coarse, own = rng.normal(size=(1, *size, 2)), rng.normal(size=(1, *fine, 2))
    received = TopDown()(coarse.astype("float32"), own.astype("float32"))
    np.testing.assert_allclose(received[0], own[0] + enlarge(coarse[0], *fine), rtol=1e-5)


def test_the_last_row_of_each_image_is_repeated_not_that_of_the_batch():
    coarse = np.arange(1, 13, dtype="float32").reshape(1, 3, 4, 1)
    shape = tf.constant([[2, 3]])  # what lies outside is another image's room
    received = TopDown()(coarse, tf.zeros([1, 6, 8, 1]), shape)[0, ..., 0].numpy()
    expected = enlarge(coarse[0, :2, :3], 5, 7)[..., 0]
    np.testing.assert_array_equal(received[:5, :7], expected)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("rounds_up", [False, True])
def test_levels_equal_loops_over_their_cells(rounds_up, norm):
    network = stages(rounds_up)
    both = keras.Model(network.input, [*network.outputs, *with_pyramid(network, 3, norm).outputs])
    randomized(both)
    convolutions = [layer for layer in both.layers if isinstance(layer, layers.Conv2D)]
    weights = {layer.name: layer.get_weights() for layer in convolutions}
    norms = {}
    if norm:
        for name in weights:
            if name.startswith("fpn_"):
                gamma, beta, mean, variance = both.get_layer(f"{name}_bn").get_weights()
                scale = gamma / np.sqrt(variance + 1e-5)
                norms[name] = scale, beta - mean * scale
    for size in ((21, 35), (35, 19), (26, 22)):
        answers = [np.asarray(one)[0] for one in both(fakes.image(*size)[np.newaxis])]
        assert answers[0].shape[0] % 2 or answers[1].shape[0] % 2  # a size that 2 does not divide
        for level, expected in zip(answers[3:], pyramid(answers[:3], weights, norms), strict=True):
            assert level.shape == expected.shape
            np.testing.assert_allclose(level, expected, atol=1e-4)


@pytest.mark.parametrize("rounds_up", [False, True])
def test_an_image_in_a_padded_batch_has_the_levels_that_it_has_alone(rounds_up):
    network = randomized(with_pyramid(stages(rounds_up), 3))
    exact = PaddingExactNetwork(network)
    images = [fakes.image(h, w, seed=h) for h, w in ((21, 35), (31, 17), (32, 32), (8, 9))]
    inputs = fakes.inputs_of(images)
    results = exact(inputs["images"], inputs["image_shape"], tf.constant(True))
    for i, image in enumerate(images):
        for (whole, shape), expected in zip(results, network(image[np.newaxis]), strict=True):
            h, w = shape[i].numpy()
            assert expected.shape[1:3] == (h, w)
            np.testing.assert_allclose(whole[i, :h, :w], expected[0], rtol=1e-4, atol=1e-5)
            assert not np.any(whole[i, h:]) and not np.any(whole[i, :, w:])


@pytest.mark.parametrize("pyramid_norm", [False, True])
def test_a_backbone_with_a_pyramid_is_padding_exact(pyramid_norm):
    backbone = fakes.small_vgg16_fpn(pyramid_norm=pyramid_norm, frozen_blocks=2)
    padding.randomize(backbone)
    images = padding.images_of([(47, 70), (64, 33), (101, 90), (3, 200)])
    padding.assert_padding_changes_nothing(backbone, images, padding.round_down_but_p6)
    assert (backbone.strides, backbone.channels) == ((4, 8, 16, 32, 64), (8,) * 5)
    assert backbone.num_roi_levels == 4
    norm = ["batch normalisation"] if pyramid_norm else []
    assert backbone.frozen == ["block1", "block2", *norm]


def test_a_network_with_a_pyramid_comes_back_from_its_settings():
    backbone = fakes.small_vgg16_fpn(dtype="mixed_bfloat16", pyramid_norm=True)
    again = type(backbone).from_config(backbone.get_config())
    again.set_weights(backbone.get_weights())
    image, size = fakes.image(70, 83)[np.newaxis], tf.constant([[70, 83]])
    for one, other in zip(again(image, size), backbone(image, size), strict=True):
        assert one.features.dtype == tf.bfloat16
        np.testing.assert_array_equal(one.features, other.features)
    assert again.num_roi_levels == 4


def test_maps_whose_sizes_do_not_double_are_refused():
    images = keras.Input((None, None, 3))
    maps = [layers.Conv2D(2, 1, stride)(images) for stride in (2, 8)]
    network = with_pyramid(keras.Model(images, maps))
    with pytest.raises(ValueError, match="'fpn_sum2' .*the true sizes of its inputs"):
        PaddingExactNetwork(network)


def test_new_kernels_have_the_variance_of_detectron():
    images = keras.Input((None, None, 3))
    maps = [layers.Conv2D(200, 1, 2)(images)]
    network = with_pyramid(keras.Model(images, maps), 100)
    for name, inputs in (("fpn_lateral2", 200), ("fpn_output2", 900)):
        kernel, bias = network.get_layer(name).get_weights()
        np.testing.assert_allclose(kernel.var(), 1 / inputs, rtol=0.05)
        assert np.abs(kernel).max() <= np.sqrt(3 / inputs)
        assert not bias.any()
