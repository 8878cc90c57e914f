"""Each layer except the backbone's, alone, on inputs such as a detector gives them.

Proposals are made of random boxes and of clustered ones. A trained RPN's boxes crowd on the
objects, which makes far more work for the suppression.
"""

from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from benchmarks import flops, scene, timing
from benchmarks.cases import Case
from benchmarks.results import Result, timed_rows
from keras_frcnn.models import build
from keras_frcnn.ops import boxes as box_ops
from keras_frcnn.ops import sampling

_STRIDE, _CHANNELS = 16, 512
# Everything that the two stages need from a backbone.
_BACKBONE = SimpleNamespace(
    strides=(_STRIDE,),
    channels=(_CHANNELS,),
    rpn_channels=_CHANNELS,
    num_roi_levels=1,
    make_head=lambda: None,
)
_SIDES = (30.0, 300.0)  # of random regions, pixels
_NUM_OBJECTS = 10
_FORWARD, _GRADIENT = "forward", "forward + gradient"


def run(case: Case) -> Result:
    """Times all layers in turn."""
    made = _inputs(case)
    functions, gflop = {}, {}
    for name, function, *count in (
        *_anchor_layers(made),
        *_proposal_layers(made),
        *_region_layers(made),
        *_heads(made),
    ):
        functions[name] = function
        if count:
            gflop[name] = count[0]
    timings = timing.interleaved(functions, case.calls)
    rows, columns = made.features.shape[1:3]
    return Result(
        timed_rows(timings, gflop), {"features": f"{case.batch}x{rows}x{columns}x{_CHANNELS}"}
    )


