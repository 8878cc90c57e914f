"""Logs the losses of a run to the progress bar and TensorBoard."""

import os
import time

import keras
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.evaluation.report import scalars
from keras_frcnn.training import divergence, run_folder
from keras_frcnn.training.progress import ProgressBar


class Logger(keras.callbacks.Callback):
    """Logs the mean losses of the last ``log_every`` steps.

    A loss that is not finite ends the run with an error; see ``divergence``.

    Args:
        config: the run's settings; ``log_every``, ``batch_size`` and ``output_dir`` are read.
        bar: the run's progress bar. This callback advances it.
    """

    def __init__(self, config: Config, bar: ProgressBar):
        super().__init__()
        self.config, self.bar = config, bar
        events = os.path.join(config.output_dir, run_folder.TRAIN_EVENTS)
        self.writer = tf.summary.create_file_writer(events)
        self.steps_since_log, self.last_log_time = 0, None

    def on_epoch_begin(self, epoch, logs=None):
        self._start_window()

    def on_train_batch_end(self, batch, logs=None):
        self.steps_since_log += 1
        self.bar.advance()
        # The step is taken from the bar, because reading the model's makes Python wait for the GPU.
        if self.bar.step % self.config.log_every == 0:
            self._log(self.bar.step, logs)

    def on_epoch_end(self, epoch, logs=None):
        if self.steps_since_log:
            self._log(self.bar.step, logs)

    def on_train_end(self, logs=None):
        self.writer.flush()

    def _log(self, step, logs):
        losses = {meter.name: float(logs[meter.name]) for meter in self.model.metrics}
        first_step = step - self.steps_since_log + 1
        divergence.check_losses(losses, first_step, step, self.config.output_dir)
        seconds = time.perf_counter() - self.last_log_time
        images_per_second = self.steps_since_log * self.config.batch_size / seconds
        self.bar.show(losses, images_per_second)
        with self.writer.as_default(step=step):
            for name, value in scalars.with_overview(losses).items():
                tf.summary.scalar(name, value)
            tf.summary.scalar("learning_rate", self.model.optimizer.learning_rate)
            tf.summary.scalar("images_per_second", images_per_second)
        self._start_window()

    def _start_window(self):
        self.model.reset_metrics()
        self.steps_since_log, self.last_log_time = 0, time.perf_counter()
