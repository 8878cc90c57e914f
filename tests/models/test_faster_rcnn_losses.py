"""The model's losses: values against a slow recomputation, denominators, and where gradients go."""

import numpy as np
import pytest
import tensorflow as tf

from tests import fakes, reference

BOX_LOSSES = ("rpn_box_loss", "roi_box_loss")
# So many that every labelled anchor and region is drawn: the losses no longer depend on the draw.
ALL = {"rpn_num_samples": 2000, "roi_num_samples": 600}
OBJECTS = [
    [([5, 5, 30, 40], 0), ([20, 41, 60, 90], 2), ([30, 5, 60, 30], 1, True)],
    [([3, 4, 34, 30], 3)],
]


@pytest.fixture(scope="module")
def batch():
    return (
        fakes.inputs_of([fakes.image(64, 96), fakes.image(50, 37, seed=1)]),
        fakes.targets_of(OBJECTS),
    )


@pytest.fixture(scope="module")
def model():
    return fakes.detector()


def losses_of(model, batch, **kwargs):
    values = model.compute_losses(*batch, **kwargs)
    return {name: float(value) for name, value in values.items()}


def rpn_losses(model, image, objects, ignored):
    """Sums over one image alone: cross-entropy, smooth L1, number of objects' anchors."""
    config = model.config
    inputs = fakes.inputs_of([image])
    (level,) = model.backbone(inputs["images"], inputs["image_shape"])
    features = level.features
    logits, deltas = (part[0].numpy() for part in model.rpn.head(features))
    h, w = features.shape[1:3]
    anchors = reference.anchors(h, w, config.scales, config.ratios, 16)
    boxes = np.array([box for box, _ in objects], np.float64).reshape(-1, 4)
    labels, match = reference.label_anchors(
        anchors,
        boxes,
        image.shape[:2],
        fg=config.rpn_fg_iou_threshold,
        bg=config.rpn_bg_iou_threshold,
        border_anchors=config.rpn_border_anchors,
        ignored_boxes=ignored,
    )
    used, objects_anchors = labels != reference.IGNORED, labels == reference.POSITIVE
    classification = reference.cross_entropy(logits[used], labels[used]).sum()
    targets = reference.encode(anchors[objects_anchors], boxes[match[objects_anchors]])
    distance = reference.smooth_l1(deltas[objects_anchors] - targets, config.rpn_smooth_l1_beta)
    return classification, distance.sum(), objects_anchors.sum(), h * w


