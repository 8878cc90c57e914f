"""Each layer but the backbone's, alone, on inputs as a detector gives them.

Proposals come from random boxes and from clustered ones: a trained RPN's crowd on the objects, and
suppression then has far more to do.
"""

from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from benchmarks import flops, measure, scene
from benchmarks.cases import Case, Result, timed_rows
from keras_frcnn import layers
from keras_frcnn.models import build
from keras_frcnn.ops import boxes as box_ops

_STRIDE, _CHANNELS = 16, 512
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
    timings = measure.interleaved(functions, case.calls)
    rows, columns = made.features.shape[1:3]
    return Result(
        timed_rows(timings, gflop), {"features": f"{case.batch}x{rows}x{columns}x{_CHANNELS}"}
    )


def _inputs(case):
    """Random inputs of all layers."""
    rng = np.random.default_rng(0)
    config = scene.make_config(case)
    dtype = build.dtype_policy(config).compute_dtype
    rows, columns = (-(-side // _STRIDE) for side in case.size)
    features = tf.cast(rng.normal(size=(case.batch, rows, columns, _CHANNELS)), dtype)
    anchors = build.anchor_generator(config, _STRIDE)(features)
    objects = _random_boxes(rng, case, _NUM_OBJECTS)
    labels = rng.integers(len(scene.CLASS_NAMES), size=objects.shape[:2])
    return SimpleNamespace(
        rng=rng,
        case=case,
        config=config,
        features=tf.nn.relu(features),
        anchors=anchors,
        image_shape=tf.constant([case.size] * case.batch, tf.int32),
        gt_boxes=objects,
        gt_labels=tf.constant(labels, tf.int32),
        seed=tf.constant([1, 2]),
    )


def _anchor_layers(made):
    generator = build.anchor_generator(made.config, _STRIDE)
    yield "AnchorGenerator", measure.blocking(generator, made.features)
    assigner = build.anchor_target_assigner(made.config)
    yield (
        "AnchorTargetAssigner",
        measure.blocking(
            assigner, made.anchors, made.gt_boxes, made.gt_labels, made.image_shape, made.seed
        ),
    )


def _proposal_layers(made):
    for kind, outputs in (("random", _random_rpn(made)), ("clustered", _clustered_rpn(made))):
        for training in (True, False):
            layer = build.proposal_generator(made.config, training)
            yield (
                f"ProposalGenerator {layer.pre_nms_top_k} -> {layer.post_nms_top_k}, {kind}",
                measure.blocking(layer, *outputs, made.anchors, made.image_shape),
            )
    proposals = _random_boxes(made.rng, made.case, made.config.train_post_nms_top_k)
    yield (
        "ProposalSampler",
        measure.blocking(
            build.proposal_sampler(made.config),
            proposals,
            tf.ones(proposals.shape[:2], tf.bool),
            made.gt_boxes,
            made.gt_labels,
            made.seed,
        ),
    )


def _region_layers(made):
    for kind in ("max", "align"):
        layer = build.roi_pooling(made.config.replace(roi_pooling=kind), _STRIDE)
        for count in (made.config.roi_num_samples, made.config.test_post_nms_top_k):
            rois = _random_boxes(made.rng, made.case, count)
            shape = layer(made.features, rois).shape
            gradient = tf.cast(made.rng.normal(size=shape), made.features.dtype)
            name = f"{type(layer).__name__} {count}"
            yield f"{name}, {_FORWARD}", measure.blocking(layer, made.features, rois)
            yield (
                f"{name}, {_GRADIENT}",
                measure.blocking(_with_gradient(layer), made.features, gradient, rois),
            )


def _heads(made):
    case, config = made.case, made.config
    policy = build.dtype_policy(config)
    cells = tuple(made.features.shape[1:3])
    num_anchors = build.anchor_generator(config, _STRIDE).num_anchors
    rpn = layers.RPNHead(num_anchors, _CHANNELS, dtype=policy)
    forward = measure.blocking(rpn, made.features)
    forward()  # makes the weights that are counted
    yield f"RPNHead, {_FORWARD}", forward, flops.rpn_head(rpn, cells, case.batch, True).forward

    num_classes = len(scene.CLASS_NAMES)
    head = layers.BoxHead(num_classes, config.head_units, config.head_dropout, dtype=policy)
    size = (config.pool_size, config.pool_size, _CHANNELS)
    train, test = (
        tf.cast(made.rng.uniform(size=(case.batch, count, *size)), made.features.dtype)
        for count in (config.roi_num_samples, config.test_post_nms_top_k)
    )
    forward = measure.blocking(head, test)
    logits, deltas = forward()
    count = flops.box_head(head, case.batch * config.test_post_nms_top_k, True)
    yield f"BoxHead {config.test_post_nms_top_k}, {_FORWARD}", forward, count.forward

    def step(pooled, seed):
        with tf.GradientTape() as tape:
            tape.watch(pooled)
            answers = head(pooled, seed)
        return tape.gradient(answers, [pooled, *head.trainable_weights])

    count = flops.box_head(head, case.batch * config.roi_num_samples, True)
    yield (
        f"BoxHead {config.roi_num_samples}, {_GRADIENT}",
        measure.blocking(step, train, made.seed),
        count.total,
    )

    rois = _random_boxes(made.rng, case, config.test_post_nms_top_k)
    logits = tf.cast(made.rng.normal(scale=2.0, size=logits.shape), tf.float32)
    deltas = tf.cast(made.rng.normal(size=deltas.shape), tf.float32)
    yield (
        f"DetectionDecoder {config.test_post_nms_top_k}, {num_classes} classes",
        measure.blocking(
            build.detection_decoder(config),
            rois,
            tf.ones(rois.shape[:2], tf.bool),
            logits,
            deltas,
            made.image_shape,
        ),
    )


def _with_gradient(layer):
    """``layer`` and the gradient of its features, on the way back from a given one."""

    def function(features, gradient, rois):
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = layer(features, rois)
        return pooled, tape.gradient(pooled, features, output_gradients=gradient)

    return function


def _random_rpn(made):
    """``(objectness_logits, deltas)`` without any order."""
    shape = (made.case.batch, made.anchors.shape[0])
    logits = made.rng.normal(size=(*shape, 2))
    deltas = made.rng.normal(scale=0.2, size=(*shape, 4))
    return tf.cast(logits, tf.float32), tf.cast(deltas, tf.float32)


def _clustered_rpn(made):
    """The same of anchors that have all found the object next to them, about."""
    iou = box_ops.iou(made.anchors, made.gt_boxes).numpy()  # [B, N, G]
    nearest = tf.constant(iou.argmax(axis=-1))
    found = tf.gather(made.gt_boxes, nearest, batch_dims=1)
    noise = made.rng.normal(scale=0.05, size=found.shape)
    deltas = box_ops.encode(made.anchors, found) + tf.cast(noise, tf.float32)
    objectness = 5 * iou.max(axis=-1) + made.rng.normal(size=iou.shape[:2])
    logits = np.stack([np.zeros_like(objectness), objectness], axis=-1)
    return tf.cast(logits, tf.float32), deltas


def _random_boxes(rng, case, count):
    """Boxes [B, count, 4] inside the image."""
    longest = np.minimum(_SIDES[1], case.size)
    sides = rng.uniform(np.minimum(_SIDES[0], longest / 2), longest, (case.batch, count, 2))
    corners = rng.uniform(0, 1, sides.shape) * (case.size - sides)
    return tf.cast(np.concatenate([corners, corners + sides], axis=-1), tf.float32)
