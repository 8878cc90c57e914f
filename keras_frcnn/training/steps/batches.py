"""The training batches of a phase, divided among the replicas of its model."""

from keras_frcnn.data import pipeline
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.images.decoding import naming_images
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.models.replicas import Replicas
from keras_frcnn.training.schemes import Phase


class Batches:
    """Yields the batches of the steps of a phase, a tuple for each step.

    The tuple has a batch ``(inputs, targets)`` for each replica in this process. The order of the
    images is the run's own, and the batches of all replicas together are that of the step.

    Args:
        model: the model of the phase.
        phase: the phase of the run.
        dataset: the training split.
        first_step: number of steps of the run before the first batch.
        steps: number of batches that will be taken; None if that is not known.

    Attributes:
        spec: the element spec of a batch.
    """

    def __init__(
        self,
        model: FasterRCNN,
        phase: Phase,
        dataset: Dataset,
        first_step: int = 0,
        steps: int | None = None,
    ):
        self.dataset, self._config = dataset, phase.config
        self._preprocessing = model.backbone.preprocessing
        self._replicas = Replicas(model.distribute_strategy)
        stream = self._stream(first_step, steps, self._replicas.count, self._replicas.numbers)
        self.spec, self._stream_iterator = stream.element_spec, iter(stream)

    def __iter__(self):
        return self

    def __next__(self):
        with naming_images():
            return tuple(next(self._stream_iterator) for _ in self._replicas.numbers)

    def undivided(self, step: int):
        """Returns the batch of a step as it would be on one device.

        Args:
            step: number of steps of the run before it.
        """
        return next(iter(self._stream(step, 1)))

    def _stream(self, *arguments):
        return pipeline.train_dataset(self.dataset, self._config, self._preprocessing, *arguments)
