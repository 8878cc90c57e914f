import numpy as np
import pytest
import tensorflow as tf

from benchmarks import scene
from benchmarks.cases import Case
from tests import fakes


def test_settings_are_the_paper_s_at_the_case_s_size():
    config = scene.make_config(Case("train_step", "float32", (600, 1000), 2))
    assert (config.shorter_side, config.longer_side, config.batch_size) == (600, 1000, 2)
    assert (config.train_pre_nms_top_k, config.train_post_nms_top_k) == (12000, 2000)
    assert (config.test_pre_nms_top_k, config.test_post_nms_top_k) == (6000, 300)
    assert (config.roi_num_samples, config.head_units) == (128, (4096, 4096))
    assert (config.optimizer, config.momentum) == ("sgd", 0.9)
    assert config.resolved_frozen_blocks == 2
    zf = scene.make_config(Case("paper", "float32", backbone="zf"))
    assert (zf.backbone, zf.resolved_frozen_blocks) == ("zf", 0)


def test_auto_is_what_the_command_would_take():
    used = scene.make_config(Case("inference", "auto")).precision
    trained = scene.make_config(Case("train_step", "auto")).precision
    assert (trained, used) in {("float32", "float32"), ("mixed_bfloat16", "bfloat16")}


def test_images_have_objects_inside_and_fill_the_input():
    inputs, targets = scene.make_batch(Case("train_step", size=(150, 200), batch=3))
    assert inputs["images"].shape == (3, 150, 200, 3)
    assert inputs["image_shape"].numpy().tolist() == [[150, 200]] * 3
    assert np.abs(inputs["images"]).max() < 3  # about 1, as new weights like it
    boxes, labels = targets["boxes"].numpy(), targets["labels"].numpy()
    real = labels >= 0
    assert real.any(axis=1).all()
    assert (boxes[real][:, 2:] > boxes[real][:, :2]).all()
    assert (boxes[real] <= [150, 200, 150, 200]).all()
    assert (boxes[~real] == 0).all()
    assert not targets["ignore"].numpy().any()


def test_a_detector_answers_with_the_spread_of_a_trained_one(monkeypatch):
    monkeypatch.setattr(scene, "SETTINGS", fakes.SMALL.replace(frozen_blocks=0))
    case = Case("inference", "float32", (64, 96))
    with fakes.small_backbone():
        inputs, _ = scene.make_batch(case)
        model = scene.make_model(case, inputs)
    levels = model.features(inputs)
    predictions = model.rpn.predict(levels)
    logits = predictions.objectness_logits
    assert float(tf.math.reduce_std(logits[..., 1] - logits[..., 0])) == pytest.approx(2, rel=1e-3)
    assert float(tf.math.reduce_std(predictions.deltas)) == pytest.approx(0.2, rel=1e-3)
    proposals = model.propose(inputs, levels).boxes
    class_logits, box_deltas = model.roi_head.classify(levels, proposals)
    assert float(tf.math.reduce_std(class_logits)) == pytest.approx(2, rel=1e-3)
    assert float(tf.math.reduce_std(box_deltas)) * 0.15 == pytest.approx(0.2, rel=1e-3)
