"""Feature levels: the maps that a backbone hands to the rest of the detector."""

from typing import NamedTuple

import tensorflow as tf


class FeatureLevel(NamedTuple):
    """One feature map of a batch of images.

    Attributes:
        features: [B, h, w, C], zero outside each image's true rows and columns.
        shape: [B, 2] int32, the true rows and columns of each image's map, at least 1.
        stride: the number of image pixels from one cell to the next.
    """

    features: tf.Tensor
    shape: tf.Tensor
    stride: int
