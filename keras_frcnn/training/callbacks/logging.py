"""Logs the losses of a run to the progress bar, TensorBoard and ``metrics.jsonl``."""

import os
import time
from collections.abc import Mapping

import keras
import tensorflow as tf

from keras_frcnn.evaluation.report import scalars
from keras_frcnn.training import run_folder
from keras_frcnn.training.progress import ProgressBar
from keras_frcnn.training.schemes import Phase


class Logger(keras.callbacks.Callback):
    """Logs the mean losses of the last ``log_every`` steps.

    A step that is not finite has no losses; see ``Recovery``.

    Args:
        phase: the phase of the run.
        bar: the run's progress bar. This callback advances it.
    """

    def __init__(self, phase: Phase, bar: ProgressBar):
        super().__init__()
        self.phase, self.config, self.bar = phase, phase.config, bar
        config = phase.config
        events = os.path.join(config.output_dir, run_folder.TRAIN_EVENTS)
        self.writer = tf.summary.create_file_writer(events)
        self.steps_since_log, self.last_log_time = 0, None
        self.logs: Mapping | None = None  # of the last step in the window that was finite

    def on_epoch_begin(self, epoch, logs=None):
        self._start_window()

    def on_train_batch_end(self, batch, logs=None):
        self.steps_since_log += 1
        self.logs = logs or self.logs
        self.bar.advance()
        # The step is taken from the bar, because reading the model's makes Python wait for the GPU.
        if self.bar.step % self.config.log_every == 0:
            self._log(self.bar.step)

    def on_epoch_end(self, epoch, logs=None):
        if self.steps_since_log:
            self._log(self.bar.step)

    def on_train_end(self, logs=None):
        self.writer.flush()

    def _log(self, step):
        if self.logs is None:  # no step was finite, and each has been reported
            return self._start_window()
        losses = {meter.name: float(self.logs[meter.name]) for meter in self.model.metrics}
        seconds = time.perf_counter() - self.last_log_time
        images_per_second = self.steps_since_log * self.config.batch_size / seconds
        self.bar.show(losses, images_per_second)
        values = losses | {
            "learning_rate": float(self.model.optimizer.learning_rate),
            "images_per_second": images_per_second,
        }
        with self.writer.as_default(step=step):
            for name, value in scalars.with_overview(values).items():
                tf.summary.scalar(name, value)
        values |= {"epoch": self.bar.epoch, "minutes_left": self.bar.minutes_left}
        values["time"] = time.time()
        run_folder.append_metrics(self.config.output_dir, step, self.phase.name, values)
        self._start_window()

    def _start_window(self):
        self.model.reset_metrics()
        self.steps_since_log, self.logs, self.last_log_time = 0, None, time.perf_counter()
