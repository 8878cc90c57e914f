"""TensorFlow operations that may fail, in a graph: a failure gives a value instead of an error."""

from collections.abc import Callable

import tensorflow as tf


def or_else(
    function: Callable[..., tf.Tensor],
    arguments: tuple[tf.Tensor, ...],
    otherwise: tf.Tensor,
    log_warning: bool = False,
) -> tf.Tensor:
    """Calls a function of tensors. If an operation in it fails, the result is another value.

    Args:
        function: returns one tensor.
        arguments: its arguments.
        otherwise: the value for a failure, of the same type and rank.
        log_warning: whether TensorFlow logs the error.

    Returns:
        The function's result, or ``otherwise``.
    """
    stream = tf.data.Dataset.from_tensors(arguments).map(function)
    stream = stream.ignore_errors(log_warning=log_warning)
    stream = stream.concatenate(tf.data.Dataset.from_tensors(otherwise)).take(1)
    return stream.get_single_element()
