"""Under XLA a detector computes what it computes without, and it is there only if asked for."""

import functools
import types

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn import layers
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training.optimizers import make_optimizer
from tests import fakes, reference
from tests.base import as_numpy

POOLINGS = ("max", "align")
OBJECTS = [
    [([5, 5, 30, 40], 0), ([20, 41, 60, 90], 2), ([0, 0, 64, 30], 1, True)],
    [([3, 4, 34, 30], 3)],
]


@pytest.fixture(scope="module")
def inputs():
    images = [fakes.image(64, 96), fakes.image(50, 37, seed=1)]
    return {**fakes.inputs_of(images), "original_shape": tf.constant([[32, 48], [100, 111]])}


@pytest.fixture(scope="module")
def batches(inputs):
    """Two batches of one shape: with objects, and without any."""
    some = fakes.targets_of(OBJECTS)
    none = {**some, "boxes": some["boxes"] * 0, "labels": some["labels"] * 0 - 1}
    return [(inputs, some), (inputs, none)]


def compiled(jit_compile, **changes):
    """A detector of known weights, compiled with or without XLA."""
    model = fakes.detector(**changes)
    model.compile(make_optimizer(model.config), jit_compile=jit_compile)
    model.optimizer.build(model.trainable_variables)
    return model


def stream(batches):
    """The batches as a stream whose shapes are not known before, as the pipeline's may be."""
    shapes = {"images": [None, None, None, 3], "boxes": [None, None, 4]}
    shapes |= {"image_shape": [None, 2], "original_shape": [None, 2], "key": [None, 2]}
    spec = tuple(
        {name: tf.TensorSpec(shapes.get(name, [None, None]), t.dtype) for name, t in part.items()}
        for part in batches[0]
    )
    return tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)


def has_xla(function):
    """Whether any operation that a function of no arguments traces is to be compiled by XLA."""
    graph = tf.function(function, autograph=False).get_concrete_function().graph.as_graph_def()
    nodes = [graph.node, *(body.node_def for body in graph.library.function)]
    bodies = [body.attr for body in graph.library.function]
    attributes = [node.attr for some in nodes for node in some] + bodies
    return any(attr["_XlaMustCompile"].b for attr in attributes if "_XlaMustCompile" in attr)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_steps_under_xla_equal_those_without(batches, pooling):
    plain, xla = (compiled(jit, roi_pooling=pooling, head_dropout=0.5) for jit in (False, True))
    before = as_numpy(plain.trainable_weights)
    for batch in batches:
        expected = {name: float(value) for name, value in plain.train_step(batch).items()}
    history = xla.fit(stream(batches).repeat(), steps_per_epoch=2, shuffle=False, verbose=0)
    logged = {name: values[0] for name, values in history.history.items()}
    # The same samples: their counts, and losses that differ by the order of sums only.
    for name in ("rpn_foreground", "roi_foreground"):
        assert logged[name] == expected[name] > 0
    assert logged == pytest.approx(expected, rel=1e-5)
    for weight, other, start in zip(
        plain.trainable_weights, xla.trainable_weights, before, strict=True
    ):
        moved = np.abs(weight - start).max()
        assert moved > 0
        np.testing.assert_allclose(other, weight, rtol=0, atol=1e-4 * moved, err_msg=weight.path)
    assert int(xla.step) == 2


@pytest.mark.parametrize("frozen", ["roi_head", "rpn"])
def test_steps_of_one_stage_under_xla_equal_those_without(batches, frozen):
    inputs, targets = batches[0]
    given = {**inputs, "proposals": tf.concat([targets["boxes"], targets["boxes"] * 0.9], axis=1)}
    batch = (given if frozen == "rpn" else inputs), targets

    def detector(jit_compile):
        model = fakes.detector()
        model.backbone.trainable = False
        getattr(model, frozen).trainable = False
        model.compile(make_optimizer(model.config), jit_compile=jit_compile)
        model.optimizer.build(model.trainable_variables)
        return model

    plain, xla = detector(False), detector(True)
    expected = {name: float(value) for name, value in plain.train_step(batch).items()}
    steps = tf.data.Dataset.from_tensors(batch)
    history = xla.fit(steps, steps_per_epoch=1, shuffle=False, verbose=0)
    logged = {name: values[0] for name, values in history.history.items()}
    assert logged == pytest.approx(expected, rel=1e-5)
    assert len(logged) == 5
    for weight, other in zip(plain.trainable_weights, xla.trainable_weights, strict=True):
        np.testing.assert_allclose(other, weight, rtol=1e-4, atol=1e-6, err_msg=weight.path)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_predictions_under_xla_equal_those_without(inputs, pooling):
    plain, xla = (compiled(jit, roi_pooling=pooling, max_detections=30) for jit in (False, True))
    expected, answer = as_numpy(plain.predict_step(inputs)), xla.predict(inputs, verbose=0)
    assert expected["num_detections"].min() > 5
    for name in ("labels", "num_detections"):
        np.testing.assert_array_equal(answer[name], expected[name])
    for name in ("scores", "proposal_scores"):
        np.testing.assert_allclose(answer[name], expected[name], atol=1e-5)
    for name in ("boxes", "proposals"):
        np.testing.assert_allclose(answer[name], expected[name], atol=1e-3)
    # Without XLA, as "detect" works, the forms for it find the same.
    answer = as_numpy(xla.predict_step(inputs))
    np.testing.assert_array_equal(answer["labels"], expected["labels"])
    np.testing.assert_allclose(answer["scores"], expected["scores"], atol=1e-5)