def roi_losses(model, image, objects, ignored):
    """Likewise of the head, on the model's own proposals."""
    config = model.config
    inputs = fakes.inputs_of([image])
    levels = model.backbone(inputs["images"], inputs["image_shape"])
    features = levels[0].features
    logits, deltas = (part[0].numpy() for part in model.rpn.head(features))
    anchors = reference.anchors(*features.shape[1:3], config.scales, config.ratios, 16)
    proposals, _ = reference.propose(
        logits,
        deltas,
        anchors,
        image.shape[:2],
        pre=config.train_pre_nms_top_k,
        post=config.train_post_nms_top_k,
        iou_threshold=config.rpn_nms_iou_threshold,
    )
    boxes = np.array([box for box, _ in objects], np.float64).reshape(-1, 4)
    rois = np.concatenate([proposals, boxes]) if config.append_gt_boxes else proposals
    table = reference.iou(rois, boxes)
    best = table.max(axis=1, initial=0)
    foreground = best >= config.roi_fg_iou_threshold
    background = (best < config.roi_bg_iou_threshold) & (best >= config.roi_bg_iou_threshold_low)
    for i, roi in enumerate(rois):
        for region in ignored:
            if reference.intersection(roi, region) >= 0.5 * reference.area(roi):
                background[i] = False
    match = np.where(foreground, table.argmax(axis=1) if len(boxes) else 0, 0)
    classes = np.array([label + 1 for _, label in objects] or [0])
    labels = np.where(foreground, classes[match], 0)
    used = foreground | background

    batch_of_rois = tf.constant(rois[np.newaxis], tf.float32)
    class_logits, box_deltas = (
        part[0].numpy() for part in model.roi_head.classify(levels, batch_of_rois)
    )
    classification = reference.cross_entropy(class_logits[used], labels[used]).sum()
    rows = np.flatnonzero(foreground)
    targets = reference.encode(rois[rows], boxes[match[rows]], config.box_delta_std)
    distance = reference.smooth_l1(
        box_deltas[rows, labels[rows]] - targets, config.roi_smooth_l1_beta
    )
    return classification, distance.sum(), foreground.sum()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rpn_box_normalizer": "positions", "rpn_box_loss_weight": 10.0},
        {
            "rpn_border_anchors": False,
            "rpn_fg_iou_threshold": 0.4,
            "rpn_bg_iou_threshold": 0.2,
            "rpn_smooth_l1_beta": 0.5,
            "roi_smooth_l1_beta": 0.25,
            "roi_fg_iou_threshold": 0.4,
            "roi_bg_iou_threshold": 0.35,
            "roi_bg_iou_threshold_low": 0.01,
            "box_delta_std": (0.3, 0.4, 0.5, 0.6),
            "append_gt_boxes": False,
            "roi_pooling": "align",
            "weight_decay": 0.01,
        },
        {"class_agnostic_boxes": True, "roi_box_loss_weight": 3.0},
    ],
    ids=["code", "paper", "others", "agnostic"],
)
def test_all_losses_against_a_slow_recomputation(changes, batch):
    config = {**ALL, "rpn_fg_fraction": 1.0, "roi_fg_fraction": 1.0, **changes}
    model = fakes.detector(**config)
    images = [fakes.image(64, 96), fakes.image(50, 37, seed=1)]
    expected = dict.fromkeys(
        ["rpn_cls_loss", "rpn_box_loss", "roi_cls_loss", "roi_box_loss"], 0.0
    ) | {"rpn_foreground": 0.0, "roi_foreground": 0.0}
    for image, objects in zip(images, OBJECTS, strict=True):
        ignored = [box for box, _, *flag in objects if flag]
        real = [entry for entry in objects if len(entry) == 2]
        cls, box, foreground, positions = rpn_losses(model, image, real, ignored)
        by = positions if changes.get("rpn_box_normalizer") == "positions" else 2000
        expected["rpn_cls_loss"] += cls / 2000 / 2
        expected["rpn_box_loss"] += changes.get("rpn_box_loss_weight", 1) * box / by / 2
        expected["rpn_foreground"] += foreground / 2
        cls, box, foreground = roi_losses(model, image, real, ignored)
        expected["roi_cls_loss"] += cls / 600 / 2
        expected["roi_box_loss"] += changes.get("roi_box_loss_weight", 1) * box / 600 / 2
        expected["roi_foreground"] += foreground / 2
    kernels = [w.numpy() for w in model.trainable_weights if w.path.endswith("kernel")]
    decay = changes.get("weight_decay", 5e-4)
    expected["weight_decay_loss"] = sum(0.5 * decay * np.sum(k * k) for k in kernels)
    expected["loss"] = sum(value for name, value in expected.items() if name.endswith("loss"))

    received = losses_of(model, batch)
    assert sorted(received) == sorted(expected)
    assert min(expected.values()) > 0.001
    for name, value in expected.items():
        assert received[name] == pytest.approx(value, rel=1e-4), name


def test_a_batch_of_one_image_twice_has_the_losses_of_that_image():
    model = fakes.detector(**ALL)
    image, objects = fakes.image(50, 70), OBJECTS[1]
    once = losses_of(model, (fakes.inputs_of([image]), fakes.targets_of([objects])))
    twice = losses_of(model, (fakes.inputs_of([image] * 2), fakes.targets_of([objects] * 2)))
    assert twice == pytest.approx(once, rel=1e-5)


@pytest.mark.parametrize("normalizer", ["samples", "positions"])
def test_padding_changes_no_loss(normalizer):
    model = fakes.detector(**ALL, rpn_box_normalizer=normalizer)
    large, small = fakes.image(64, 96), fakes.image(48, 37, seed=1)
    together = losses_of(model, (fakes.inputs_of([large, small]), fakes.targets_of(OBJECTS)))
    alone = [
        losses_of(model, (fakes.inputs_of([image]), fakes.targets_of([objects])))
        for image, objects in zip([large, small], OBJECTS, strict=True)
    ]
    mean = {name: (alone[0][name] + alone[1][name]) / 2 for name in together}
    assert together == pytest.approx(mean, rel=1e-4)


