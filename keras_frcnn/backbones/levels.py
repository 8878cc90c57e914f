"""Feature levels: the maps that a backbone hands to the rest of the detector."""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureLevel:
    """One feature map of a batch of images.

    It is not a tuple, because Keras refuses arguments of layers that mix tensors and numbers. It
    can be passed to layers by keyword.

    Attributes:
        features: [B, h, w, C], zero outside each image's true rows and columns.
        shape: [B, 2] int32, the true rows and columns of each image's map, at least 1.
        stride: the number of image pixels from one cell to the next.
    """

    features: tf.Tensor
    shape: tf.Tensor
    stride: int

    def frozen(self):
        """Returns the same level without gradient."""
        return dataclasses.replace(self, features=tf.stop_gradient(self.features))

    def __tf_flatten__(self):
        """Splits a level into stride and tensors, so that TensorFlow functions can take levels."""
        return (self.stride,), (self.features, self.shape)

    @classmethod
    def __tf_unflatten__(cls, metadata, components):
        return cls(*components, *metadata)
