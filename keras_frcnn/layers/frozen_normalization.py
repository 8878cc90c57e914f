"""Batch normalisation with statistics that are never trained."""

import keras


@keras.saving.register_keras_serializable("keras_frcnn")
class FrozenNormalization(keras.layers.BatchNormalization):
    """Batch normalisation whose statistics, scales and offsets are never trained.

    A detector's batch holds too few images for statistics of its own.
    """

    trainable = property(lambda self: False, lambda self, value: None)

    def build(self, input_shape):
        super().build(input_shape)
        for weight in self.weights:
            weight.trainable = False
