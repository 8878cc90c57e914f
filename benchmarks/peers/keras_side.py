"""keras_frcnn's detector at the same work: what ``model.predict`` and ``model.fit`` run."""

import keras
import numpy as np
import tensorflow as tf

import keras_frcnn
from benchmarks.peers import work
from keras_frcnn.config import Config
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training.optimizers import make_optimizer

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


class Side:
    """One job, ready to be called; see ``benchmarks.peers.worker``."""

    def __init__(self, job: work.Job):
        tf.config.threading.set_intra_op_parallelism_threads(job.threads)
        self.job = job
        self.versions = {
            "keras_frcnn": keras_frcnn.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        }
        config = Config.from_dict(job.settings).replace(precision=_POLICIES[job.precision])
        class_names = [f"class {number}" for number in range(work.NUM_CLASSES)]
        self.model = FasterRCNN(config, class_names)
        self._load(work.weights(job.settings))
        image_shape = np.tile(np.array(job.size, np.int32), (job.batch, 1))
        boxes, labels = work.objects(job)
        self.inputs = {
            "images": tf.constant(work.images(job)),
            "image_shape": tf.constant(image_shape),
        }
        self.targets = {
            "boxes": tf.constant(boxes),
            "labels": tf.constant(labels, tf.int32),
            "ignore": tf.zeros(labels.shape, tf.bool),
        }
        if job.what == "train_step":
            self.model.compile(make_optimizer(config))
            self.model.optimizer.build(self.model.trainable_variables)
            self.model.make_train_function()
            data = tf.data.Dataset.from_tensors((self.inputs, self.targets)).repeat()
            self._batches = iter(data)
            self.call = self._train_step
        else:
            self.call = self._predict

    def _layers(self):
        """Layers with weights in the order of ``work.weights``."""
        rpn, head = self.model.rpn_head, self.model.box_head
        convolutions = [layer for layer in self.model.backbone.stack if layer.weights]
        rpn_layers = [rpn.conv, rpn.objectness, rpn.deltas]
        return [*convolutions, *rpn_layers, *head.hidden, head.classes, head.boxes]

    def _load(self, weights):
        for layer, (kernel, bias) in zip(self._layers(), weights, strict=True):
            layer.kernel.assign(kernel)
            layer.bias.assign(bias)

    def _predict(self):
        return self.model.predict_on_batch(self.inputs)

    def _train_step(self):
        logs = self.model.train_function(self._batches)
        return {name: float(value) for name, value in logs.items()}

    def counts(self) -> dict[str, float]:
        """What there is to do, as ``benchmarks.peers.worker`` says."""
        regions = self._count_training() if self.job.what == "train_step" else self._count_test()
        head = self.model.box_head
        sizes = [int(np.prod(d.kernel.shape)) for d in [*head.hidden, head.classes, head.boxes]]
        trained = sum(int(np.prod(weight.shape)) for weight in self.model.trainable_weights)
        return {**regions, "head_weights": sum(sizes), "trained_weights": trained}

    def _count_test(self):
        answer = self._predict()
        valid = int(np.sum(np.any(answer["proposals"] != 0, axis=-1)))
        detections = int(np.sum(answer["num_detections"]))
        return {"proposals": valid, "regions": valid, "detections": detections}

    def _count_training(self):
        model, targets = self.model, self.targets
        shared = model.shared(self.inputs)
        proposals, _, valid = model.propose(model.train_proposal_generator, shared, self.inputs)
        sampled = model.proposal_sampler(
            proposals, valid, targets["boxes"], targets["labels"], tf.constant([0, 0])
        )
        return {
            "proposals": int(np.sum(valid)),
            "regions": int(np.sum(sampled["weights"])),
        }

    def outputs(self) -> dict[str, np.ndarray]:
        """What a prediction gives on its way, as ``benchmarks.peers.worker`` says."""
        shared, answer = self.model.shared(self.inputs), self._predict()
        logits = shared["objectness_logits"]
        return {
            "features": tf.cast(shared["features"], tf.float32).numpy(),
            "objectness": (logits[..., 1] - logits[..., 0]).numpy(),
            **{name: answer[name] for name in ("proposals", "boxes", "scores", "labels")},
        }
