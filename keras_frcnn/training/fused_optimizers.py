"""Keras' SGD and Adam with the whole update of a variable in one pass over memory.

Keras composes an update of many elementwise operations, each of which reads and writes the whole
variable: the cast of the gradient from bfloat16, weight decay, clipping, the momenta. VGG16's box
head has 120 million weights, so on a processor these passes cost more than the arithmetic. Here
weight decay and clipping are part of the update. docs/performance.md has the measured times.

The classes rely on four private names of Keras' optimizers: ``_get_variable_index``,
``_clip_gradients``, ``_backend_update_step`` and Adam's ``_momentums`` and ``_velocities``. For
each of them a test in tests/training/test_fused_optimizers.py says what breaks if it changes.
"""

import keras
import tensorflow as tf

# On a processor, variables with at least this many weights are updated by a function that XLA
# compiles: the only way to read a bfloat16 gradient, the weight and its momenta in one pass. For
# smaller variables that gains nothing, and every shape costs a fifth of a second of compilation.
MIN_COMPILED_SIZE = 2**20

_PIECE_SIZE = 2**20


class _FusedOptimizer:
    """What both optimizers share: the dtype of the gradients, clipping and weight decay.

    It stands before a Keras optimizer in the list of base classes.

    Args:
        l2: weight decay as in Caffe: ``l2 * weight`` is added to the gradient after clipping.
            ``FasterRCNN.train_step`` leaves the decay out of the loss if this is above 0. Default
            0.
        decay_biases: whether biases decay too. Default False.
    """

    def __init__(self, *args, l2=0.0, decay_biases=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.l2 = l2
        self.decay_biases = decay_biases

    def build(self, variables):
        super().build(variables)
        self._decays = [self.decay_biases or not v.path.endswith("bias") for v in variables]

    def apply(self, grads, trainable_variables=None):
        # Sums over replicas and over accumulated steps need float32.
        if _is_single_replica() and not self.gradient_accumulation_steps:
            grads = [_before_cast(gradient) for gradient in grads]
        super().apply(grads, trainable_variables)

    def _clip_gradients(self, grads):
        """Leaves clipping by the global norm to ``update_step``."""
        return grads if self.global_clipnorm else super()._clip_gradients(grads)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        """Hands the factor by which to clip to ``update_step``, beside the learning rate."""
        factor = self._clip_factor(grads) if self.global_clipnorm else None
        super()._backend_update_step(grads, trainable_variables, (learning_rate, factor))

    def _clip_factor(self, grads):
        """Returns what the gradients must be multiplied by, of all replicas together."""
        if not _is_single_replica():
            grads = tf.distribute.get_replica_context().all_reduce("SUM", grads)
        norm = tf.sqrt(tf.add_n([_sum_of_squares(gradient) for gradient in grads]))
        return self.global_clipnorm / tf.maximum(norm, self.global_clipnorm)

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable.

        Args:
            gradient: its gradient.
            variable: the variable.
            learning_rate: ``(learning rate, clip factor)``, see ``_backend_update_step``.
        """
        learning_rate, clip_factor = learning_rate
        index = self._get_variable_index(variable)
        l2 = self.l2 if self._decays[index] else 0.0
        settings, slots = self._settings(learning_rate), self._slots(index)

        def clip_and_decay(gradient, clip_factor):
            gradient = tf.cast(gradient, variable.dtype)
            if clip_factor is not None:
                gradient *= clip_factor
            return gradient + l2 * variable if l2 else gradient

        @tf.function(jit_compile=True, autograph=False)
        def compiled_update(gradient, clip_factor, settings):
            self._update(clip_and_decay(gradient, clip_factor), variable, slots, settings)

        if _is_compiled(variable):
            compiled_update(gradient, clip_factor, settings)
        else:
            self._update_by_kernel(clip_and_decay(gradient, clip_factor), variable, slots, settings)

    def get_config(self):
        return {**super().get_config(), "l2": self.l2, "decay_biases": self.decay_biases}


@keras.saving.register_keras_serializable("keras_frcnn")
class FusedSGD(_FusedOptimizer, keras.optimizers.SGD):
    """``keras.optimizers.SGD`` with a fused update; Nesterov momentum is not supported."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.nesterov:
            raise ValueError("FusedSGD has no Nesterov momentum. Received: nesterov=True")

    def build(self, variables):
        super().build(variables)
        if not self.momentum:  # Keras makes slots only for a momentum above 0.
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def _settings(self, learning_rate):
        return {"lr": tf.cast(learning_rate, tf.float32), "momentum": tf.constant(self.momentum)}

    def _slots(self, index):
        return (self.momentums[index].value,)

    @staticmethod
    def _update_by_kernel(gradient, variable, slots, settings):
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle, accum=slots[0].handle, grad=gradient, **settings
        )

    @staticmethod
    def _update(gradient, variable, slots, settings):
        (momentum,) = slots
        momentum.assign(settings["momentum"] * momentum - settings["lr"] * gradient)
        variable.assign_add(momentum)


