"""Writes the graph of a training step for TensorBoard."""

import os

import keras
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.models.replicas import Replicas
from keras_frcnn.training import run_folder


class Graph(keras.callbacks.Callback):
    """Writes the graph of a training step once, before the first step of a run.

    Args:
        config: the run's settings; ``output_dir`` is read.
        batch_spec: the element spec of the training data set.
    """

    def __init__(self, config: Config, batch_spec):
        super().__init__()
        self.folder = os.path.join(config.output_dir, run_folder.TRAIN_EVENTS)
        self.batch_spec = batch_spec

    def on_train_begin(self, logs=None):
        if int(self.model.step.numpy()) == 0:
            # Keras traces the step without AutoGraph, whose conversions would take seconds.
            replicas = Replicas(self.model.distribute_strategy)

            @tf.function(autograph=False)
            def step(*batches):
                return replicas.run(self.model.train_step, [(batch,) for batch in batches])

            step = step.get_concrete_function(*[self.batch_spec] * len(replicas.numbers))
            # All processes of a cluster must trace the same graphs, but only one writes.
            if not replicas.is_first:
                return
            with tf.summary.create_file_writer(self.folder).as_default(step=0):
                tf.summary.graph(step.graph)
