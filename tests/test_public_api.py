"""The package as a Keras user meets it: a detector composed from its parts, and the documentation's
code as it is written there.
"""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_frcnn
from tests import fakes

ROOT = Path(__file__).parents[1]


def code_blocks(page):
    """Returns the blocks of Python in a Markdown page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.S)


def test_the_public_names_are_listed_and_exist():
    assert dir(keras_frcnn) == sorted(keras_frcnn.__all__)
    for name in keras_frcnn.__all__:
        assert getattr(keras_frcnn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'FastRCNN'"):
        _ = keras_frcnn.FastRCNN


def small_train_data():
    """Two batches in the documented form, of images of unlike sizes, without keys."""
    inputs = fakes.inputs_of([fakes.image(64, 96), fakes.image(50, 37, seed=1)], seed=None)
    targets = fakes.targets_of(
        [[([5, 5, 30, 40], 0), ([20, 41, 60, 90], 2)], [([3, 4, 34, 30], 3)]]
    )
    return tf.data.Dataset.from_tensors((inputs, targets)).repeat(2)


def test_the_example_of_the_readme_runs_as_it_is_written(tmp_path, monkeypatch):
    """With a small network in place of VGG16 and narrow layers; all else is as there."""
    (code,) = code_blocks("README.md")
    assert 'keras_frcnn.backbones.VGG16(weights="imagenet", frozen_blocks=2)' in code
    monkeypatch.setattr(
        keras_frcnn.backbones,
        "VGG16",
        lambda weights, frozen_blocks: fakes.small_vgg16(None, frozen_blocks),
        raising=False,
    )
    code = code.replace("(4096, 4096)", "(32, 32)")
    Image.fromarray(np.full((90, 120, 3), 99, np.uint8)).save(tmp_path / "a.jpg")
    monkeypatch.chdir(tmp_path)
    names = {"class_names": [f"class_{n}" for n in range(20)], "train_data": small_train_data()}
    exec(code, names)
    model = names["model"]
    assert int(model.step) == 2
    with Image.open("found.png") as drawing:
        assert drawing.size == (120, 90)
    answer = model.detect(["a.jpg"])
    assert answer["boxes"].shape == (1, 100, 4)
    model.save("detector.keras")
    loaded = keras_frcnn.load("detector.keras")
    for name, value in loaded.detect(["a.jpg"]).items():
        np.testing.assert_array_equal(value, answer[name])
    assert loaded.class_names == tuple(names["class_names"])


def test_the_example_of_detection_runs_as_it_is_written(tmp_path, monkeypatch, capsys):
    model = fakes.detector(score_threshold=0.0)
    monkeypatch.setattr("keras_frcnn.weights.checkpoint.load", lambda path: model)
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    for name in ("a.jpg", "b.png"):
        Image.fromarray(image).save(tmp_path / name, "PNG")
    monkeypatch.chdir(tmp_path)
    names = {}
    (code,) = code_blocks("docs/serving.md")
    exec(code, names)
    found, sure, rows, batch = (names[name] for name in ("found", "sure", "rows", "batch"))
    assert 0 < len(sure) < len(found) == len(rows) == len(capsys.readouterr().out.splitlines())
    assert (found.scores > 0.3).all() and (sure.scores > 0.8).all()
    assert rows[0]["image_id"] == 7
    assert len(batch) == 2 and batch["boxes"].shape == (2, 10, 4)
    with Image.open("a_found.png") as drawing:
        assert drawing.size == (80, 64)


@pytest.mark.parametrize("number", range(len(code_blocks("docs/extending.md"))))
def test_the_code_of_the_guide_to_extending_runs(number, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(code_blocks("docs/extending.md")[number], {"__name__": "__main__"})
    assert "Traceback" not in capsys.readouterr().err


@keras.saving.register_keras_serializable("tests")
class PlainHead(keras.layers.Layer):
    """The smallest head: two dense layers on the mean of the pooled cells."""

    def __init__(self, num_classes, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.classes = keras.layers.Dense(num_classes + 1)
        self.boxes = keras.layers.Dense(4 * (num_classes + 1))

    def build(self, pooled_shape):
        for layer in (self.classes, self.boxes):
            layer.build((None, None, pooled_shape[-1]))
        self.built = True

    def call(self, pooled, keys=None):
        x = tf.reduce_mean(pooled, axis=[2, 3])
        boxes = self.boxes(x)
        shape = [*tf.unstack(tf.shape(boxes)[:2]), self.num_classes + 1, 4]
        return self.classes(x), tf.reshape(boxes, shape)

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}


class DoubledLoss(keras_frcnn.RegionProposalNetwork):
    def box_loss(self, deltas, target_deltas, weights):
        return 2.0 * super().box_loss(deltas, target_deltas, weights)


def composed(rpn_class=keras_frcnn.RegionProposalNetwork, head=None, **changes):
    """A detector of parts, its weights known."""
    model = keras_frcnn.FasterRCNN(
        fakes.small_vgg16(dtype="float32"),
        rpn_class(
            scales=(16, 32, 64),
            num_samples=32,
            border_anchors=True,
            min_size=0,
            train_post_nms_top_k=50,
            test_post_nms_top_k=20,
        ),
        keras_frcnn.RoIHead(
            4,
            units=(16,),
            dropout=0.0,
            pool_size=3,
            num_samples=16,
            score_threshold=0.0,
            max_detections=10,
            head=head,
        ),
        fakes.CLASS_NAMES,
        shorter_side=64,
        longer_side=96,
        **changes,
    )
    fakes.randomize(model)
    return model


def test_a_composed_detector_is_the_one_of_the_settings():
    """Same parts, same arguments, same weights: same losses and detections."""
    model = composed()
    model.backbone.preprocessing = model.backbone.preprocessing.divided_by(58.0)
    other = fakes.detector(
        head_units=(16,), train_pre_nms_top_k=12000, test_pre_nms_top_k=6000, weight_decay=5e-4
    )
    other.set_weights(model.get_weights())
    batch = next(iter(small_train_data()))
    expected = {name: float(value) for name, value in other.compute_losses(*batch).items()}
    values = {name: float(value) for name, value in model.compute_losses(*batch).items()}
    assert values == expected
    images = [np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)]
    for name, value in other.detect(images).items():
        np.testing.assert_array_equal(model.detect(images)[name], value)


def test_a_head_of_ones_own_is_trained_and_saved(tmp_path):
    model = composed(head=PlainHead(4))
    model.compile(keras.optimizers.SGD(0.01))
    before = [w.numpy() for w in model.roi_head.box_head.weights]
    model.fit(small_train_data(), verbose=0)
    for weight, start in zip(model.roi_head.box_head.weights, before, strict=True):
        assert (weight.numpy() != start).any()
    model.save(tmp_path / "a.keras")
    loaded = keras_frcnn.load(tmp_path / "a.keras")
    images = [np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)]
    answer, expected = loaded.detect(images), model.detect(images)
    assert expected["num_detections"] > 0
    for name, value in expected.items():
        np.testing.assert_array_equal(answer[name], value)


def test_a_loss_of_ones_own_takes_the_place_of_ours():
    batch = next(iter(small_train_data()))
    plain, doubled = composed().compute_losses(*batch), composed(DoubledLoss).compute_losses(*batch)
    assert float(plain["rpn_box_loss"]) > 0.001
    assert float(doubled["rpn_box_loss"]) == pytest.approx(2 * float(plain["rpn_box_loss"]))
    assert float(doubled["rpn_cls_loss"]) == float(plain["rpn_cls_loss"])


def test_classes_of_the_head_and_their_names_must_agree():
    with pytest.raises(ValueError, match="roi_head must have 2 classes.*Received: 3"):
        keras_frcnn.FasterRCNN(
            fakes.small_vgg16(),
            keras_frcnn.RegionProposalNetwork(),
            keras_frcnn.RoIHead(3),
            ["cat", "dog"],
        )


def test_a_composed_detector_has_no_settings_for_the_commands(tmp_path):
    composed().save(tmp_path / "a.keras")
    with pytest.raises(ValueError, match="composed in Python.*keras_frcnn.load reads it"):
        keras_frcnn.weights.checkpoint.read_settings(tmp_path / "a.keras")
