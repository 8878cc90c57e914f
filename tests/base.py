"""The test that every layer must pass, and assertions for the contracts that layers share."""

import inspect
import json
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf


def run_layer_test(layer, *args, tolerance=1e-6, policy_tolerance=1e-6, **kwargs):
    """Tests the general properties of a layer with one call.

    The eager result must equal that of a graph with unknown sizes, and that of a copy of the layer
    that is restored from its config and its saved weights. Under the mixed policies, results must
    keep their dtypes and be close to the eager result.

    Args:
        layer: a layer, built or not.
        *args, **kwargs: the arguments of the call, arrays.
        tolerance: largest absolute and relative difference between the eager layer, the graph and
            the restored layer.
        policy_tolerance: the same for the mixed policies.

    Returns:
        The eager call's result, as NumPy arrays.
    """
    args, kwargs = keras.tree.map_structure(tf.convert_to_tensor, (args, kwargs))
    expected = layer(*args, **kwargs)

    specs = keras.tree.map_structure(_loose_spec, (args, kwargs))
    graph = tf.function(lambda a, k: layer(*a, **k), input_signature=specs)
    assert_same_tree(graph(args, kwargs), expected, tolerance)

    restored = _restored(layer)
    assert_same_tree(restored(*args, **kwargs), expected, tolerance)

    # Without a dtype in its config, a layer takes the global policy.
    config = {key: value for key, value in layer.get_config().items() if key != "dtype"}
    for policy in ("mixed_bfloat16", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        mixed = type(layer).from_config(config)
        keras.config.set_dtype_policy("float32")
        mixed(*args, **kwargs)
        mixed.set_weights(layer.get_weights())
        assert_same_tree(mixed(*args, **kwargs), expected, policy_tolerance)
    return as_numpy(expected)


def as_numpy(tree):
    """Converts a structure of tensors to NumPy arrays."""
    return keras.tree.map_structure(np.asarray, tree)


def assert_same_tree(actual, expected, tolerance):
    """Asserts equal structures, dtypes and shapes, and equal values up to ``tolerance``."""
    keras.tree.assert_same_structure(actual, expected)
    for one, other in zip(keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        one, other = (np.asarray(tf.cast(t, tf.float64)) for t in (one, other))
        np.testing.assert_allclose(one, other, atol=tolerance, rtol=tolerance)


def assert_valid_boxes(boxes, image_shape=None, valid=None):
    """Asserts the contract of boxes [B, N, 4]: float32, ordered, in the image, zero in padding."""
    boxes = np.asarray(boxes)
    assert boxes.dtype == np.float32
    assert boxes.shape[-1] == 4
    assert np.isfinite(boxes).all()
    assert (boxes[..., 2:] >= boxes[..., :2]).all()
    if image_shape is not None:
        assert (boxes >= 0).all()
        assert (boxes[..., 2:] <= np.asarray(image_shape)[:, np.newaxis, :]).all()
    if valid is not None:
        assert (boxes[~np.asarray(valid)] == 0).all()
        assert (boxes[np.asarray(valid)][..., 2:] > boxes[np.asarray(valid)][..., :2]).all()


def assert_detection_output(detections, image_shape, num_classes, max_detections):
    """Asserts the contract of detections: names, dtypes, order and padding."""
    assert sorted(detections.keys()) == ["boxes", "labels", "num_detections", "scores"]
    boxes, scores, labels, counts = (
        np.asarray(detections[name]) for name in ("boxes", "scores", "labels", "num_detections")
    )
    batch_size = len(image_shape)
    assert boxes.shape == (batch_size, max_detections, 4)
    assert scores.shape == labels.shape == (batch_size, max_detections)
    assert counts.shape == (batch_size,)
    assert (scores.dtype, labels.dtype, counts.dtype) == (np.float32, np.int32, np.int32)
    found = np.arange(max_detections) < counts[:, np.newaxis]
    assert_valid_boxes(boxes, image_shape, found)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert (np.diff(scores, axis=1) <= 0).all()
    assert ((labels[found] >= 0) & (labels[found] < num_classes)).all()
    assert (labels[~found] == -1).all()
    assert (scores[~found] == 0).all()


def _loose_spec(tensor):
    """Returns a spec in which only channels, coordinates and bins have known sizes."""
    shape = list(tensor.shape)
    known = {1: 1, 2: int(shape[-1] in (2, 4)), 3: 1, 4: 1, 5: 3}[len(shape)]
    return tf.TensorSpec([None] * (len(shape) - known) + shape[len(shape) - known :], tensor.dtype)


def _restored(layer):
    """Returns a copy of a layer, restored from JSON and a weights file."""
    config = layer.get_config()
    for name in list(inspect.signature(type(layer)).parameters)[:-1]:  # the last is **kwargs
        assert config[name] == getattr(layer, name)
    text = json.dumps(keras.saving.serialize_keras_object(layer))
    restored = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(restored) is type(layer)
    assert restored.get_config() == config
    if layer.weights:
        assert [w.path for w in restored.weights] == [w.path for w in layer.weights]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "layer.weights.h5"
            _model_with(layer).save_weights(path)
            _model_with(restored).load_weights(path)
        for one, other in zip(restored.weights, layer.weights, strict=True):
            np.testing.assert_array_equal(one, other)
    return restored


def _model_with(layer):
    """Returns a model that holds a built layer, because only models have weights files."""
    model = keras.Model()
    model.layer = layer
    model.built = True
    return model
