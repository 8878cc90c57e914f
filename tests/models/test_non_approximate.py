"""The gradient through the proposals' coordinates: that of the loss as a function of all weights.

The reference computes the head's losses from all weights in float64, with the choices that the
model made (which anchors became regions, of which class and object) held fixed, and is
differentiated by finite differences. Where max pooling, ReLU and RoIAlign have corners, steps of
1e-6 do not meet them.
"""

import numpy as np
import pytest
import tensorflow as tf

from tests import fakes, reference

OBJECTS = [([5, 5, 30, 40], 0), ([20, 41, 60, 90], 2), ([30, 5, 60, 30], 1)]
SETTINGS = {
    "roi_pooling": "align",
    "roi_num_samples": 600,  # so many that every labelled region is drawn
    "roi_fg_fraction": 1.0,
    "train_post_nms_top_k": 30,
    # With few proposals these make a good part of them objects.
    "roi_fg_iou_threshold": 0.2,
    "roi_bg_iou_threshold": 0.2,
}
PARTS = ("backbone", "rpn_head/conv", "rpn_head/deltas", "box_head")


@pytest.fixture(scope="module")
def batch():
    return fakes.inputs_of([fakes.image(64, 96)]), fakes.targets_of([OBJECTS])


def layers_of(model):
    return {
        "backbone": model.backbone,
        "rpn_head/conv": model.rpn.head.conv,
        "rpn_head/deltas": model.rpn.head.deltas,
        "rpn_head/objectness": model.rpn.head.objectness,
        "box_head": model.roi_head.box_head,
    }


def detector(scheme="non_approximate", **changes):
    model = fakes.detector(scheme=scheme, **SETTINGS, **changes)
    model.rpn.head.deltas.kernel.assign(model.rpn.head.deltas.kernel * 0.3)
    return model


def gradients_of(model, batch, names=("roi_cls_loss", "roi_box_loss")):
    """Gradients of some losses with respect to the weights of each part, None where there is no
    way.
    """
    with tf.GradientTape() as tape:
        values = model.compute_losses(*batch)
        total = tf.add_n([values[name] for name in names])
    weights = {name: layer.trainable_weights for name, layer in layers_of(model).items()}
    return tape.gradient(total, weights)


class Reference:
    """The head's losses in float64 as a function of the weights, choices fixed."""

    def __init__(self, model, batch):
        self.model, (self.inputs, targets) = model, batch
        predictions = model.rpn.predict(model.features(self.inputs))
        proposals = model.propose(self.inputs, training=True)
        self.samples = model.roi_head.proposal_sampler(
            proposals.boxes,
            proposals.valid,
            targets["boxes"],
            targets["labels"],
            self.inputs["key"],
            targets["ignore"],
        )
        self.samples = {n: value[0].numpy() for n, value in self.samples.items()}
        self.used = self.samples["weights"] > 0
        self.gt_boxes = targets["boxes"][0].numpy().astype(np.float64)
        self.anchors = predictions.anchors.boxes.numpy().astype(np.float64)
        boxes = self.decode(predictions.deltas[0].numpy())
        # Where each region came from: row of the anchors, or of the objects after them.
        everything = np.concatenate([boxes, self.gt_boxes])
        apart = np.abs(everything - self.samples["rois"][self.used][:, np.newaxis]).max(axis=-1)
        self.sources = apart.argmin(axis=1)
        assert apart.min(axis=1).max() < 1e-3
        foreground = self.samples["labels"][self.used] > 0
        assert (foreground & (self.sources < len(boxes))).sum() >= 3  # regress from proposals
        self.objects = reference.iou(everything[self.sources], self.gt_boxes).argmax(axis=1)

    def decode(self, deltas):
        shape = self.inputs["image_shape"][0].numpy()
        return reference.clip(reference.decode(self.anchors, deltas), shape)

    def __call__(self, weights):
        config = self.model.config
        x = self.inputs["images"].numpy().astype(np.float64)
        for kernel, bias in zip(weights["backbone"][::2], weights["backbone"][1::2], strict=True):
            x = tf.nn.max_pool2d(
                tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + bias), 4, 4, "SAME"
            )
        kernel, bias = weights["rpn_head/conv"]
        hidden = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + bias).numpy()
        kernel, bias = weights["rpn_head/deltas"]
        deltas = (hidden[0] @ kernel[0, 0] + bias).reshape(-1, 4)
        rois = np.concatenate([self.decode(deltas), self.gt_boxes])[self.sources]

        x = reference.roi_align(x[0].numpy(), rois, config.pool_size, 16, config.sampling_ratio)
        kernel, bias = weights["box_head"][:2]
        x = np.maximum(x.reshape(len(rois), -1) @ kernel + bias, 0)
        (to_classes, class_bias), (to_boxes, box_bias) = (
            weights["box_head"][2:4],
            weights["box_head"][4:],
        )
        labels = self.samples["labels"][self.used]
        total = reference.cross_entropy(x @ to_classes + class_bias, labels).sum()
        rows = np.flatnonzero(labels)
        box_deltas = (x @ to_boxes + box_bias).reshape(len(rois), -1, 4)[rows, labels[rows]]
        wanted = reference.encode(
            rois[rows], self.gt_boxes[self.objects[rows]], config.box_delta_std
        )
        total += reference.smooth_l1(box_deltas - wanted, config.roi_smooth_l1_beta).sum()
        return total / config.roi_num_samples


