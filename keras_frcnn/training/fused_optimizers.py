"""SGD and Adam that update a variable in a single pass over memory.

Keras' optimizers build an update from many elementwise operations: casting the gradient from
bfloat16, weight decay, clipping and the momenta. Each operation reads and writes the whole
variable. VGG16's box head has 120 million weights, so on a CPU these passes cost more than the
arithmetic. Here one operation does all of it. docs/performance.md lists the measured times.

The classes rely on private names of Keras' optimizers: ``_get_variable_index``,
``_clip_gradients``, ``_apply_weight_decay``, ``_backend_update_step``, and Adam's ``_momentums``
and ``_velocities``. For each of them a test in tests/training/test_fused_optimizers.py shows what
breaks if it changes.
"""

import contextvars

import keras
import tensorflow as tf

from keras_frcnn.models.replicas import is_replicated

# On a CPU, variables with at least this many weights are updated by a function that XLA compiles.
# Nothing else reads a bfloat16 gradient, the weight and its momenta in one pass. For smaller
# variables this gains nothing, and compiling takes a fifth of a second for every shape.
MIN_COMPILED_SIZE = 2**20

_PIECE_SIZE = 2**20
# The norm that ``apply`` was given. Replicas are traced in threads, so it is kept for each thread.
_KNOWN_NORM = contextvars.ContextVar("known_norm", default=None)


