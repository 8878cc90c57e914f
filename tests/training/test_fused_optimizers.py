"""The fused updates equal Keras' own, and the private names of Keras that they rely on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.training import fused_optimizers
from keras_frcnn.training.fused_optimizers import FusedAdam, FusedSGD

SHAPES = {"a/kernel": (2, 3, 1, 2), "a/bias": (4,)}


def make_variables():
    rng = np.random.default_rng(3)
    variables = []
    for path, shape in SHAPES.items():
        scope, name = path.split("/")
        with keras.name_scope(scope):
            value = rng.normal(size=shape).astype("float32")
            variables.append(keras.Variable(value, name=name))
    return variables


def weights_after(optimizer, graph=False, l2=0.0, dtype=tf.float32):
    """Weights after 5 steps of gradients that a seed decides, with ``l2`` added to the kernels'."""
    variables, rng = make_variables(), np.random.default_rng(4)
    optimizer.build(variables)

    def step(*gradients):
        gradients = [tf.cast(gradient, tf.float32) for gradient in gradients]
        decayed = [
            g if "bias" in v.path else g + l2 * v for g, v in zip(gradients, variables, strict=True)
        ]
        optimizer.apply(decayed if l2 else gradients, variables)

    step = tf.function(step) if graph else step
    for _ in range(5):
        step(*(tf.cast(rng.normal(size=shape), dtype) for shape in SHAPES.values()))
    return [variable.numpy() for variable in variables]


def assert_close(expected, received):
    for a, b in zip(expected, received, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)


@pytest.fixture(params=["compiled", "kernel", "eager"])
def way(request, monkeypatch):
    """The three ways in which a variable can be updated; gives whether the step is a graph."""
    monkeypatch.setattr(
        fused_optimizers, "MIN_COMPILED_SIZE", 0 if request.param == "compiled" else 2**40
    )
    return request.param != "eager"


CASES = [
    (FusedSGD, keras.optimizers.SGD, {"momentum": 0.9}),
    (FusedSGD, keras.optimizers.SGD, {}),
    (FusedSGD, keras.optimizers.SGD, {"momentum": 0.9, "global_clipnorm": 1.0}),
    (FusedSGD, keras.optimizers.SGD, {"momentum": 0.9, "global_clipnorm": 100.0}),
    (FusedSGD, keras.optimizers.SGD, {"momentum": 0.9, "clipvalue": 0.5}),
    (FusedSGD, keras.optimizers.SGD, {"momentum": 0.9, "gradient_accumulation_steps": 2}),
    (FusedAdam, keras.optimizers.Adam, {}),
    (FusedAdam, keras.optimizers.Adam, {"beta_1": 0.5, "beta_2": 0.99, "epsilon": 1e-3}),
    (FusedAdam, keras.optimizers.Adam, {"global_clipnorm": 1.0}),
]


@pytest.mark.parametrize(("fused", "keras_own", "settings"), CASES)
def test_the_fused_update_is_keras_own(fused, keras_own, settings, way):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    expected = weights_after(keras_own(schedule, **settings))
    moved = np.abs(expected[0] - make_variables()[0].numpy())
    assert moved.min() > 1e-4
    assert_close(expected, weights_after(fused(schedule, **settings), graph=way))


@pytest.mark.parametrize(("fused", "keras_own"), [CASES[1][:2], CASES[6][:2]])
def test_weight_decay_is_added_to_the_gradients_of_kernels(fused, keras_own, way):
    expected = weights_after(keras_own(0.1), l2=0.3)
    assert_close(expected, weights_after(fused(0.1, l2=0.3), graph=way))
    biases_too = weights_after(fused(0.1, l2=0.3, decay_biases=True), graph=way)
    assert np.abs(expected[1] - biases_too[1]).min() > 1e-4
    assert_close(expected[:1], biases_too[:1])


def test_clipping_measures_the_gradient_without_the_decay(way):
    variable = keras.Variable(np.full(2, 10, "float32"), name="kernel")
    optimizer = FusedSGD(1.0, global_clipnorm=1.0, l2=0.1)
    optimizer.build([variable])
    step = tf.function(lambda g: optimizer.apply([g], [variable]))
    (step if way else step.python_function)(tf.constant([3.0, 4.0]))
    np.testing.assert_allclose(variable.numpy(), 10 - (np.array([0.6, 0.8]) + 1), rtol=1e-6)


