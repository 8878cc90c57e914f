"""Keras' SGD and Adam with each variable's whole update in one pass over memory.

Keras composes an update from many elementwise operations, each of which reads and writes the whole
variable: the gradient's cast from bfloat16, weight decay, clipping, the momenta. The head of VGG16
has 120 million weights, so these passes cost more than its arithmetic. Here weight decay and
clipping belong to the update and all of it happens at once. docs/performance.md has the figures.
"""

import keras
import tensorflow as tf

# Variables of so many weights and more are updated by a function that XLA compiles on the
# processor, the only way to read a bfloat16 gradient, the weight and its momenta in one pass. For
# smaller ones it gains nothing, and each shape costs a fifth of a second of compilation.
COMPILED_FROM = 2**20

_PIECE = 2**20


class _OnePass:
    """What both optimizers share: which gradients they read, clipping, weight decay.

    Reads Keras' private index of a variable and replaces its private clipping; tests pin both.

    Args:
        l2: weight decay as Caffe means it: ``l2 * weight`` is added to the gradient, after
            clipping. ``FasterRCNN.train_step`` leaves out of the gradient what is added here.
            Default 0.
        decay_biases: whether biases decay too. Default False.
    """

    def __init__(self, *args, l2=0.0, decay_biases=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.l2 = l2
        self.decay_biases = decay_biases
        self._clip_factor = 1.0

    def build(self, variables):
        super().build(variables)
        self._decays = [self.decay_biases or not v.path.endswith("bias") for v in variables]

    def apply(self, grads, trainable_variables=None):
        # Replicas and accumulators add gradients up, which wants float32.
        if _is_single_replica() and not self.gradient_accumulation_steps:
            grads = [_before_cast(gradient) for gradient in grads]
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        l2 = self.l2 if self._decays[index] else 0.0
        settings, slots = self._settings(learning_rate), self._slots(index)

        def whole(gradient, clip_factor):
            gradient = tf.cast(gradient, variable.dtype)
            if self.global_clipnorm:
                gradient *= clip_factor
            return gradient + l2 * variable if l2 else gradient

        @tf.function(jit_compile=True, autograph=False)
        def compiled(gradient, clip_factor, settings):
            self._update(whole(gradient, clip_factor), variable, slots, settings)

        if _is_compiled(variable):
            compiled(gradient, self._clip_factor, settings)
        else:
            self._update_fused(whole(gradient, self._clip_factor), variable, slots, settings)

    def _clip_gradients(self, grads):
        """Leaves clipping by the global norm to ``update_step``."""
        if not self.global_clipnorm:
            return super()._clip_gradients(grads)
        norm = tf.sqrt(tf.add_n([_sum_of_squares(gradient) for gradient in grads]))
        self._clip_factor = self.global_clipnorm / tf.maximum(norm, self.global_clipnorm)
        return grads

    def get_config(self):
        return {**super().get_config(), "l2": self.l2, "decay_biases": self.decay_biases}


@keras.saving.register_keras_serializable("keras_frcnn")
class FusedSGD(_OnePass, keras.optimizers.SGD):
    """``keras.optimizers.SGD``, fused; not with Nesterov's momentum."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.nesterov:
            raise ValueError("FusedSGD has no Nesterov momentum. Received: nesterov=True")

    def build(self, variables):
        super().build(variables)
        if not self.momentum:  # Keras makes slots only for a momentum above 0
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def _settings(self, learning_rate):
        return {"lr": tf.cast(learning_rate, tf.float32), "momentum": tf.constant(self.momentum)}

    def _slots(self, index):
        return (self.momentums[index].value,)

    @staticmethod
    def _update_fused(gradient, variable, slots, settings):
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle, accum=slots[0].handle, grad=gradient, **settings
        )

    @staticmethod
    def _update(gradient, variable, slots, settings):
        (momentum,) = slots
        momentum.assign(settings["momentum"] * momentum - settings["lr"] * gradient)
        variable.assign_add(momentum)


@keras.saving.register_keras_serializable("keras_frcnn")
class FusedAdam(_OnePass, keras.optimizers.Adam):
    """``keras.optimizers.Adam``, fused; not as AMSGrad."""

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
    def _update_fused(gradient, variable, slots, settings):
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
    """In float32, by pieces that stay in the processor's cache between the cast and the sum."""
    size = gradient.shape.num_elements()
    pieces = [_PIECE] * (size // _PIECE) + [size % _PIECE]
    pieces = tf.split(tf.reshape(gradient, [size]), pieces)
    return 2.0 * tf.add_n([tf.nn.l2_loss(tf.cast(piece, tf.float32)) for piece in pieces])


def _is_single_replica():
    return tf.distribute.get_strategy().num_replicas_in_sync == 1


def _is_compiled(variable):
    """Whether a variable's update is worth compiling: in a graph, on the processor."""
    return (
        not tf.executing_eagerly()
        and _is_single_replica()
        and variable.shape.num_elements() >= COMPILED_FROM
        and "CPU" in variable.device
    )


def _before_cast(gradient):
    """The bfloat16 gradient of a float32 weight, before mixed precision's cast copied it whole."""
    if tf.is_symbolic_tensor(gradient) and gradient.op.type == "Cast":
        source = gradient.op.inputs[0]
        if source.dtype == tf.bfloat16:
            return source
    return gradient