def _inputs(case):
    """Makes the two stages, and random inputs of all layers."""
    rng = np.random.default_rng(0)
    config = scene.make_config(case)
    dtype = build.dtype_policy(config).compute_dtype
    rpn, roi_head = build.build_rpn(config), build.build_roi_head(config, len(scene.CLASS_NAMES))
    rpn.build_for(_BACKBONE)
    roi_head.build_for(_BACKBONE)
    rows, columns = (-(-side // _STRIDE) for side in case.size)
    features = tf.cast(rng.normal(size=(case.batch, rows, columns, _CHANNELS)), dtype)
    gt_boxes = _random_boxes(rng, case, _NUM_OBJECTS)
    gt_labels = rng.integers(len(scene.CLASS_NAMES), size=gt_boxes.shape[:2])
    return SimpleNamespace(
        rng=rng,
        case=case,
        config=config,
        rpn=rpn,
        roi_head=roi_head,
        features=tf.nn.relu(features),
        anchors=rpn.anchor_generators[0](features),
        image_shape=tf.constant([case.size] * case.batch, tf.int32),
        gt_boxes=gt_boxes,
        gt_labels=tf.constant(gt_labels, tf.int32),
        keys=sampling.image_keys(tf.constant([1, 2]), case.batch),
    )


def _anchor_layers(made):
    yield "AnchorGenerator", timing.blocking(made.rpn.anchor_generators[0], made.features)
    arguments = made.anchors, made.gt_boxes, made.gt_labels, made.image_shape, made.keys
    yield "AnchorTargetAssigner", timing.blocking(made.rpn.target_assigner, *arguments)


def _proposal_layers(made):
    for name, predictions in (("random", _random_rpn(made)), ("clustered", _clustered_rpn(made))):
        for layer in (made.rpn.train_generator, made.rpn.test_generator):
            yield (
                f"ProposalGenerator {layer.pre_nms_top_k} -> {layer.post_nms_top_k}, {name}",
                timing.blocking(layer, *predictions, made.anchors, made.image_shape),
            )
    proposals = _random_boxes(made.rng, made.case, made.config.train_post_nms_top_k)
    valid = tf.ones(proposals.shape[:2], tf.bool)
    arguments = proposals, valid, made.gt_boxes, made.gt_labels, made.keys
    yield "ProposalSampler", timing.blocking(made.roi_head.proposal_sampler, *arguments)


def _region_layers(made):
    for pooling in ("max", "align"):
        head = build.build_roi_head(made.config.replace(roi_pooling=pooling), 1)
        head.build_for(_BACKBONE)
        (layer,) = head.poolings
        for count in (made.config.roi_num_samples, made.config.test_post_nms_top_k):
            rois = _random_boxes(made.rng, made.case, count)
            shape = layer(made.features, rois).shape
            gradient = tf.cast(made.rng.normal(size=shape), made.features.dtype)
            name = f"{type(layer).__name__} {count}"
            yield f"{name}, {_FORWARD}", timing.blocking(layer, made.features, rois)
            yield (
                f"{name}, {_GRADIENT}",
                timing.blocking(_with_gradient(layer), made.features, gradient, rois),
            )


def _heads(made):
    case, config = made.case, made.config
    rpn_head, box_head = made.rpn.head, made.roi_head.box_head
    count = flops.rpn_head(rpn_head, tuple(made.features.shape[1:3]), case.batch, True)
    yield f"RPNHead, {_FORWARD}", timing.blocking(rpn_head, made.features), count.forward

    size = (config.pool_size, config.pool_size, _CHANNELS)
    train_pooled, test_pooled = (
        tf.cast(made.rng.uniform(size=(case.batch, count, *size)), made.features.dtype)
        for count in (config.roi_num_samples, config.test_post_nms_top_k)
    )
    forward = timing.blocking(box_head, test_pooled)
    logits, deltas = forward()
    count = flops.box_head(box_head, case.batch * config.test_post_nms_top_k, True)
    yield f"BoxHead {config.test_post_nms_top_k}, {_FORWARD}", forward, count.forward

    def step(pooled, keys):
        with tf.GradientTape() as tape:
            tape.watch(pooled)
            answers = box_head(pooled, keys)
        return tape.gradient(answers, [pooled, *box_head.trainable_weights])

    count = flops.box_head(box_head, case.batch * config.roi_num_samples, True)
    yield (
        f"BoxHead {config.roi_num_samples}, {_GRADIENT}",
        timing.blocking(step, train_pooled, made.keys),
        count.total,
    )

    rois = _random_boxes(made.rng, case, config.test_post_nms_top_k)
    logits = tf.cast(made.rng.normal(scale=2.0, size=logits.shape), tf.float32)
    deltas = tf.cast(made.rng.normal(size=deltas.shape), tf.float32)
    arguments = rois, tf.ones(rois.shape[:2], tf.bool), logits, deltas, made.image_shape
    yield (
        f"DetectionDecoder {config.test_post_nms_top_k}, {len(scene.CLASS_NAMES)} classes",
        timing.blocking(made.roi_head.detection_decoder, *arguments),
    )


def _with_gradient(layer):
    """Returns a function of ``layer`` and of the gradient of its features."""

    def function(features, gradient, rois):
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = layer(features, rois)
        return pooled, tape.gradient(pooled, features, output_gradients=gradient)

    return function


def _random_rpn(made):
    """Makes random ``(objectness_logits, deltas)``."""
    shape = (made.case.batch, made.anchors.shape[0])
    logits = made.rng.normal(size=(*shape, 2))
    deltas = made.rng.normal(scale=0.2, size=(*shape, 4))
    return tf.cast(logits, tf.float32), tf.cast(deltas, tf.float32)


def _clustered_rpn(made):
    """Makes ``(objectness_logits, deltas)`` that move every anchor approximately onto the nearest
    object.
    """
    iou = box_ops.iou(made.anchors, made.gt_boxes).numpy()  # [B, N, G]
    nearest = tf.gather(made.gt_boxes, tf.constant(iou.argmax(axis=-1)), batch_dims=1)
    noise = made.rng.normal(scale=0.05, size=nearest.shape)
    deltas = box_ops.encode(made.anchors, nearest) + tf.cast(noise, tf.float32)
    objectness = 5 * iou.max(axis=-1) + made.rng.normal(size=iou.shape[:2])
    logits = np.stack([np.zeros_like(objectness), objectness], axis=-1)
    return tf.cast(logits, tf.float32), deltas


def _random_boxes(rng, case, count):
    """Draws boxes [B, count, 4] inside the image."""
    longest = np.minimum(_SIDES[1], case.size)
    sides = rng.uniform(np.minimum(_SIDES[0], longest / 2), longest, (case.batch, count, 2))
    corners = rng.uniform(0, 1, sides.shape) * (case.size - sides)
    return tf.cast(np.concatenate([corners, corners + sides], axis=-1), tf.float32)
