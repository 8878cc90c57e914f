"""The detector: a backbone, a region proposal network and a second stage, joined and trained."""

import keras
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.config.experiment import FORMAT
from keras_frcnn.models import replicas
from keras_frcnn.models.detect import Detect
from keras_frcnn.models.preprocessing import image_keys, make_inputs, resize_scale, to_original
from keras_frcnn.models.rpn import Proposals
from keras_frcnn.ops import losses

DETECTION_LOSSES = ("rpn_cls_loss", "rpn_box_loss", "roi_cls_loss", "roi_box_loss")
LOSSES = (*DETECTION_LOSSES, "weight_decay_loss", "loss")
COUNTS = ("rpn_foreground", "roi_foreground")
_NO_ARGUMENTS = "format", "config", "origin", "parts"  # of the saved form


@keras.saving.register_keras_serializable("keras_frcnn")
class FasterRCNN(replicas.BuiltModel):
    """Faster R-CNN (Ren et al. 2015): one network that proposes regions and classifies them.

    1. The backbone turns the images into feature levels.
    2. The RPN proposes regions on them.
    3. The RoI head turns the proposals into detections.

    In training, each of the two stages computes its own losses. No gradient flows into
    the coordinates of the proposals: this is what "approximate" joint training means. With
    ``proposal_gradient``, the gradient flows.

    A stage that is not ``trainable`` has no losses and costs nothing: so training can alternate.

    Args:
        backbone: a ``Backbone``.
        rpn: a ``RegionProposalNetwork``.
        roi_head: a ``RoIHead`` for as many classes as there are names.
        class_names: names of the C classes, without background, in the order of the labels.
        rpn_backbone: a second ``Backbone`` for the RPN alone, for unshared training. Default None:
            both stages share one.
        shorter_side, longer_side, resize_rounding, resize_filter: how ``detect`` scales images; see
            ``transforms.resize``. Defaults 600, 1000, "nearest" and "bilinear".
        weight_decay: L2 as Caffe means it, ``weight_decay * w`` in the gradient. Default 5e-4.
        decay_biases: whether biases decay too. Default False.
        bias_lr_factor: how much faster biases learn than other weights. Default 2.
        proposal_gradient: whether the second stage's gradient flows through the coordinates of the
            proposals into the RPN (non-approximate joint training). Default False.
        seed: the seed of the draws for batches whose images have no keys. Default 0.

    Call arguments:
        inputs: dict of ``images`` [B, H, W, 3], normalised as ``backbone.preprocessing`` says and
            zero-padded, and ``image_shape`` [B, 2], their true sizes. Optional: ``original_shape``
            [B, 2], the sizes before resizing, by which ``min_size`` is measured and to which
            ``predict`` scales its answers; ``key`` int32 [B, 2], by which the random draws of an
            image are made in training; ``proposals`` [B, P, 4] in pixels of the network's input
            (boxes without area past the end) with optional ``proposal_scores`` [B, P], which
            replace the RPN's; ``score_threshold``, a scalar that replaces the RoI head's.

    Returns:
        Dict of ``boxes`` [B, K, 4], ``scores`` [B, K], ``labels`` [B, K] (-1 past the end) and
        ``num_detections`` [B], and of the ``proposals`` [B, P, 4] (zero boxes past the end) and
        ``proposal_scores`` [B, P] that they came from. Boxes are in pixels of the network's input.
    """

    def __init__(
        self,
        backbone,
        rpn,
        roi_head,
        class_names,
        *,
        rpn_backbone=None,
        shorter_side=600,
        longer_side=1000,
        resize_rounding="nearest",
        resize_filter="bilinear",
        weight_decay=5e-4,
        decay_biases=False,
        bias_lr_factor=2.0,
        proposal_gradient=False,
        seed=0,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.class_names = tuple(class_names)
        if not self.class_names or len(set(self.class_names)) != len(self.class_names):
            raise ValueError(
                f"class_names must be distinct names, at least one. Received: {self.class_names}"
            )
        if roi_head.num_classes != len(self.class_names):
            raise ValueError(
                f"roi_head must have {len(self.class_names)} classes, as many as class_names. "
                f"Received: {roi_head.num_classes}"
            )
        self.resizing = shorter_side, longer_side, resize_rounding, resize_filter
        self._arguments = {
            "shorter_side": shorter_side,
            "longer_side": longer_side,
            "resize_rounding": resize_rounding,
            "resize_filter": resize_filter,
            "weight_decay": weight_decay,
            "decay_biases": decay_biases,
            "bias_lr_factor": bias_lr_factor,
            "proposal_gradient": proposal_gradient,
            "seed": seed,
        }
        self.config = None  # what build_detector made the model from; None if composed from parts
        self.origin = None  # of an imported detector: its project, model, file, SHA-256, licence
        self.backbone = backbone
        self.rpn = rpn
        self.roi_head = roi_head
        self.rpn_backbone = rpn_backbone
        # Counts the steps of a run. Updates are fewer where gradients are accumulated or a float16
        # step overflows.
        self.step = self.add_weight(
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name="step",
        )
        self._meters = {name: replicas.MeanOfBatches(name=name) for name in LOSSES + COUNTS}
        self._detect = Detect(self)
        self.predict_rounds = replicas.Rounds(self, self.predict_step)
        # All weights are made now, so that loading, saving and counting need no first batch.
        for stage, its_backbone in ((rpn, rpn_backbone or backbone), (roi_head, backbone)):
            if not stage.built:
                stage.build_for(its_backbone)
        self.built = True

    def call(self, inputs, training=False):
        if training:
            raise ValueError(
                "A FasterRCNN cannot be called with training=True: its losses are computed by "
                "model.compute_losses(inputs, targets)"
            )
        levels = self.features(inputs)
        proposals = self.propose(inputs, levels)
        detections = self.roi_head(
            levels=levels,
            proposals=proposals,
            image_shape=inputs["image_shape"],
            score_threshold=inputs.get("score_threshold"),
        )
        return {**detections, "proposals": proposals.boxes, "proposal_scores": proposals.scores}

    def propose(self, inputs, levels=None, training=False, predictions=None):
        """Returns the ``Proposals`` of a batch: those that came with it, or else the RPN's.

        Args:
            inputs: as for a call.
            levels: the feature levels of the backbone, if they have been computed.
            training: whether to give the many proposals that training samples from.
            predictions: the ``RPNPredictions``, if they are there already.
        """
        if "proposals" in inputs:
            return Proposals.of_inputs(inputs)
        if predictions is None:
            predictions = self.rpn.predict(self.rpn_levels(inputs, levels))
        return self.rpn.propose(predictions, inputs["image_shape"], resize_scale(inputs), training)

    def rpn_levels(self, inputs, levels=None):
        """Returns the RPN's feature levels: those of its own backbone if it has one, otherwise the
        shared ones. ``levels`` are the shared ones if they have been computed.
        """
        if self.rpn_backbone is not None:
            return _features(self.rpn_backbone, inputs)
        return self.features(inputs) if levels is None else levels

    def features(self, inputs):
        """Returns the backbone's feature levels; a frozen backbone gives them no gradient."""
        return _features(self.backbone, inputs)

    @property
    def learning_stages(self):
        """The stages that learn: "rpn", "roi" or both."""
        stages = {"rpn": self.rpn, "roi": self.roi_head}
        return tuple(name for name, stage in stages.items() if stage.trainable)

    def compute_losses(self, inputs, targets, training=True):
        """Computes the losses of the stages that learn on a batch.

        Args:
            inputs: as for a call.
            targets: dict of ``boxes`` [B, G, 4] in pixels of the network's input, ``labels`` [B, G]
                (-1: padding) and ``ignore`` [B, G] bool.
            training: whether dropout is on.

        Returns:
            Dict of float32 scalars: ``LOSSES``, and ``COUNTS``, the mean number of objects among an
            image's samples. It has no values of a stage that does not learn. ``loss`` is NaN if an
            image or box is not finite.
        """
        keys = image_keys(inputs, self.step if training else 0, self._arguments["seed"])
        stages, values = self.learning_stages, {}
        levels = self.features(inputs) if "roi" in stages or self.rpn_backbone is None else None
        predictions = None
        if "rpn" in stages or "proposals" not in inputs:
            predictions = self.rpn.predict(self.rpn_levels(inputs, levels))
        if "rpn" in stages:
            values |= self.rpn.compute_losses(predictions, inputs["image_shape"], targets, keys)
        if "roi" in stages:
            proposals = self.propose(inputs, levels, training=True, predictions=predictions)
            if not self._arguments["proposal_gradient"]:
                proposals = proposals._replace(boxes=tf.stop_gradient(proposals.boxes))
            values |= self.roi_head.compute_losses(levels, proposals, targets, keys, training)
        values["weight_decay_loss"] = losses.weight_decay_loss(
            self.decayed_weights(), self._arguments["weight_decay"]
        )
        loss = tf.add_n([values[name] for name in LOSSES if name in values])
        objects = targets["boxes"], targets["labels"]
        values["loss"] = losses.nan_if_inputs_are(loss, inputs["images"], *objects)
        return values

    def train_step(self, data):
        """Makes one update of the weights that learn, and returns the running means of the losses.

        Args:
            data: ``(inputs, targets)`` as for ``compute_losses``.
        """
        return self.apply_gradients(*self.compute_gradients(data))

    def compute_gradients(self, data):
        """Returns the losses of the batch of all replicas, and gradients for the optimizer."""
        inputs, targets = data
        with tf.GradientTape() as tape:
            values = self.compute_losses(inputs, targets)
            loss = values["loss"]
            if getattr(self.optimizer, "l2", 0.0):  # the optimizer adds the gradient of the decay
                loss = tf.add_n([values[name] for name in DETECTION_LOSSES if name in values])
            loss = self.optimizer.scale_loss(replicas.own_share(loss, inputs["images"]))
        weights = self.trainable_weights
        gradients = tape.gradient(loss, weights)
        factor = self._arguments["bias_lr_factor"]
        gradients = [
            gradient * factor if is_bias(weight) else gradient
            for gradient, weight in zip(gradients, weights, strict=True)
        ]
        gradients = replicas.summed_for(self.optimizer, gradients)
        return replicas.of_whole_batch(values, inputs["images"]), gradients

    def apply_gradients(self, values, gradients, **options):
        """Makes the update, with ``options`` for ``optimizer.apply``; returns the running means."""
        self.optimizer.apply(gradients, self.trainable_weights, **options)
        self.step.assign_add(1)
        return self.update_meters(values)

    def test_step(self, data):
        """Returns the losses of a batch, without dropout and on a fixed draw of samples."""
        values = self.compute_losses(*data, training=False)
        return self.update_meters(replicas.of_whole_batch(values, data[0]["images"]))

    @property
    def metrics(self):
        absent = tuple(stage for stage in ("rpn", "roi") if stage not in self.learning_stages)
        return [meter for name, meter in self._meters.items() if not name.startswith(absent)]

    def update_meters(self, values):
        """Adds the losses of a batch to the running means, and returns these."""
        for meter in self.metrics:
            meter.update_state(values[meter.name])
        return {meter.name: meter.result() for meter in self.metrics}

    def decayed_weights(self):
        """Returns the trainable weights that decay."""
        decay_biases = self._arguments["decay_biases"]
        return [w for w in self.trainable_weights if decay_biases or not is_bias(w)]

    def compile(self, optimizer="sgd", *, jit_compile=False, **kwargs):
        """Compiles as ``keras.Model.compile`` does, but uses XLA only with ``jit_compile=True``.

        XLA then compiles ``fit``, ``evaluate`` and ``predict`` once for each shape of a batch.

        Raises:
            ValueError: if XLA is asked for but cannot be used; Keras would only warn.
        """
        if not isinstance(jit_compile, bool):
            raise ValueError(
                f"jit_compile must be a bool: XLA is not chosen for you. Received: {jit_compile!r}"
            )
        count = self.distribute_strategy.num_replicas_in_sync
        if jit_compile and count > 1:
            raise ValueError(
                f"jit_compile=True needs one device, not several. Received: {count} replicas"
            )
        self.rpn.use_xla(jit_compile)
        self.roi_head.use_xla(jit_compile)
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)
        if self.jit_compile != jit_compile:
            raise ValueError(
                "jit_compile=True cannot be combined with run_eagerly=True, deterministic "
                "operations or an Apple GPU"
            )

    def get_compile_config(self):
        """Returns None: a run makes its optimizer from its settings, and inference needs none."""

    def predict_step(self, data):
        """Returns detections and proposals of a batch, in pixels of the original images."""
        inputs = data[0] if isinstance(data, tuple) else data
        return {
            name: to_original(value, inputs) if name in ("boxes", "proposals") else value
            for name, value in self(inputs).items()
        }

    def propose_step(self, inputs, training=False):
        """Returns the RPN's proposals of a batch, without running the second stage.

        Args:
            inputs: as for a call, without ``proposals``.
            training: whether to give the many proposals that training samples from.

        Returns:
            ``Proposals``, in pixels of the original images.
        """
        proposals = self.propose(inputs, training=training)
        return proposals._replace(boxes=to_original(proposals.boxes, inputs))

    def detect_batch(self, images, score_threshold=None):
        """Detects on images of one size, from pixels to pixels, as the SavedModel serves it.

        Args:
            images: [B, H, W, 3] uint8, RGB.
            score_threshold: see ``detect``.

        Returns:
            The result of a call, in pixels of ``images``.

        Raises:
            ValueError: if the model needs proposals that new images lack.
        """
        if self.config is not None:
            self.config.check_detects()
        inputs = self.make_inputs(images)
        if score_threshold is not None:
            inputs["score_threshold"] = score_threshold
        return self.predict_step(inputs)

    def make_inputs(self, images):
        """Returns the inputs of a call for images of one size, [B, H, W, 3] uint8, RGB."""
        return make_inputs(images, self.backbone.preprocessing, *self.resizing)

    def detect(self, images, score_threshold=None):
        """Detects objects on one image, or on several images of any sizes.

        Args:
            images: one image: a file name, an image of Pillow, or a uint8 RGB array [H, W, 3]; or a
                list of them; or one array [B, H, W, 3].
            score_threshold: only detections with a score above this are returned. Default: the
                model's own, 0.05 unless it was built with another.

        Returns:
            ``ImageDetections`` for one image, otherwise a ``DetectionBatch``: the sequence of them,
            which also gives the padded arrays of all images by name. Boxes are in yxyx pixels of
            each image.

        Raises:
            ValueError: naming a file that cannot be read, an array of another shape or type, or a
                weight that is not finite.
        """
        return self._detect(images, score_threshold)

    def __dir__(self):
        # Keras names stored weights after the first attribute that leads to them. Without "layers"
        # that is "rpn" or "roi_head", not the name of a class, which may be a subclass.
        return [name for name in super().__dir__() if name != "layers"]

    def get_config(self):
        parts = {
            name: getattr(self, name) and keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("backbone", "rpn", "roi_head", "rpn_backbone")
        }
        config = {"format": FORMAT, "class_names": list(self.class_names), "origin": self.origin}
        if self.config is not None:
            config["config"] = self.config.to_dict()
        return {**config, "parts": parts, **self._arguments, "name": self.name}

    @classmethod
    def from_config(cls, config):
        arguments = {k: v for k, v in config.items() if k not in _NO_ARGUMENTS}
        parts = {
            name: part and keras.saving.deserialize_keras_object(part)
            for name, part in config["parts"].items()
        }
        model = cls(**parts, **arguments)
        model.config = Config.from_dict(config["config"]) if "config" in config else None
        model.origin = config.get("origin")
        return model


def is_bias(weight):
    """Returns whether a weight is a bias, which learns faster and mostly does not decay."""
    return weight.path.endswith("bias")


def _features(backbone, inputs):
    """Returns a backbone's feature levels, without gradient if none of its layers is trained."""
    levels = backbone(inputs["images"], inputs["image_shape"])
    return levels if backbone.trainable_weights else [level.frozen() for level in levels]
