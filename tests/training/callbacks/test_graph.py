"""The graph of a training step, as TensorBoard reads it."""

import io

import numpy as np
import tensorflow as tf

from keras_frcnn.console import Console
from keras_frcnn.training.callbacks.graph import Graph
from keras_frcnn.training.phase_model import build_phase_model
from keras_frcnn.training.schemes import phases
from tests import fakes
from tests.training.events import read_events


def test_the_graph_of_a_step_is_written_once_a_run(config, tmp_path):
    settings = config.replace(output_dir=str(tmp_path))
    (phase,) = phases(settings)
    model = build_phase_model(phase, fakes.CLASS_NAMES, Console(file=io.StringIO()))
    inputs = fakes.inputs_of([fakes.image(64, 96)])
    targets = fakes.targets_of([[([5, 5, 30, 40], 0)]])
    spec = tf.nest.map_structure(tf.TensorSpec.from_tensor, (inputs, targets))
    before = [w.numpy() for w in model.weights + model.optimizer.variables]
    callback = Graph(settings, spec)
    callback.set_model(model)
    callback.on_train_begin()
    for weight, value in zip(model.weights + model.optimizer.variables, before, strict=True):
        np.testing.assert_array_equal(weight, value)  # the step was not taken
    written = read_events(tmp_path / "train")
    assert written.Tags()["graph"]
    graph = written.Graph()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    operations = {node.op for node in nodes}
    assert {"Conv2DBackpropFilter", "UnsortedSegmentSum"} <= operations
    files = len(list((tmp_path / "train").iterdir()))
    model.step.assign(1)
    callback.on_train_begin()
    assert len(list((tmp_path / "train").iterdir())) == files
