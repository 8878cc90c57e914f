"""Takes the steps of a run: losses and gradients, a look at them, and only then the update."""

import keras
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.models.replicas import Replicas
from keras_frcnn.training.fused_optimizers import FusedOptimizer, global_norm


class NotFinite(Exception):
    """Raised by a step whose loss or gradients are not finite, before it changes any weight.

    Attributes:
        data: the batch.
        losses: its losses by name, as ``FasterRCNN.compute_losses`` returns them.
        gradients: those of the model's ``trainable_weights``.
    """

    def __init__(self, data, losses, gradients):
        super().__init__()
        self.data, self.losses, self.gradients = data, losses, gradients


class TrainingStep:
    """Takes one step at a time with a compiled model.

    A step equals ``FasterRCNN.train_step`` to the bit. It is made of two graphs, so that between
    them Python can see whether the numbers are finite while no weight has changed.

    Args:
        model: the model, whose optimizer is built.
        config: the run's settings, for messages.
        batch_spec: the element spec of the batches.
    """

    def __init__(self, model: FasterRCNN, config: Config, batch_spec):
        self.model, self.config = model, config
        optimizer = model.optimizer
        self._fused = optimizer if isinstance(optimizer, FusedOptimizer) else None
        # Its gradients are now and then infinite, and it skips these updates by itself.
        self._is_scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        self.replicas = Replicas(model.distribute_strategy)
        self.compute, self._apply = self._compute, self._update
        if not model.run_eagerly:
            options = {"autograph": False, "jit_compile": model.jit_compile}
            specs = [batch_spec] * len(self.replicas.numbers)
            self.compute = tf.function(self._compute, input_signature=specs, **options)
            self._apply = tf.function(self._update, **options)

    def __call__(self, *data) -> dict[str, tf.Tensor]:
        """Takes a step.

        Args:
            *data: the batch, ``(inputs, targets)``; on several replicas, that of each replica in
                this process.

        Returns:
            The running means of the losses.

        Raises:
            NotFinite: If the loss or a gradient is not finite. Nothing has changed then.
            ValueError: If the memory does not suffice. It says for what, and what to lower.
        """
        try:
            losses, gradients, norm, is_finite = self.compute(*data)
            if not self.replicas.first(is_finite):
                raise NotFinite(data[0], *self.replicas.first((losses, gradients)))
            return self._apply(losses, gradients, norm)
        except tf.errors.ResourceExhaustedError as error:
            raise ValueError(self._out_of_memory(data[0])) from error

    def _compute(self, *data):
        return self.replicas.run(self._compute_one, [(batch,) for batch in data])

    def _compute_one(self, data):
        """Returns the losses, the gradients, their global norm, and whether all are finite."""
        losses, gradients = self.model.compute_gradients(data)
        if self._fused:
            gradients = self._fused.before_casts(gradients)
        norm = tf.zeros([]) if self._is_scaled else global_norm(gradients)
        is_finite = tf.math.is_finite(losses["loss"]) & tf.math.is_finite(norm)
        return losses, gradients, norm, is_finite

    def _update(self, losses, gradients, norm):
        """Makes the update, and returns the running means of the losses."""
        knows_norm = self._fused and not self._fused.gradient_accumulation_steps
        options = {"norm": norm} if knows_norm else {}
        if self.replicas.count == 1:
            return self.model.apply_gradients(losses, gradients, **options)

        def apply(gradients, options):
            self.model.optimizer.apply(gradients, self.model.trainable_weights, **options)

        self.replicas.strategy.run(apply, (gradients, options))
        # Not on the replicas, because Keras would sum each of these numbers over them.
        self.model.step.assign_add(1)
        return self.model.update_meters(self.replicas.first(losses))

    def _out_of_memory(self, data):
        inputs, _ = data
        count, height, width, _ = inputs["images"].shape
        sizes = ", ".join(f"{h} x {w}" for h, w in inputs["image_shape"].numpy())
        config, step = self.config, int(self.model.step.numpy()) + 1
        return (
            f"The memory does not suffice for step {step}, a batch of {count} "
            f"images of {sizes} pixels, padded to {height} x {width}. Lower --batch_size (now "
            f"{config.batch_size}; --accumulate_steps can make up for it), or --shorter_side and "
            f"--longer_side (now {config.shorter_side} and {config.longer_side}). "
            "--precision=mixed_bfloat16 and more --frozen_blocks need less memory, too"
        )