def hostile_boxes(rng, shape):
    """Boxes across the border, without area, inverted, all of the image, padding."""
    boxes = reference.random_boxes(rng, shape, (64, 96))
    boxes[:, 0], boxes[:, 1], boxes[:, 2] = [9, 9, 9, 30], [50, 60, 10, 20], [-99, -99, 999, 999]
    boxes[:, 3] = 0
    return boxes


def propose(rng, form):
    anchors = hostile_boxes(rng, (1, 300))[0]
    logits = rng.integers(-3, 4, (2, 300, 2)).astype("float32")  # ties
    deltas = rng.normal(0, 0.3, (2, 300, 4)).astype("float32")
    layer = layers.ProposalGenerator(200, 50, **form)
    return layer, (logits, deltas, anchors, SHAPES, rng.random((2, 300)) < 0.9)


def decode(rng, form):
    logits = rng.integers(-3, 4, (2, 40, 4)).astype("float32") * 20  # ties, at 0 and at 1 too
    deltas = rng.normal(0, 1, (2, 40, 4, 4)).astype("float32")
    deltas[:, 5], deltas[:, 6] = np.nan, np.inf
    rois, valid = hostile_boxes(rng, (2, 40)), rng.random((2, 40)) < 0.9
    return layers.DetectionDecoder(0.05, 0.5, 100, **form), (rois, valid, logits, deltas, SHAPES)


def assign(rng, form):
    gt_boxes = np.concatenate([hostile_boxes(rng, (2, 7)), np.zeros((2, 2, 4))], axis=1)
    gt_labels = np.where(np.arange(9) < 7, 1, -1) * np.ones((2, 1), "int32")
    anchors = reference.random_boxes(rng, (500,), (64, 96), whole=True)
    layer = layers.AnchorTargetAssigner(num_samples=64)
    ignore = np.arange(9) == 5 * np.ones((2, 1))
    valid = rng.random((2, 500)) < 0.9
    return layer, (anchors, gt_boxes.astype("float32"), gt_labels, SHAPES, SEED, valid, ignore)


def sample(rng, form):
    gt_boxes, gt_labels = hostile_boxes(rng, (2, 6)), np.array([[0, 1, 2, -1, 3, 2]] * 2)
    proposals, valid = hostile_boxes(rng, (2, 90)), rng.random((2, 90)) < 0.9
    layer = layers.ProposalSampler(num_samples=32)
    return layer, (proposals, valid, gt_boxes, gt_labels.astype("int32"), SEED)


def pool(rng, form, kind):
    features = rng.normal(0, 1, (2, 6, 8, 3)).astype("float32")
    shapes = np.array([[6, 8], [4, 5]], "int32")
    return kind(3, 16, **form), (features, hostile_boxes(rng, (2, 20)), shapes)


SHAPES = np.array([[64, 96], [50, 37]])
SEED = np.array([-3, 2**31 - 1], "int32")


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (propose, {"supports_jit": True}),
        (decode, {"supports_jit": True}),
        (functools.partial(pool, kind=layers.RoIPooling), {"supports_jit": True}),
        (functools.partial(pool, kind=layers.RoIAlign), {"supports_jit": True}),
        (assign, {}),
        (sample, {}),
    ],
    ids=["proposals", "detections", "max", "align", "anchor_targets", "samples"],
)
def test_a_layer_under_xla_equals_itself_without(make, form):
    plain, args = make(np.random.default_rng(0), {})
    layer, _ = make(np.random.default_rng(0), form)
    expected = as_numpy(plain(*args))
    answer = as_numpy(tf.function(lambda *args: layer(*args), jit_compile=True)(*args))
    for one, other in zip(tf.nest.flatten(answer), tf.nest.flatten(expected), strict=True):
        assert one.dtype == other.dtype and np.any(other)
        if one.dtype == np.float32:
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)
        else:
            np.testing.assert_array_equal(one, other)


def test_xla_is_nowhere_unless_asked_for(batches):
    model, inputs = compiled(False), batches[0][:1]
    model.make_train_function()
    model.make_predict_function()
    assert not has_xla(functools.partial(model.train_function, [batches[0]]))
    assert not has_xla(functools.partial(model.predict_function, [inputs]))
    model.compile("sgd", jit_compile=True)
    model.make_predict_function()
    assert has_xla(functools.partial(model.predict_function, [inputs]))


def test_xla_is_not_chosen_beside_a_gpu_either(monkeypatch):
    gpu = types.SimpleNamespace(device_type="GPU", name="GPU:0")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind="GPU": [gpu])
    assert fakes.detector().jit_compile is False  # as it predicts before it is compiled
    assert compiled(False).jit_compile is False


def test_layers_take_their_form_with_each_compilation():
    model = fakes.detector()
    switched = [
        model.rpn.train_generator,
        model.rpn.test_generator,
        *model.roi_head.poolings,
        model.roi_head.detection_decoder,
    ]
    for jit_compile in (True, False, True):
        model.compile("sgd", jit_compile=jit_compile)
        assert [layer.supports_jit for layer in switched] == [jit_compile] * 4


def test_where_xla_cannot_be_had_is_said(monkeypatch):
    model = fakes.detector()
    with pytest.raises(ValueError, match="must be a bool.*Received: 'auto'"):
        model.compile("sgd", jit_compile="auto")
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="run_eagerly=True"):
        model.compile("sgd", jit_compile=True, run_eagerly=True)
    strategy = types.SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setattr(FasterRCNN, "distribute_strategy", strategy)
    with pytest.raises(ValueError, match="needs one device.*Received: 2 replicas"):
        model.compile("sgd", jit_compile=True)
