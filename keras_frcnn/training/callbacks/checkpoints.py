"""Writes the latest checkpoint of a run."""

from pathlib import Path

import keras

from keras_frcnn.config import Config
from keras_frcnn.training import divergence, run_folder
from keras_frcnn.weights import checkpoint


class Checkpoints(keras.callbacks.Callback):
    """Writes ``last.keras`` at the end of every interval and when the run is stopped.

    Weights that are not finite end the run with an error instead; see ``divergence``.

    Args:
        config: the run's settings; ``output_dir`` is read.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.path = Path(config.output_dir) / run_folder.LAST_CHECKPOINT

    def on_epoch_end(self, epoch, logs=None):
        divergence.check_weights(self.model, self.path.parent)
        checkpoint.save(self.model, self.path)
