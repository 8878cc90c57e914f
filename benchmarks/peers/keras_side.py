"""keras_frcnn's side of the comparison: what ``model.predict`` and ``model.fit`` run."""

import functools
import itertools

import keras
import numpy as np
import tensorflow as tf

import keras_frcnn
from benchmarks import scene
from benchmarks.peers import workload
from keras_frcnn.config import Config
from keras_frcnn.models.build import build_detector
from keras_frcnn.training.optimizers import make_optimizer

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


class Side:
    """One job, ready to be called; see ``benchmarks.peers.worker``."""

    def __init__(self, job: workload.Job):
        tf.config.threading.set_intra_op_parallelism_threads(job.threads)
        self.job = job
        self.versions = {
            "keras_frcnn": keras_frcnn.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        }
        config = Config.from_dict(job.settings).replace(precision=_POLICIES[job.precision])
        class_names = [f"class {number}" for number in range(workload.NUM_CLASSES)]
        self.model = build_detector(config, class_names)
        self._load(workload.weights(job.settings))
        self._images = workload.images(job)
        if job.what == "train_step":
            self.model.compile(make_optimizer(config))
            self.model.optimizer.build(self.model.trainable_variables)
            self.model.make_train_function()
            self._batches = iter(self._stream())
            self.call = self._train_step
        else:
            sizes = itertools.cycle(job.sizes)
            self.call = lambda: self._predict(*next(sizes))

    @functools.lru_cache(maxsize=1)  # noqa: B019 - a side lives as long as its process
    def _batch(self, height, width):
        """Returns inputs and targets of one size."""
        size = height, width
        boxes, labels = workload.objects(self.job, size)
        inputs = {
            "images": tf.constant(self._images[:, :height, :width]),
            "image_shape": tf.constant(np.tile(np.array(size, np.int32), (self.job.batch, 1))),
        }
        targets = {
            "boxes": tf.constant(boxes),
            "labels": tf.constant(labels, tf.int32),
            "ignore": tf.zeros(labels.shape, tf.bool),
        }
        return inputs, targets

    def _stream(self):
        """Returns the batches to train on. Only those of unlike sizes have an unknown size."""
        sizes = self.job.sizes
        first = self._batch(*sizes[0])
        if len(sizes) == 1:
            return tf.data.Dataset.from_tensors(first).repeat()
        spec = tf.nest.map_structure(tf.TensorSpec.from_tensor, first)
        spec[0]["images"] = tf.TensorSpec((self.job.batch, None, None, 3))
        batches = (self._batch(*size) for size in itertools.cycle(sizes))
        return tf.data.Dataset.from_generator(lambda: batches, output_signature=spec)

    def _load(self, weights):
        for layer, (kernel, bias) in zip(layers_with_weights(self.model), weights, strict=True):
            layer.kernel.assign(kernel)
            layer.bias.assign(bias)

    def _predict(self, height, width):
        return self.model.predict_on_batch(self._batch(height, width)[0])

    def _train_step(self):
        logs = self.model.train_function(self._batches)
        return {name: float(value) for name, value in logs.items()}

    def counts(self) -> dict[str, float]:
        """Returns the amounts of work, as ``benchmarks.peers.worker`` describes them."""
        regions = self._count_training() if self.job.what == "train_step" else self._count_test()
        head = self.model.roi_head.box_head
        sizes = [int(np.prod(d.kernel.shape)) for d in [*head.hidden, head.classes, head.boxes]]
        trained = sum(int(np.prod(weight.shape)) for weight in self.model.trainable_weights)
        return {**regions, "head_weights": sum(sizes), "trained_weights": trained}

    def _count_test(self):
        answer = self._predict(*self.job.sizes[0])
        valid = int(np.sum(np.any(answer["proposals"] != 0, axis=-1)))
        detections = int(np.sum(answer["num_detections"]))
        return {"proposals": valid, "regions": valid, "detections": detections}

    def _count_training(self):
        inputs, targets = self._batch(*self.job.sizes[0])
        proposals = self.model.propose(inputs, training=True)
        sampled = self.model.roi_head.proposal_sampler(
            proposals.boxes,
            proposals.valid,
            targets["boxes"],
            targets["labels"],
            tf.constant([0, 0]),
        )
        return {
            "proposals": int(np.sum(proposals.valid)),
            "regions": int(np.sum(sampled["weights"])),
        }

    def outputs(self) -> dict[str, np.ndarray]:
        """Returns the results of a prediction, as ``benchmarks.peers.worker`` describes them."""
        size = self.job.sizes[0]
        (level,), answer = self.model.features(self._batch(*size)[0]), self._predict(*size)
        return {
            "features": tf.cast(level.features, tf.float32).numpy(),
            "objectness": scene.objectness(self.model.rpn.predict([level])).numpy(),
            **{name: answer[name] for name in ("proposals", "boxes", "scores", "labels")},
        }


def layers_with_weights(model) -> list[keras.layers.Layer]:
    """Returns the layers of a detector that have weights, in the order of ``workload.weights``."""
    rpn, head = model.rpn.head, model.roi_head.box_head
    convolutions = [layer for layer in model.backbone.leaf_layers() if layer.weights]
    rpn_layers = [rpn.conv, rpn.objectness, rpn.deltas]
    return [*convolutions, *rpn_layers, *head.hidden, head.classes, head.boxes]