@pytest.mark.parametrize("decay_biases", [False, True])
def test_decoupled_weight_decay_is_that_of_adamw(way, decay_biases):
    """Keras calls ``_apply_weight_decay`` before an update; otherwise it would decay twice."""
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    keras_own = keras.optimizers.AdamW(schedule, weight_decay=0.3, global_clipnorm=1.0)
    if not decay_biases:
        keras_own.exclude_from_weight_decay(var_names=["bias"])
    settings = {"weight_decay": 0.3, "global_clipnorm": 1.0, "decay_biases": decay_biases}
    expected = weights_after(keras_own)
    assert_close(expected, weights_after(FusedAdam(schedule, **settings), graph=way))
    undecayed = weights_after(FusedAdam(schedule, global_clipnorm=1.0))
    changed = [np.abs(a - b).min() > 1e-4 for a, b in zip(expected, undecayed, strict=True)]
    assert changed == [True, decay_biases]


@pytest.mark.parametrize("fused", [FusedSGD, FusedAdam])
def test_a_learning_rate_factor_is_another_learning_rate(fused, way):
    slow, fast = (weights_after(fused(rate, l2=0.1), graph=way) for rate in (0.01, 0.1))
    factors = {make_variables()[0].path: 0.1}
    received = weights_after(fused(0.1, l2=0.1, lr_factors=factors), graph=way)
    assert_close([slow[0], fast[1]], received)
    assert np.abs(slow[0] - fast[0]).min() > 1e-4


@pytest.mark.parametrize("accumulated", [None, 2])
def test_averages_follow_the_weights(way, accumulated):
    variable, rng = keras.Variable(np.ones([3], "float32"), name="kernel"), np.random.default_rng(5)
    optimizer = FusedSGD(0.1, averaging=0.3, gradient_accumulation_steps=accumulated)
    optimizer.build([variable])
    expected, updates = np.ones(3), 0
    step = tf.function(lambda g: optimizer.apply([g], [variable]))
    for number in range(8):
        (step if way else step.python_function)(tf.constant(rng.normal(size=3), tf.float32))
        if not accumulated or number % accumulated == 1:
            momentum = min(0.3, (1 + updates) / (10 + updates))
            expected = momentum * expected + (1 - momentum) * variable.numpy()
            updates += 1
        np.testing.assert_allclose(optimizer.averages[0].numpy(), expected, rtol=1e-5)
    assert 3 / 12 < 0.3 < 4 / 13  # both kinds of momentum occurred
    assert np.abs(expected - variable.numpy()).min() > 1e-4


def test_a_norm_that_is_known_is_used(way):
    variable = keras.Variable(np.zeros(2, "float32"), name="kernel")
    optimizer = FusedSGD(1.0, global_clipnorm=1.0)
    optimizer.build([variable])
    step = tf.function(lambda g, norm: optimizer.apply([g], [variable], norm=norm))
    (step if way else step.python_function)(tf.constant([3.0, 4.0]), tf.constant(10.0))
    np.testing.assert_allclose(variable.numpy(), [-0.3, -0.4], rtol=1e-6)
    optimizer.apply([tf.constant([3.0, 4.0])], [variable])
    np.testing.assert_allclose(variable.numpy(), [-0.9, -1.2], rtol=1e-6)


def test_norms_of_many_pieces(monkeypatch):
    monkeypatch.setattr(fused_optimizers, "_PIECE_SIZE", 5)
    for size in (3, 5, 11, 20):
        values = np.arange(size, dtype="float32").reshape(1, size, 1)
        assert fused_optimizers._sum_of_squares(tf.constant(values)) == np.square(values).sum()
    # 300 ones are 300 in float32; bfloat16 would stop at 256.
    assert fused_optimizers._sum_of_squares(tf.ones([300], tf.bfloat16)) == 300


def test_gradients_cast_from_bfloat16_are_read_before_the_cast(monkeypatch, way):
    seen = set()
    original = FusedSGD._clip_gradients
    monkeypatch.setattr(
        FusedSGD,
        "_clip_gradients",
        lambda self, grads: seen.update(g.dtype for g in grads) or original(self, grads),
    )
    settings = {"momentum": 0.9, "global_clipnorm": 1.0}
    for steps, dtypes in ((None, {tf.bfloat16} if way else {tf.float32}), (2, {tf.float32})):
        settings["gradient_accumulation_steps"] = steps
        expected = weights_after(keras.optimizers.SGD(0.1, **settings), dtype=tf.bfloat16)
        received = weights_after(FusedSGD(0.1, **settings), graph=way, dtype=tf.bfloat16)
        assert_close(expected, received)
        assert seen == dtypes
        seen.clear()


def test_only_large_variables_are_compiled(monkeypatch):
    def operations():
        variables = [keras.Variable(np.ones(n, "float32")) for n in (4, 5)]
        optimizer = FusedSGD(0.1)
        optimizer.build(variables)
        step = tf.function(lambda: optimizer.apply([tf.ones(4), tf.ones(5)], variables))
        graph = step.get_concrete_function().graph
        compiled = [op for op in graph.get_operations() if "_XlaMustCompile" in op.node_def.attr]
        fused = [op for op in graph.get_operations() if op.type == "ResourceApplyKerasMomentum"]
        return len(compiled), len(fused)

    assert operations() == (0, 2)
    monkeypatch.setattr(fused_optimizers, "MIN_COMPILED_SIZE", 5)
    assert operations() == (1, 1)


