"""The detector: all parts joined, trained in one step or stage by stage."""

import keras
import tensorflow as tf

from keras_frcnn.config import Config
from keras_frcnn.models import build
from keras_frcnn.models.preprocessing import make_inputs, read_images
from keras_frcnn.models.stage_losses import COUNTS, LOSSES, all_losses, present
from keras_frcnn.models.train_step import is_bias, take_step


@keras.saving.register_keras_serializable("keras_frcnn")
class FasterRCNN(keras.Model):
    """Faster R-CNN (Ren et al. 2015): one network that proposes regions and classifies them.

    The way of a batch: backbone -> RPN head and anchors -> [anchor targets -> RPN losses] ->
    proposals -> [sampled regions and their targets] -> RoI pooling -> box head -> [head losses] or
    detections; what stands in brackets is training only. No gradient flows into the proposals'
    coordinates: this is what "approximate" joint training means; under
    ``scheme="non_approximate"`` it does. Under ``scheme="unshared"`` the RPN stands on convolutions
    of its own, ``rpn_backbone``; else that is None.

    Args:
        config: the settings of the model, its targets and losses.
        class_names: names of the C classes, without background, in the order of the labels.

    Call arguments:
        inputs: dict of ``images`` [B, H, W, 3] (normalised, zero padding) and ``image_shape`` [B,
            2]; optional ``original_shape`` [B, 2], the sizes before resizing, by which ``min_size``
            is measured and to which ``predict`` scales its answers; optional ``proposals``
            [B, P, 4] in pixels of the network's input (boxes without area past the end) and
            ``proposal_scores`` [B, P], the second stage's regions instead of the RPN's.

    Returns:
        Dict of ``boxes`` [B, K, 4], ``scores`` [B, K], ``labels`` [B, K] (-1 past the end),
        ``num_detections`` [B], and what they came from, ``proposals`` [B, P, 4] (zero boxes past
        the end) and ``proposal_scores`` [B, P]. Boxes are in pixels of the network's input.
    """

    def __init__(self, config: Config, class_names, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config.validate()
        self.class_names = tuple(class_names)
        if not self.class_names or len(set(self.class_names)) != len(self.class_names):
            raise ValueError(
                f"class_names must be distinct names, at least one. Received: {self.class_names}"
            )
        self.backbone = build.backbone(config)
        self.anchor_generator = build.anchor_generator(config, self.backbone.stride)
        num_anchors = self.anchor_generator.num_anchors
        self.rpn_head = build.rpn_head(config, num_anchors, self.backbone.rpn_channels)
        # On others' proposals the second stage learns alone: Fast R-CNN.
        self.rpn_head.trainable = config.train_proposals == "rpn"
        self.anchor_target_assigner = build.anchor_target_assigner(config)
        self.train_proposal_generator = build.proposal_generator(config, training=True)
        self.test_proposal_generator = build.proposal_generator(config, training=False)
        self.proposal_sampler = build.proposal_sampler(config)
        self.roi_pooling = build.roi_pooling(config, self.backbone.stride)
        self.box_head = build.box_head(config, len(self.class_names), self.backbone)
        self.detection_decoder = build.detection_decoder(config)
        self.rpn_backbone = None
        if config.scheme == "unshared":
            with keras.name_scope("rpn_backbone"):
                self.rpn_backbone = build.backbone(config)
        # The run's clock: steps, not updates, which are fewer where gradients are accumulated or a
        # float16 step overflows.
        self.step = self.add_weight(
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name="step",
        )
        self._meters = {name: keras.metrics.Mean(name=name) for name in LOSSES + COUNTS}
        self._detect_function = None
        self._build_parts()

    def _build_parts(self):
        """Makes every weight now, so that loading, saving and counting need no first batch."""
        self.rpn_head.build((None, None, None, self.backbone.channels))
        size = self.config.pool_size
        self.box_head.build((None, None, size, size, self.backbone.channels))
        for layer in self.layers:
            if not layer.built:
                layer.build(None)
        self.built = True

    # --- the way

    def call(self, inputs, training=False):
        if training:
            raise ValueError(
                "FasterRCNN(inputs, training=True) has no answer: what training computes are "
                "losses, by model.compute_losses(inputs, targets, seed)"
            )
        shared = self.shared(inputs, rpn="proposals" not in inputs)
        proposals, proposal_scores, valid = self.propose(
            self.test_proposal_generator, shared, inputs
        )
        class_logits, box_deltas = self.head(shared, proposals)
        detections = self.detection_decoder(
            proposals, valid, class_logits, box_deltas, inputs["image_shape"]
        )
        return {**detections, "proposals": proposals, "proposal_scores": proposal_scores}

    def shared(self, inputs, rpn=True, features=True):
        """Computes what both stages stand on: the convolutions, the RPN head, the anchors.

        Args:
            inputs: as for a call.
            rpn: whether the RPN's half is wanted.
            features: whether the second stage's is.

        Returns:
            Dict of ``features`` [B, h, w, C], which the second stage pools; ``objectness_logits``
            [B, N, 2], ``deltas`` [B, N, 4], ``anchors`` [N, 4] and ``anchor_valid`` [B, N], the
            RPN's; and ``feature_shape`` [B, 2] of both.
        """
        shared = {}
        if features or self.rpn_backbone is None:
            shared["features"], shared["feature_shape"] = self._features(self.backbone, inputs)
        if rpn:
            of_rpn = shared.get("features")
            if self.rpn_backbone is not None:
                of_rpn, shared["feature_shape"] = self._features(self.rpn_backbone, inputs)
            shared |= self._rpn(of_rpn, shared["feature_shape"])
        return shared

    def _features(self, backbone, inputs):
        """A backbone's maps of a batch, and their true shapes; frozen, they have no gradient."""
        image_shape, images = tf.cast(inputs["image_shape"], tf.int32), inputs["images"]
        missing = tf.maximum(backbone.stride - tf.shape(images)[1:3], 0)  # at least one cell
        images = tf.pad(images, [[0, 0], [0, missing[0]], [0, missing[1]], [0, 0]])
        features, feature_shape = backbone(images, image_shape)
        return features if backbone.trainable_weights else tf.stop_gradient(features), feature_shape

    def _rpn(self, features, feature_shape):
        """The RPN head's answers, and the anchors that they are about."""
        objectness_logits, deltas = self.rpn_head(features)
        num_anchors = self.anchor_generator.num_anchors
        return {
            "objectness_logits": objectness_logits,
            "deltas": deltas,
            "anchors": self.anchor_generator(features),
            "anchor_valid": build.anchor_valid(features, feature_shape, num_anchors),
        }

    def propose(self, generator, shared, inputs):
        """Proposals, their scores and validity: those that came with the inputs, or else the RPN's,
        from what ``shared`` gives.
        """
        if "proposals" in inputs:
            return build.given_proposals(inputs)
        scale = None
        if "original_shape" in inputs:
            scale = tf.cast(inputs["image_shape"], tf.float32) / tf.cast(
                inputs["original_shape"], tf.float32
            )
        return generator(
            shared["objectness_logits"],
            shared["deltas"],
            shared["anchors"],
            inputs["image_shape"],
            shared["anchor_valid"],
            scale,
        )

    def head(self, shared, rois, seed=None):
        """Class logits and box deltas of regions; ``seed`` switches dropout on."""
        pooled = self.roi_pooling(shared["features"], rois, shared["feature_shape"])
        return self.box_head(pooled, seed)

    # --- training

    def compile(self, optimizer="sgd", *, jit_compile=False, **kwargs):
        """As ``keras.Model.compile``, but XLA is used only where it is asked for.

        With ``jit_compile=True`` it compiles ``fit``, ``evaluate`` and ``predict``, once for each
        size of a batch; ``detect`` and exported models stay without it.

        Raises:
            ValueError: where XLA is wanted and cannot be had; Keras alone would only warn.
        """
        build.set_jit_compile(self, jit_compile)
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)
        if self.jit_compile != jit_compile:
            raise ValueError(
                "jit_compile=True does not go with run_eagerly=True, deterministic operations or "
                "an Apple GPU"
            )

    def get_compile_config(self):
        """None: a run makes its optimizer from its settings, and a model in use needs none."""

    @property
    def learning_stages(self):
        """Which stages learn, "rpn", "roi" or both: those whose head is trainable."""
        heads = {"rpn": self.rpn_head, "roi": self.box_head}
        return tuple(stage for stage, head in heads.items() if head.trainable)

    def compute_losses(self, inputs, targets, seed, training=True):
        """All losses of a batch: see ``all_losses``."""
        return all_losses(self, inputs, targets, seed, training)

    def train_step(self, data):
        """One step of training on ``(inputs, targets)``; returns the running means."""
        return self._update_meters(take_step(self, *data))

    def test_step(self, data):
        """The losses of a batch, without dropout, on a fixed draw of samples."""
        return self._update_meters(
            self.compute_losses(*data, seed=tf.zeros([2], tf.int32), training=False)
        )

    def predict_step(self, data):
        """Detections and proposals of a batch, in pixels of the original images."""
        inputs = data[0] if isinstance(data, tuple) else data
        answer = self(inputs)
        for name in ("boxes", "proposals"):
            answer[name] = build.to_original(answer[name], inputs)
        return answer

    def propose_step(self, inputs, training=False):
        """The RPN's proposals of a batch, in pixels of the original images; the detector does not
        run.

        Args:
            inputs: as for a call, without ``proposals``.
            training: whether to give the many that training samples from, or those of test.

        Returns:
            ``(proposals [B, P, 4], scores [B, P], valid [B, P])``, best first.
        """
        generator = self.train_proposal_generator if training else self.test_proposal_generator
        shared = self.shared(inputs, features=False)
        proposals, scores, valid = self.propose(generator, shared, inputs)
        return build.to_original(proposals, inputs), scores, valid

    @property
    def metrics(self):
        return [self._meters[name] for name in present(self._meters, self.learning_stages)]

    def _update_meters(self, values):
        for meter in self.metrics:
            meter.update_state(values[meter.name])
        return {meter.name: meter.result() for meter in self.metrics}

    def decayed_weights(self):
        return [w for w in self.trainable_weights if self.config.decay_biases or not is_bias(w)]

    # --- use

    def detect_batch(self, images):
        """Detects on images of one size: the whole way from pixels to pixels, as the SavedModel
        serves it.

        Args:
            images: [B, H, W, 3] uint8, RGB.

        Returns:
            As a call, in pixels of ``images``.
        """
        return self.predict_step(make_inputs(images, self.config))

    def detect(self, images):
        """Detects objects on images of any sizes.

        Args:
            images: list of file names and/or uint8 RGB arrays [H, W, 3], or one array [B, H, W, 3].

        Returns:
            Dict of NumPy arrays: ``boxes`` [B, K, 4] in yxyx pixels of each image, ``scores`` [B,
            K], ``labels`` [B, K] (-1 past the end) and ``num_detections`` [B].

        Raises:
            ValueError: naming a file that cannot be read or an array of another form.
        """
        arrays = read_images(images)
        if self._detect_function is None:
            self._detect_function = tf.function(
                self.detect_batch, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)]
            )
        answers = [self._detect_function(array[tf.newaxis]) for array in arrays]
        names = ("boxes", "scores", "labels", "num_detections")
        return {
            name: tf.concat([answer[name] for answer in answers], axis=0).numpy() for name in names
        }

    def get_config(self):
        return {"config": self.config.to_dict(), "class_names": list(self.class_names)}

    @classmethod
    def from_config(cls, config):
        return cls(Config.from_dict(config["config"]), config["class_names"])