def test_foreground_samples_stay_within_their_fraction(batch):
    few = fakes.detector(rpn_num_samples=6, roi_num_samples=8, rpn_fg_fraction=0.5)
    values = losses_of(few, batch)
    assert 0.5 <= values["rpn_foreground"] <= 3
    assert 0.5 <= values["roi_foreground"] <= 2  # a quarter


@pytest.mark.parametrize("roi_pooling", ["max", "align"])
def test_the_heads_losses_send_nothing_into_the_proposals(roi_pooling, batch):
    model = fakes.detector(roi_pooling=roi_pooling)
    rpn = model.rpn.trainable_weights
    with tf.GradientTape(persistent=True) as tape:
        values = model.compute_losses(*batch)
        of_head = values["roi_cls_loss"] + values["roi_box_loss"]
    assert tape.gradient(of_head, rpn) == [None] * 6
    shared = tape.gradient(of_head, model.backbone.trainable_weights)
    assert all(np.abs(gradient).max() > 0 for gradient in shared)
    of_rpn = [values["rpn_cls_loss"], values["rpn_box_loss"]]
    assert all(np.abs(gradient).max() > 0 for gradient in tape.gradient(of_rpn, rpn))
    assert tape.gradient(of_rpn, model.roi_head.trainable_weights) == [None] * 6
    # Each sibling learns from its own loss alone.
    deltas, logits = model.rpn.head.deltas.kernel.value, model.rpn.head.objectness.kernel.value
    assert tape.gradient(values["rpn_cls_loss"], deltas) is None
    assert tape.gradient(values["rpn_box_loss"], logits) is None


