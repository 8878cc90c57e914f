"""Records a profile of some training steps for TensorBoard."""

import os

import keras
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.training import run_folder


class Profiler(keras.callbacks.Callback):
    """Profiles the steps given by ``profile_steps``.

    Args:
        config: the run's settings; ``profile_steps`` and ``output_dir`` are read.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.first_step, self.last_step = config.profile_steps
        self.folder = os.path.join(config.output_dir, run_folder.TRAIN_EVENTS)
        self.step = 0
        self.is_recording = False

    def on_train_begin(self, logs=None):
        # Read only once, because reading the model's step makes Python wait for the GPU.
        self.step = int(self.model.step.numpy())

    def on_train_batch_begin(self, batch, logs=None):
        if self.step == self.first_step:
            tf.profiler.experimental.start(self.folder)
            self.is_recording = True

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self.step == self.last_step:
            self._stop()

    def on_train_end(self, logs=None):
        self._stop()  # The run may end before the last step to profile.

    def _stop(self):
        if self.is_recording:
            tf.profiler.experimental.stop()
            self.is_recording = False
