"""Keras' SGD and Adam with each variable's update in one pass over memory.

Keras composes an update from many elementwise operations, each of which reads and writes the whole
variable. TensorFlow has kernels, for processors and GPUs, that do the same arithmetic at once;
``benchmarks/layers.py`` times both.
"""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("keras_frcnn")
class FusedSGD(keras.optimizers.SGD):
    """``keras.optimizers.SGD`` with momentum, fused. Without momentum it is Keras' own."""

    def update_step(self, gradient, variable, learning_rate):
        if not self.momentum or self.nesterov:
            super().update_step(gradient, variable, learning_rate)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[self._get_variable_index(variable)].value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=tf.cast(self.momentum, variable.dtype),
        )


@keras.saving.register_keras_serializable("keras_frcnn")
class FusedAdam(keras.optimizers.Adam):
    """``keras.optimizers.Adam``, fused."""

    def update_step(self, gradient, variable, learning_rate):
        dtype = variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, dtype), step),
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.cast(self.beta_1, dtype),
            beta2=tf.cast(self.beta_2, dtype),
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )
