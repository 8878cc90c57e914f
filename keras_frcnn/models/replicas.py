"""The replicas of a model: one on each device of each process, under a ``tf.distribute.Strategy``.

Without a strategy there is one replica, and its functions are called as they are.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


class Replicas:
    """Runs functions on all replicas of a model, and merges what they return.

    All processes of a cluster must call the same methods in the same order.

    Args:
        strategy: the strategy under which the model was made: ``model.distribute_strategy``. It
            must give every process all of its devices, as ``MirroredStrategy`` and
            ``MultiWorkerMirroredStrategy`` do.

    Attributes:
        count: the number of replicas in all processes.
        numbers: the numbers, below ``count``, of the replicas in this process.
        is_first: whether this process is the first one. It alone writes files.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None):
        self.strategy = strategy or tf.distribute.get_strategy()
        self.count = self.strategy.num_replicas_in_sync
        self.numbers: tuple[int, ...] = (0,)
        if self.count > 1:
            self.numbers = tuple(map(int, self._local(self.strategy.run(_number_here))))
        self.is_first = self.numbers[0] == 0

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple]) -> Any:
        """Calls a function on each replica of this process.

        Args:
            function: the function.
            arguments: the arguments of each call, in the order of ``numbers``.

        Returns:
            What the function returns, with a value for every replica in place of each tensor;
            ``first`` and ``gather`` read it.
        """
        if self.count == 1:
            return function(*arguments[0])

        def call():
            number = int(tf.get_static_value(_number_here()))
            return function(*arguments[self.numbers.index(number)])

        return self.strategy.run(call)

    def first(self, values: Any) -> Any:
        """Returns what the first replica of this process has returned to ``run``."""
        return tf.nest.map_structure(lambda value: self._local(value)[0], values)

    def gather(self, values: Any) -> Any:
        """Joins the tensors of all replicas along their first axis, in the replicas' order.

        All processes receive the same tensors.
        """
        if self.count == 1:
            return values
        return tf.nest.map_structure(lambda value: self.strategy.gather(value, axis=0), values)

    def any(self, flag: bool) -> bool:
        """Returns whether a flag is set in any process. The call waits for all of them."""
        return self._sum(int(flag)) > 0

    def of_first(self, value: int) -> int:
        """Returns an integer of the first process. The call waits for all of them."""
        return self._sum(int(value) if self.is_first else 0)

    def wait(self) -> None:
        """Waits until all processes have come to this call."""
        self._sum(0)

    def _sum(self, value):
        """Returns the sum of an integer over all processes."""
        if len(self.numbers) == self.count:
            return value
        return int(self._sum_in_graph(tf.constant(value, tf.int32))) // len(self.numbers)

    @functools.cached_property
    def _sum_in_graph(self):
        @tf.function(autograph=False)
        def summed(value):
            return self.strategy.reduce("SUM", self.strategy.run(lambda: value + 0), axis=None)

        return summed

    def _local(self, value):
        return self.strategy.experimental_local_results(value)


def _number_here():
    """Returns the number of the replica that calls this."""
    return tf.distribute.get_replica_context().replica_id_in_sync_group


def is_replicated() -> bool:
    """Returns whether the caller is one of several replicas."""
    return tf.distribute.get_strategy().num_replicas_in_sync > 1


def share_of_batch(images: tf.Tensor) -> tf.Tensor:
    """Returns the part of the images of all replicas that this replica has, a float32 scalar.

    Args:
        images: the replica's images [B, ...].
    """
    num_images = tf.cast(tf.shape(images)[0], tf.float32)
    return num_images / sum_over_replicas(num_images)


def sum_over_replicas(values: Any) -> Any:
    """Returns the sums of tensors over all replicas, which are the same on each of them."""
    return tf.distribute.get_replica_context().all_reduce("SUM", values)
