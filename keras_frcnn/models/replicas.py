"""The replicas of a model: one on each device of each process, under a ``tf.distribute.Strategy``.

Without a strategy there is one replica, and its functions are called as they are.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
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
        is_cluster: whether there are other processes.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None):
        self.strategy = strategy or tf.distribute.get_strategy()
        self.count = self.strategy.num_replicas_in_sync
        self.numbers: tuple[int, ...] = (0,)
        if self.count > 1:
            # In a graph, because TensorFlow warns of replicas that run without one.
            numbers = tf.function(lambda: self.strategy.run(_number_here), autograph=False)()
            self.numbers = tuple(map(int, self._local(numbers)))
        self.is_first = self.numbers[0] == 0
        self.is_cluster = len(self.numbers) < self.count

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

    def own_rows(self, rows: np.ndarray, batch_size: int = 1) -> np.ndarray:
        """Returns the rows of which the replicas of this process take batches in turn.

        On several replicas, the last row is repeated until all of them have as many batches.
        """
        if self.count == 1:
            return rows
        filled = np.pad(rows, (0, -len(rows) % (batch_size * self.count)), mode="edge")
        return filled.reshape(-1, self.count, batch_size)[:, list(self.numbers)].ravel()

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

    def of_first(self, value: int) -> int:
        """Returns an integer of the first process. The call waits for all of them."""
        return self.sum(int(value) if self.is_first else 0)

    def wait(self) -> None:
        """Waits until all processes have come to this call."""
        self.sum(0)

    def sum(self, value: int) -> int:
        """Returns the sum of an integer over all processes. The call waits for all of them."""
        if not self.is_cluster:
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


class Rounds:
    """Runs a step of a model on one batch for each replica at a time, and joins the answers.

    The graph is traced once for all data of one kind, so a ``Rounds`` should be kept.

    Args:
        model: the model, with Keras' ``run_eagerly``, ``jit_compile`` and ``distribute_strategy``.
        step: a function from a batch of inputs to tensors whose first axis is that of the batch.
            On several replicas, all batches must have answers of one size.
    """

    def __init__(self, model: Any, step: Callable[[Any], Any]):
        self._model, self._step, self._traced = model, step, {}

    @functools.cached_property
    def replicas(self) -> Replicas:
        """The replicas of the model."""
        return Replicas(self._model.distribute_strategy)

    def __call__(self, spec: Any, batches: Sequence[Any]) -> Any:
        """Runs the step.

        Args:
            spec: the element spec of the batches.
            batches: a batch for each replica in this process.

        Returns:
            The answers to the batches of all replicas in all processes, in their order.
        """
        if self._model.run_eagerly:
            return self._run(*batches)
        key = repr(spec), self._model.jit_compile
        if key not in self._traced:
            self._traced[key] = tf.function(
                self._run,
                input_signature=[spec] * len(self.replicas.numbers),
                autograph=False,
                jit_compile=self._model.jit_compile,
            )
        return self._traced[key](*batches)

    def _run(self, *batches):
        return self.replicas.gather(self.replicas.run(self._step, [(one,) for one in batches]))


class BuiltModel(keras.Model):
    """A model that is built when it is made, so that ``fit`` on several replicas can take it as it
    is.

    Keras would build it with the first batch, averaged over the replicas. This fails for booleans,
    and for replicas with different numbers of images. ``_maybe_symbolic_build`` is a private name
    of Keras; tests/integration/test_replicas.py fails if it changes.
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if self.distribute_strategy.num_replicas_in_sync > 1 and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)


class MeanOfBatches(keras.metrics.Mean):
    """A mean of numbers that are the same on all replicas, such as the losses of a whole batch.

    Keras would sum them over the replicas, and processes of a cluster could not read it alone.
    """

    def add_variable(self, shape, initializer, dtype=None, aggregation=None, name=None):
        return super().add_variable(shape, initializer, dtype, "only_first_replica", name)


def is_replicated() -> bool:
    """Returns whether the caller is one of several replicas."""
    return tf.distribute.get_strategy().num_replicas_in_sync > 1


def own_share(value: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Returns a mean over this replica's images as its part of the mean over those of all replicas.

    Args:
        value: the mean.
        images: the replica's images [B, ...].
    """
    if not is_replicated():
        return value
    num_images = tf.cast(tf.shape(images)[0], tf.float32)
    return value * (num_images / sum_over_replicas(num_images))


def of_whole_batch(values: dict[str, tf.Tensor], images: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns losses on the images of all replicas, from those on the images of this one."""
    if not is_replicated():
        return values
    share = own_share(tf.ones([]), images)
    return sum_over_replicas({name: value * share for name, value in values.items()})


def summed_for(optimizer: keras.optimizers.Optimizer, gradients: list) -> list:
    """Returns the sums of gradients over all replicas, if the optimizer takes them like this.

    Keras' own optimizers sum them themselves, after clipping.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    is_asked_for = is_replicated() and getattr(optimizer, "takes_sums_over_replicas", False)
    return sum_over_replicas(gradients) if is_asked_for else gradients


def sum_over_replicas(values: Any) -> Any:
    """Returns the sums of tensors over all replicas, which are the same on each of them."""
    return tf.distribute.get_replica_context().all_reduce("SUM", values)