@keras.saving.register_keras_serializable("keras_frcnn")
class FusedAdam(_FusedOptimizer, keras.optimizers.Adam):
    """``keras.optimizers.Adam`` with a fused update; AMSGrad is not supported."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.amsgrad:
            raise ValueError("FusedAdam is not AMSGrad. Received: amsgrad=True")

    def _settings(self, learning_rate):
        step = tf.cast(self.iterations + 1, tf.float32)
        return {
            "lr": tf.cast(learning_rate, tf.float32),
            "beta1": tf.constant(self.beta_1),
            "beta2": tf.constant(self.beta_2),
            "beta1_power": tf.pow(self.beta_1, step),
            "beta2_power": tf.pow(self.beta_2, step),
            "epsilon": tf.constant(self.epsilon),
        }

    def _slots(self, index):
        return self._momentums[index].value, self._velocities[index].value

    @staticmethod
    def _update_by_kernel(gradient, variable, slots, settings):
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle, m=slots[0].handle, v=slots[1].handle, grad=gradient, **settings
        )

    @staticmethod
    def _update(gradient, variable, slots, settings):
        m, v = slots
        correction = tf.sqrt(1 - settings["beta2_power"]) / (1 - settings["beta1_power"])
        m.assign_add((gradient - m) * (1 - settings["beta1"]))
        v.assign_add((tf.square(gradient) - v) * (1 - settings["beta2"]))
        variable.assign_sub(settings["lr"] * correction * m / (tf.sqrt(v) + settings["epsilon"]))


def _sum_of_squares(gradient):
    """Sums the squares of a gradient in float32, in pieces that stay in the processor's cache."""
    size = gradient.shape.num_elements()
    sizes = [_PIECE_SIZE] * (size // _PIECE_SIZE) + [size % _PIECE_SIZE]
    pieces = tf.split(tf.reshape(gradient, [size]), sizes)
    return 2.0 * tf.add_n([tf.nn.l2_loss(tf.cast(piece, tf.float32)) for piece in pieces])


def _is_single_replica():
    return tf.distribute.get_strategy().num_replicas_in_sync == 1


def _is_compiled(variable):
    """Whether the update of a variable is worth compiling: large, in a graph, on a processor."""
    return (
        not tf.executing_eagerly()
        and _is_single_replica()
        and variable.shape.num_elements() >= MIN_COMPILED_SIZE
        and "CPU" in variable.device
    )


def _before_cast(gradient):
    """Returns the bfloat16 tensor that mixed precision cast to this float32 gradient, if there is
    one, so that the update reads half as much memory.
    """
    if tf.is_symbolic_tensor(gradient) and gradient.op.type == "Cast":
        source = gradient.op.inputs[0]
        if source.dtype == tf.bfloat16:
            return source
    return gradient
