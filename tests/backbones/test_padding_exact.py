"""Running networks padding-exact: shared, contained and branching networks; which are refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.backbones.padding_exact import PaddingExactNetwork
from tests import fakes

layers = keras.layers
SIZES = [(9, 14), (12, 7), (16, 16)]


def randomize_biases(network):
    rng = np.random.default_rng(3)
    for weight in network.weights:
        if len(weight.shape) == 1:
            weight.assign(rng.uniform(0.2, 1.0, weight.shape))


def assert_exact(network):
    """Compares each image in one padded batch with what the network itself makes of it alone."""
    randomize_biases(network)
    exact = PaddingExactNetwork(network)
    images = [fakes.image(h, w, seed=i) for i, (h, w) in enumerate(SIZES)]
    inputs = fakes.inputs_of(images)
    results = exact(inputs["images"], inputs["image_shape"], tf.constant(True))
    for i, image in enumerate(images):
        alone = network(image[np.newaxis])
        alone = alone if isinstance(alone, list | tuple) else [alone]
        for (whole, shape), expected in zip(results, alone, strict=True):
            h, w = shape[i].numpy()
            assert expected.shape[1:3] == (h, w)
            np.testing.assert_allclose(whole[i, :h, :w], expected[0], rtol=1e-4, atol=1e-5)
            assert not np.any(whole[i, h:]) and not np.any(whole[i, :, w:])


def model_of(make):
    images = keras.Input((None, None, 3))
    return keras.Model(images, make(images))


def branches(x):
    """What ResNets, Inception and MobileNets are made of."""
    x = layers.Conv2D(4, 3, padding="same")(x)
    down = layers.Conv2D(4, 1, strides=2, padding="same")(x)
    other = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
    x = layers.Concatenate()([layers.Add()([down, other]), layers.Multiply()([down, other])])
    x = layers.BatchNormalization()(layers.Dropout(0.5)(x))
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(8, 1, activation="sigmoid")(squeezed)
    gate = layers.ReLU(6.0)(gate + 3.0) * (1.0 / 6.0)
    x = layers.DepthwiseConv2D(3, padding="same")(layers.Multiply()([x, gate]))
    return layers.SeparableConv2D(5, 3, padding="same", dilation_rate=2)(x)


def valid_windows(x):
    x = layers.Conv2D(4, 3, dilation_rate=2, activation="relu")(x)
    return layers.AveragePooling2D((1, 2))(layers.LayerNormalization()(layers.Dense(6)(x)))


def cut_averages(x):
    """ResNet-vd's shortcut: the last window of an odd side holds fewer cells."""
    x = layers.AveragePooling2D(2, padding="same")(layers.Conv2D(4, 1)(x))
    return layers.AveragePooling2D(2, padding="same")(layers.Conv2D(4, 3, padding="same")(x))


def asymmetric(x):
    x = layers.Conv2D(4, (1, 3), strides=(2, 1), padding="same")(x)
    return layers.Conv2D(4, 3)(layers.ZeroPadding2D(((2, 0), (1, 3)))(x))


def operations(x):
    x = keras.ops.relu6(layers.Conv2D(4, 3, padding="same")(x))
    return layers.Conv2D(2, 3, padding="same")(keras.ops.maximum(x * 2.0 - 1.0, x2=x) / 3.0)


def outputs_that_others_read(x):
    """The same map is an output and read by two layers that need it cleared."""
    x = layers.Conv2D(4, 3, padding="same")(x)
    return [x, layers.Conv2D(2, 3, padding="same")(x), layers.Conv2D(2, 5, padding="same")(x)]


def shared(x):
    layer = layers.Conv2D(3, 3, padding="same")
    return layer(layer(layer(x)))


def contained(x):
    inner = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(3, 3, padding="same")])
    other = model_of(lambda y: layers.ReLU()(inner(layers.Conv2D(3, 3, padding="same")(y))))
    return [layers.Add()([inner(inner(x)), other(x)]), other(inner(x))]


@pytest.mark.parametrize(
    "make",
    [
        branches,
        valid_windows,
        cut_averages,
        asymmetric,
        operations,
        outputs_that_others_read,
        shared,
        contained,
    ],
)
def test_an_image_in_a_padded_batch_gives_what_the_network_makes_of_it_alone(make):
    assert_exact(model_of(make))


def test_a_sequential_network_runs_too():
    assert_exact(
        keras.Sequential(
            [
                keras.Input((None, None, 3)),
                layers.Conv2D(4, 3, padding="same"),
                keras.Sequential([keras.Input((None, None, 4)), layers.Conv2D(4, 3)]),
                layers.Activation("hard_silu"),
            ]
        )
    )


def test_a_network_with_fixed_size_runs_on_other_sizes():
    images = keras.Input((32, 32, 3))
    network = keras.Model(images, layers.Conv2D(2, 3, padding="same", name="c")(images))
    exact = PaddingExactNetwork(network)
    ((result, shape),) = exact(tf.ones([1, 9, 7, 3]), tf.constant([[9, 7]]), tf.constant(False))
    np.testing.assert_allclose(result, network.get_layer("c")(tf.ones([1, 9, 7, 3])))
    assert shape.numpy().tolist() == [[9, 7]]


def test_layers_are_listed_in_their_order_each_once():
    network = model_of(shared)
    assert PaddingExactNetwork(network).layers == network.layers[1:]
    images = keras.Input((None, None, 3))
    inner = model_of(lambda x: layers.ReLU(name="inner")(x))
    network = keras.Model(images, layers.ReLU(name="last")(inner(images)))
    assert [one.name for one in PaddingExactNetwork(network).layers] == ["inner", "last"]


def test_averages_are_of_the_true_area():
    x = np.zeros((2, 4, 4, 1), "float32")
    x[0, :2, :3, 0] = [[1, 2, 3], [4, 5, 6]]
    x[1, :, :, 0] = 7
    gate = layers.GlobalAveragePooling2D(keepdims=True)
    images = keras.Input((None, None, 1))
    exact = PaddingExactNetwork(keras.Model(images, layers.Multiply()([images, gate(images)])))
    ((result, _),) = exact(x, tf.constant([[2, 3], [4, 4]]), tf.constant(True))
    np.testing.assert_allclose(result[0, :2, :3], 3.5 * x[0, :2, :3])
    np.testing.assert_allclose(result[1], 49.0 * np.ones((4, 4, 1)))


def sizes_differ(x):
    other = layers.MaxPooling2D(2)(x)
    return layers.Add(name="sum")([layers.Conv2D(3, 1, strides=2)(x), other])


def window_on_a_vector(x):
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return layers.Conv2D(3, 3, padding="same", name="wide")(x)


def two_inputs():
    inputs = [keras.Input((None, None, 3), name=name) for name in "ab"]
    return keras.Model(inputs, layers.Add()(inputs))


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (model_of(sizes_differ), "'sum' .*the true sizes of its inputs differ"),
        (model_of(window_on_a_vector), "'wide' .*one vector for each image"),
        (two_inputs(), r"must have one input, the images. Received: \['a', 'b'\]"),
        (Subclassed(), "must be a Functional Keras model.* Received: Subclassed"),
        (keras.Sequential([layers.ReLU()]), "starts with an Input. Received: Sequential"),
        (layers.ReLU(), "Received: ReLU"),
        (model_of(lambda x: x + np.ones(3, "float32")), "calls it with an array"),
    ],
)
def test_networks_that_cannot_be_run_are_refused(network, message):
    with pytest.raises(ValueError, match=message):
        PaddingExactNetwork(network)