class FusedOptimizer:
    """Mixin of both optimizers: the dtype of the gradients, clipping, weight decay, learning rates
    of groups, and moving averages of the weights.

    A subclass must list it before the Keras optimizer. Keras' ``weight_decay`` (AdamW) is part of
    the same pass. On several replicas, each of them must apply the sums of all their gradients,
    which ``FasterRCNN.train_step`` makes; clipping is then by the norm of these sums.

    Args:
        l2: weight decay as in Caffe: ``l2 * weight`` is added to the gradient after clipping.
            If it is above 0, ``FasterRCNN.train_step`` leaves weight decay out of the loss.
            Default 0.
        decay_biases: whether weight decay of either kind applies to biases too. Default False.
        lr_factors: factors of the learning rate by the path of a variable. Default: none.
        averaging: momentum m of a moving average of the weights, which starts at their first
            values; in update t it is min(m, (1 + t) / (10 + t)), so that a short run has averages
            of its own. Keras' own moving averages (``use_ema``) are not used, because Keras puts
            them in the place of the weights at the end of every ``fit``. Default 0: no average.
    """

    takes_sums_over_replicas = True

    def __init__(self, *args, l2=0.0, decay_biases=False, lr_factors=None, averaging=0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.l2 = l2
        self.decay_biases = decay_biases
        self.lr_factors = dict(lr_factors or {})
        self.averaging = averaging
        self.averages = []

    def build(self, variables):
        super().build(variables)
        self._decays = [self.decay_biases or not v.path.endswith("bias") for v in variables]
        self._lr_factors = [self.lr_factors.get(v.path, 1.0) for v in variables]
        if self.averaging:
            self.averages = self.add_optimizer_variables(variables, "average")
            for average, variable in zip(self.averages, variables, strict=True):
                average.assign(variable)

    def apply(self, grads, trainable_variables=None, norm=None):
        """Makes an update.

        Args:
            grads: the gradients, a list.
            trainable_variables: their variables; by default all.
            norm: the global norm of the gradients, if it is known. Only if none are accumulated.
        """
        token = _KNOWN_NORM.set(norm)
        try:
            super().apply(self.before_casts(grads), trainable_variables)
        finally:
            _KNOWN_NORM.reset(token)

    def before_casts(self, grads):
        """Returns gradients in the type in which they were computed, if the update allows it.

        It then reads half as much memory. Sums over replicas and accumulated steps need float32.
        """
        if is_replicated() or self.gradient_accumulation_steps:
            return grads
        return [_before_cast(gradient) for gradient in grads]

    def _clip_gradients(self, grads):
        """Does not clip by the global norm, because ``update_step`` does."""
        return grads if self.global_clipnorm else super()._clip_gradients(grads)

    def _apply_weight_decay(self, variables):
        """Does nothing, because ``update_step`` applies Keras' weight decay."""

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        """Passes the clip factor to ``update_step`` together with the learning rate.

        Each replica updates its own copy of the variables: Keras would sum the gradients again.
        """
        factor = self._clip_factor(grads) if self.global_clipnorm else None
        if not is_replicated():
            return super()._backend_update_step(grads, trainable_variables, (learning_rate, factor))
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            self.update_step(gradient, variable.value, (learning_rate, factor))

    def _backend_increment_gradient_accumulators(self, grads, acc_grads):
        if not is_replicated():
            return super()._backend_increment_gradient_accumulators(grads, acc_grads)
        for gradient, accumulator in zip(grads, acc_grads, strict=True):
            accumulator.assign(accumulator + gradient)

    def _clip_factor(self, grads):
        """Returns the factor that clips the gradients by their global norm."""
        norm = _KNOWN_NORM.get()
        norm = global_norm(grads) if norm is None else norm
        return self.global_clipnorm / tf.maximum(norm, self.global_clipnorm)

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable.

        Args:
            gradient: its gradient.
            variable: the variable.
            learning_rate: ``(learning rate, clip factor)``, from ``_backend_update_step``.
        """
        learning_rate, clip_factor = learning_rate
        index = self._get_variable_index(variable)
        if self._lr_factors[index] != 1:
            learning_rate *= self._lr_factors[index]
        l2, weight_decay = (self.l2, self.weight_decay) if self._decays[index] else (0.0, None)
        settings, slots = self._settings(learning_rate), self._slots(index)
        new_share = self._new_share() if self.averaging else None

        def step(update, gradient, clip_factor, settings, new_share):
            gradient = tf.cast(gradient, variable.dtype)
            if clip_factor is not None:
                gradient *= clip_factor
            if l2:
                gradient += l2 * variable
            if weight_decay:
                variable.assign_sub(settings["lr"] * weight_decay * variable)
            update(gradient, variable, slots, settings)
            if new_share is not None:
                average = self.averages[index].value
                average.assign_add(new_share * (variable - average))

        @tf.function(jit_compile=True, autograph=False)
        def compiled_step(*args):
            step(self._update, *args)

        if _is_compiled(variable):
            compiled_step(gradient, clip_factor, settings, new_share)
        else:
            step(self._update_by_kernel, gradient, clip_factor, settings, new_share)

    def _new_share(self):
        """Returns the share of the new weights in the moving averages."""
        updates = tf.cast(self.iterations, tf.float32)
        return 1.0 - tf.minimum(self.averaging, (1.0 + updates) / (10.0 + updates))

    def get_config(self):
        names = ("l2", "decay_biases", "lr_factors", "averaging")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("keras_frcnn")
class FusedSGD(FusedOptimizer, keras.optimizers.SGD):
    """``keras.optimizers.SGD`` with a fused update; Nesterov momentum is not supported."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.nesterov:
            raise ValueError("FusedSGD has no Nesterov momentum. Received: nesterov=True")

    def build(self, variables):
        super().build(variables)
        if not self.momentum:  # Keras creates slots only for a momentum above 0.
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
class FusedAdam(FusedOptimizer, keras.optimizers.Adam):
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


def global_norm(gradients):
    """Returns the Euclidean norm of all numbers of some gradients, a float32 scalar."""
    return tf.sqrt(tf.add_n([_sum_of_squares(gradient) for gradient in gradients]))


def _sum_of_squares(gradient):
    """Sums the squares of a gradient in float32, in pieces that fit into the CPU's cache."""
    size = gradient.shape.num_elements()
    sizes = [_PIECE_SIZE] * (size // _PIECE_SIZE) + [size % _PIECE_SIZE]
    pieces = tf.split(tf.reshape(gradient, [size]), sizes)
    return 2.0 * tf.add_n([tf.nn.l2_loss(tf.cast(piece, tf.float32)) for piece in pieces])


def _is_compiled(variable):
    """Whether the update of a variable is compiled: only large variables on a CPU, in a graph."""
    return (
        not tf.executing_eagerly()
        and not is_replicated()
        and variable.shape.num_elements() >= MIN_COMPILED_SIZE
        and "CPU" in variable.device
    )


def _before_cast(gradient):
    """Returns the bfloat16 tensor from which mixed precision cast a gradient, if there is one."""
    if tf.is_symbolic_tensor(gradient) and gradient.op.type == "Cast":
        source = gradient.op.inputs[0]
        if source.dtype == tf.bfloat16:
            return source
    return gradient