def test_what_has_no_fused_form_is_refused():
    with pytest.raises(ValueError, match="nesterov=True"):
        FusedSGD(0.1, nesterov=True)
    with pytest.raises(ValueError, match="amsgrad=True"):
        FusedAdam(0.1, amsgrad=True)


def test_settings_are_kept():
    settings = {"l2": 0.2, "decay_biases": True, "lr_factors": {"a": 0.5}, "averaging": 0.9}
    optimizer = FusedAdam.from_config(FusedAdam(0.1, **settings).get_config())
    assert {name: getattr(optimizer, name) for name in settings} == settings


def test_the_momenta_are_kept_where_keras_keeps_them():
    variable = keras.Variable(np.ones(2, "float32"))
    optimizer = FusedSGD(0.5, momentum=0.9)
    optimizer.build([variable])
    optimizer.apply([tf.constant([1.0, 2.0])], [variable])
    np.testing.assert_allclose(optimizer.momentums[0].numpy(), [-0.5, -1.0])
    np.testing.assert_allclose(variable.numpy(), [0.5, 0.0])
    assert int(optimizer.iterations) == 1


# --- what the fused optimizers rely on in Keras --------------------------------------------------


class Spy(keras.optimizers.SGD):
    """Keras' SGD; notes the private methods that Keras calls on it, and with what."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        object.__setattr__(self, "calls", [])

    def _clip_gradients(self, grads):
        self.calls.append(("_clip_gradients", len(grads)))
        return super()._clip_gradients(grads)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        self.calls.append(("_backend_update_step", len(grads)))
        super()._backend_update_step(grads, trainable_variables, (learning_rate, "beside it"))

    def update_step(self, gradient, variable, learning_rate):
        learning_rate, beside = learning_rate
        self.calls.append(("update_step", beside))
        super().update_step(gradient, variable, learning_rate)


@pytest.mark.parametrize("accumulated", [None, 2])
def test_keras_clips_once_then_updates_every_variable_with_what_it_is_handed(accumulated):
    """Otherwise clipping by the global norm would be lost, or be done twice."""
    variables = [keras.Variable(np.ones(2, "float32")) for _ in range(2)]
    optimizer = Spy(0.1, global_clipnorm=1.0, gradient_accumulation_steps=accumulated)
    optimizer.build(variables)
    for _ in range(accumulated or 1):
        optimizer.apply([tf.ones(2), tf.ones(2)], variables)
    assert optimizer.calls == [
        ("_clip_gradients", 2),
        ("_backend_update_step", 2),
        ("update_step", "beside it"),
        ("update_step", "beside it"),
    ]


def test_keras_finds_a_variable_by_its_position_at_build():
    """Otherwise a variable would be updated with the momenta and the decay of another."""
    variables = [keras.Variable(np.ones(n, "float32")) for n in (2, 3, 4)]
    optimizer = keras.optimizers.Adam()
    optimizer.build(variables)
    assert [optimizer._get_variable_index(v) for v in variables] == [0, 1, 2]
    assert [optimizer._get_variable_index(v.value) for v in variables] == [0, 1, 2]


def test_keras_keeps_the_moments_under_these_names():
    """Otherwise the fused updates would not find them, and checkpoints of both not be alike."""
    variables = [keras.Variable(np.ones(n, "float32")) for n in (2, 3)]
    adam, sgd = keras.optimizers.Adam(), keras.optimizers.SGD(momentum=0.9)
    for optimizer, slots in ((adam, ("_momentums", "_velocities")), (sgd, ("momentums",))):
        optimizer.build(variables)
        for name in slots:
            assert [slot.shape for slot in getattr(optimizer, name)] == [(2,), (3,)]
            ids = {id(variable) for variable in optimizer.variables}
            assert ids.issuperset(map(id, getattr(optimizer, name)))


@pytest.mark.parametrize(
    ("fused", "keras_own"), [(FusedSGD, keras.optimizers.SGD), (FusedAdam, keras.optimizers.Adam)]
)
def test_a_run_can_go_on_with_the_other_optimizer(fused, keras_own):
    """A checkpoint of a run on a processor loads on a GPU: the same variables in one order."""

    arguments = {"momentum": 0.9} if fused is FusedSGD else {}
    variables = make_variables()

    def state_of(optimizer):
        optimizer.build(variables)
        return [(v.name, v.shape) for v in optimizer.variables]

    assert state_of(fused(0.1, **arguments)) == state_of(keras_own(0.1, **arguments))