def test_the_gradient_of_weight_decay_is_the_kernel_itself(batch):
    model = fakes.detector(weight_decay=0.02)
    with tf.GradientTape() as tape:
        values = model.compute_losses(*batch)
    weights = model.trainable_weights
    gradients = tape.gradient(values["weight_decay_loss"], weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        if weight.path.endswith("kernel"):
            np.testing.assert_allclose(gradient, 0.02 * weight, rtol=1e-6)
        else:
            assert gradient is None


def test_biases_decay_if_asked_to_and_frozen_weights_never(batch):
    def decayed(**changes):
        model = fakes.detector(backbone_weights="imagenet", **changes)
        with tf.GradientTape() as tape:
            values = model.compute_losses(*batch)
        gradients = tape.gradient(values["weight_decay_loss"], [w.value for w in model.weights])
        return {w.path for w, g in zip(model.weights, gradients, strict=True) if g is not None}

    kernels = decayed(frozen_blocks=1)
    assert "block2_conv1/kernel" in kernels
    assert not any(path.startswith("block1") for path in kernels)
    assert not any(path.endswith("bias") for path in kernels)
    both = decayed(frozen_blocks=1, decay_biases=True)
    assert both == kernels | {path.replace("kernel", "bias") for path in kernels}


@pytest.mark.parametrize(
    "objects",
    [
        [[], []],
        [[([0, 0, 60, 90], 1, True)], [([3, 4, 34, 30], 3, True)]],
    ],
    ids=["no objects", "all to ignore"],
)
def test_without_objects_the_box_losses_are_exactly_zero(objects, model, batch):
    targets = fakes.targets_of(objects)
    with tf.GradientTape() as tape:
        values = model.compute_losses(batch[0], targets)
    gradients = tape.gradient(values["loss"], model.trainable_weights)
    assert all(np.isfinite(value) for value in values.values())
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert [float(values[name]) for name in BOX_LOSSES] == [0, 0]
    assert float(values["rpn_foreground"]) == float(values["roi_foreground"]) == 0
    assert float(values["rpn_cls_loss"]) > 0.01
    assert float(values["roi_cls_loss"]) > 0.01


def test_no_background_is_taken_from_regions_to_ignore(model, batch):
    everything = [[([0, 0, 64, 96], 0, True)], [([0, 0, 50, 37], 0, True)]]
    values = losses_of(model, (batch[0], fakes.targets_of(everything)))
    assert values["roi_cls_loss"] == 0
    assert (
        values["rpn_cls_loss"]
        < losses_of(model, (batch[0], fakes.targets_of([[], []])))["rpn_cls_loss"]
    )  # anchors that stand half outside the image are left


def test_draws_and_dropout_follow_the_keys_alone(batch):
    model = fakes.detector(rpn_num_samples=8, roi_num_samples=8, head_dropout=0.5)
    first = losses_of(model, batch)
    assert losses_of(model, batch) == first
    for other in ([4, 0], [3, 7]):
        values = losses_of(model, (fakes.with_seed(batch[0], other), batch[1]))
        for name in ("rpn_cls_loss", "roi_cls_loss", "roi_box_loss"):
            assert values[name] != first[name]


def test_dropout_works_in_training_alone(batch):
    with_dropout, without = fakes.detector(**ALL, head_dropout=0.5), fakes.detector(**ALL)
    expected = losses_of(without, batch)
    assert losses_of(with_dropout, batch, training=False) == expected
    values = losses_of(with_dropout, batch)
    assert values["roi_cls_loss"] != pytest.approx(expected["roi_cls_loss"], rel=1e-3)
    assert values["rpn_cls_loss"] == expected["rpn_cls_loss"]


def test_losses_are_float32_and_near_under_a_mixed_policy(batch):
    values = fakes.detector(**ALL, precision="mixed_bfloat16").compute_losses(*batch)
    assert {value.dtype for value in values.values()} == {tf.float32}
    expected = losses_of(fakes.detector(**ALL), batch)
    for name in ("rpn_cls_loss", "rpn_box_loss", "weight_decay_loss"):
        assert float(values[name]) == pytest.approx(expected[name], rel=0.05)


def test_an_image_learns_from_the_same_samples_alone_in_any_row_and_padded():
    """Its draws, of anchors, regions and dropout, belong to its key."""
    model = fakes.detector(rpn_num_samples=8, roi_num_samples=8, head_dropout=0.5)
    large, small = fakes.image(64, 96), fakes.image(48, 37, seed=1)
    seeds = tf.constant([[5, 6], [7, 8]])

    def mean_losses(images, objects, keys):
        inputs = {**fakes.inputs_of(images), "key": keys}
        return losses_of(model, (inputs, fakes.targets_of(objects)))

    together = mean_losses([large, small], OBJECTS, seeds)
    swapped = mean_losses([small, large], OBJECTS[::-1], seeds[::-1])
    alone = [
        mean_losses([image], [objects], seeds[row : row + 1])
        for row, (image, objects) in enumerate(zip([large, small], OBJECTS, strict=True))
    ]
    mean = {name: (alone[0][name] + alone[1][name]) / 2 for name in together}
    assert together == pytest.approx(mean, rel=1e-4)
    assert swapped == pytest.approx(mean, rel=1e-4)
    others = mean_losses([large, small], OBJECTS, seeds + 1)
    assert others["rpn_cls_loss"] != pytest.approx(mean["rpn_cls_loss"], rel=1e-3)


# --- inputs that are not finite -------------------------------------------------------------------


def with_number(values, index, number):
    values = np.array(values)
    values[index] = number
    return tf.constant(values)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_an_input_that_is_not_finite_gives_a_loss_that_shows_it(number):
    """Max pooling may pass over a NaN, and no anchor matches such a box, so nothing else would."""
    model = fakes.detector()
    inputs = fakes.inputs_of([fakes.image(64, 96), fakes.image(50, 37)])
    targets = fakes.targets_of([[([5, 5, 30, 40], 0), ([9, 9, 40, 30], 1)], [([3, 4, 34, 30], 3)]])
    expected = float(model.compute_losses(inputs, targets)["loss"])
    spoiled = {**inputs, "images": with_number(inputs["images"], (0, 10, 10, 1), number)}
    assert np.isnan(model.compute_losses(spoiled, targets)["loss"])
    spoiled = {**targets, "boxes": with_number(targets["boxes"], (0, 1, 2), number)}
    assert np.isnan(model.compute_losses(inputs, spoiled)["loss"])
    padding = {**targets, "boxes": with_number(targets["boxes"], (1, 1, 2), number)}
    assert float(model.compute_losses(inputs, padding)["loss"]) == expected