@pytest.fixture(scope="module")
def model():
    return detector()


@pytest.fixture(scope="module")
def loss(model, batch):
    return Reference(model, batch)


def weights_of(model):
    return {
        name: [w.numpy().astype(np.float64) for w in layer.trainable_weights]
        for name, layer in layers_of(model).items()
        if name in PARTS
    }


def slope(loss, weights, part, directions, step=1e-6):
    """Derivative of the loss as one part's weights move along directions."""

    def moved(by):
        pairs = zip(weights[part], directions, strict=True)
        return loss({**weights, part: [w + by * d for w, d in pairs]})

    return (moved(step) - moved(-step)) / (2 * step)


def test_the_reference_is_the_models_loss(model, batch, loss):
    values = model.compute_losses(*batch)
    expected = float(values["roi_cls_loss"] + values["roi_box_loss"])
    assert loss(weights_of(model)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("part", PARTS)
def test_the_gradient_equals_finite_differences(part, model, batch, loss):
    weights = weights_of(model)
    gradients = [g.numpy().astype(np.float64) for g in gradients_of(model, batch)[part]]
    rng = np.random.default_rng(0)
    for directions in (gradients, *([rng.normal(size=g.shape) for g in gradients] for _ in "ab")):
        length = np.sqrt(sum(np.sum(d * d) for d in directions))
        directions = [d / length for d in directions]
        expected = slope(loss, weights, part, directions)
        received = sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True))
        assert abs(expected) > 1e-5
        assert received == pytest.approx(expected, rel=2e-3)


def test_every_delta_bias_has_its_own_share(model, batch, loss):
    weights = weights_of(model)
    _, received = gradients_of(model, batch)["rpn_head/deltas"]
    zeros = np.zeros_like(weights["rpn_head/deltas"][0])
    expected = [
        slope(loss, weights, "rpn_head/deltas", [zeros, one]) for one in np.eye(len(received))
    ]
    assert np.count_nonzero(np.abs(expected) > 1e-4) > 8
    np.testing.assert_allclose(received, expected, rtol=5e-3, atol=1e-6)


def test_what_the_approximate_scheme_leaves_out(model, batch, loss):
    approximate = detector("joint")
    gradients, whole = gradients_of(approximate, batch), gradients_of(model, batch)
    for name in ("rpn_head/conv", "rpn_head/deltas", "rpn_head/objectness"):
        assert gradients[name] == [None, None]
    # The head receives the same; the shared convolutions lack what comes through the proposals.
    for one, other in zip(gradients["box_head"], whole["box_head"], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8)
    kernel, other = gradients["backbone"][0], whole["backbone"][0]
    assert np.linalg.norm(kernel - other) > 0.01 * np.linalg.norm(other)
    # Which anchors are kept is a choice, so that the scores that decide it receive nothing.
    assert whole["rpn_head/objectness"] == [None, None]


def test_the_rpns_own_losses_are_differentiated_as_ever(model, batch):
    names = ("rpn_cls_loss", "rpn_box_loss")
    expected = gradients_of(detector("joint"), batch, names)
    received = gradients_of(model, batch, names)
    for part in ("backbone", "rpn_head/conv", "rpn_head/deltas", "rpn_head/objectness"):
        for one, other in zip(received[part], expected[part], strict=True):
            np.testing.assert_array_equal(one, other)
    assert received["box_head"] == [None] * 6


@pytest.mark.parametrize("form", [{"on_cpu": False}, {"on_cpu": True}, {"supports_jit": True}])
def test_every_form_of_the_layers_has_the_same_gradient(form, model, batch):
    expected = gradients_of(model, batch)
    other = detector()
    for name, value in form.items():
        setattr(other.rpn.train_generator, name, value)
    other.roi_head.use_xla(form.get("supports_jit", False))

    @tf.function(jit_compile=form.get("supports_jit", False))
    def compute():
        received = gradients_of(other, batch)
        return {part: received[part] for part in PARTS}

    for part, gradients in compute().items():
        for one, two in zip(gradients, expected[part], strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5 * np.abs(two).max() + 1e-9)


@pytest.mark.parametrize("objects", [[[]], [[([0, 0, 64, 96], 1, True)]], [[([3, 3, 3, 9], 1)]]])
@pytest.mark.parametrize("supports_jit", [False, True])
def test_gradients_stay_finite_without_objects_and_from_wild_deltas(objects, supports_jit, batch):
    wild = detector()
    wild.roi_head.use_xla(supports_jit)
    wild.rpn.head.deltas.kernel.assign(wild.rpn.head.deltas.kernel * 1000)
    for gradients in gradients_of(wild, (batch[0], fakes.targets_of(objects))).values():
        assert all(np.isfinite(g).all() for g in gradients if g is not None)
