"""Writes the latest checkpoint of a run, and keeps the ones before it."""

import time
from pathlib import Path

import keras

from keras_frcnn import files
from keras_frcnn.config import Config
from keras_frcnn.training import run_folder
from keras_frcnn.training.callbacks.stop import Stop
from keras_frcnn.training.optimizers import averaged_weights
from keras_frcnn.training.steps import divergence
from keras_frcnn.weights import checkpoint


class Checkpoints(keras.callbacks.Callback):
    """Writes ``last.keras`` as often as ``checkpoint_every`` says, before every evaluation, and
    when the run is stopped.

    The file before it moves to the folder ``earlier``, where the newest ones are kept, as ``keep``
    says. A checkpoint holds the averaged weights, if there are any, and the optimizer's state holds
    those with which the training goes on; ``restore`` exchanges them. Weights that are not finite
    end the run with an error instead; see ``divergence``.

    Args:
        config: the run's settings.
        stop: told how long a checkpoint takes, so that it can end the run in time for one.
    """

    def __init__(self, config: Config, stop: Stop):
        super().__init__()
        self.config, self.stop = config, stop
        self.every_steps, self.every_minutes = config.checkpoint_interval
        self.steps, self.time = 0, time.monotonic()  # steps since the last checkpoint, its time

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        minutes = (time.monotonic() - self.time) / 60
        if 0 < self.every_steps <= self.steps or 0 < self.every_minutes <= minutes:
            self.save()

    def on_epoch_end(self, epoch, logs=None):
        if self.steps:
            self.save()

    def save(self):
        """Writes a checkpoint of the model's present state."""
        started = time.monotonic()
        folder = Path(self.config.output_dir)
        last = folder / run_folder.LAST_CHECKPOINT
        divergence.check_weights(self.model, folder)
        step_before = checkpoint.read_step(last)
        if self.config.keep > 1 and step_before is not None:
            earlier = run_folder.earlier_checkpoint(folder, step_before)
            earlier.parent.mkdir(exist_ok=True)
            files.link_or_copy(last, earlier)
        with averaged_weights(self.model):
            checkpoint.save(self.model, last)
        self._remove_old(folder, int(self.model.step.numpy()))
        self.steps, self.time = 0, time.monotonic()
        self.stop.reserve = self.time - started

    def _remove_old(self, folder, step):
        """Removes checkpoints that are too old, damaged, or of steps that will be taken again."""
        earlier = folder / run_folder.EARLIER_CHECKPOINTS
        before = run_folder.checkpoints(folder, last_step=step - 1)
        before = [path for path in before if path.parent == earlier]
        for path in set(earlier.glob("*")) - set(before[: self.config.keep - 1]):
            path.unlink()
