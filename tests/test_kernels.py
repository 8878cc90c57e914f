"""On a GPU nothing falls back to the processor unawares: which operations have no kernel there.

TensorFlow's wheel for Linux registers its GPU kernels on machines without a GPU too, so the list is
known everywhere. Only ``tensorflow-cpu`` and other systems lack them.
"""

import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels  # the registry has no public name

from keras_frcnn.training.optimizers import make_optimizer
from tests import fakes

ON_THE_PROCESSOR = {
    # It reads a few hundred boxes and scores. The kernel that GPUs have takes one class after the
    # other, ``nms._survivors`` pays under XLA only.
    "CombinedNonMaxSuppression",
    # Of whole numbers, for huge images only: others are resized as float32, where they are.
    "ResizeBilinear",
}

OBJECTS = [[([5, 5, 30, 40], 0), ([20, 41, 60, 90], 2, True)], [([3, 4, 34, 30], 3)]]


def on_gpu(operation):
    """The kernels of an operation that may run on a GPU; those of DEFAULT run on any device."""
    registered = kernels.get_registered_kernels_for_op(operation).kernel
    return [kernel for kernel in registered if kernel.device_type in ("GPU", "DEFAULT")]


if not any(kernel.device_type == "GPU" for kernel in on_gpu("Conv2D")):
    pytest.skip("this build of TensorFlow has no GPU kernels to look up", allow_module_level=True)


def fits(kernel, node):
    """Whether a kernel takes the types of a node."""
    for constraint in kernel.constraint:
        attr = node.attr[constraint.name]
        wanted = attr.list.type or [attr.type]
        if not set(wanted) <= set(constraint.allowed_values.list.type):
            return False
    return True


def without_gpu_kernel(function, *args):
    """Nodes that no GPU kernel fits, of all that a function traces, bodies of loops too."""
    graph = tf.function(function).get_concrete_function(*args).graph.as_graph_def()
    nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
    known = {operation: on_gpu(operation) for operation in {node.op for node in nodes}}
    return [node for node in nodes if not any(fits(kernel, node) for kernel in known[node.op])]


def test_what_has_no_kernel_is_found_in_the_bodies_of_loops_too():
    def powers(limit):
        def body(x):
            return tf.cond(x > 3, lambda: x**2, lambda: x + 1)

        return tf.while_loop(lambda x: x < limit, body, [limit - 9])

    assert {node.op for node in without_gpu_kernel(powers, tf.constant(9))} == {"Pow"}
    assert without_gpu_kernel(powers, tf.constant(9.0)) == []


@pytest.fixture
def beside_a_gpu(monkeypatch):
    """Makes models as on a machine with a GPU."""
    for name in ("list_physical_devices", "list_logical_devices"):
        monkeypatch.setattr(tf.config, name, lambda kind="GPU": [kind])


@pytest.mark.parametrize(
    ("precision", "roi_pooling", "optimizer"),
    [
        ("float32", "max", "sgd"),
        ("mixed_bfloat16", "max", "adam"),
        ("mixed_bfloat16", "align", "adamw"),
    ],
)
def test_every_operation_has_a_gpu_kernel_or_its_place(
    beside_a_gpu, precision, roi_pooling, optimizer
):
    model = fakes.detector(
        precision=precision, roi_pooling=roi_pooling, optimizer=optimizer, head_dropout=0.5
    )
    model.compile(make_optimizer(model.config))
    model.optimizer.build(model.trainable_variables)
    images = [fakes.image(64, 96), fakes.image(50, 37)]
    batch = fakes.inputs_of(images), fakes.targets_of(OBJECTS)
    assert {node.op for node in without_gpu_kernel(model.train_step, batch)} == set()

    # The way from pixels to detections, which exported models have too.
    pixels = tf.TensorSpec([None, None, None, 3], tf.uint8)
    nodes = without_gpu_kernel(model.detect_batch, pixels)
    assert {node.op for node in nodes} == ON_THE_PROCESSOR
    assert all("CPU:0" in node.device for node in nodes)
