"""The losses of the evaluation split: which images, which samples, and the same ones every time."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn import data
from keras_frcnn.data import pipeline
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.writers import shapes
from keras_frcnn.inference.eval_losses import EvalLosses, evenly_spread
from keras_frcnn.models.faster_rcnn import LOSSES
from tests import fakes


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = shapes.make(
        tmp_path_factory.mktemp("shapes"), 5, 0, 0, shorter_side=(60, 90), longer_side=(91, 130)
    )
    return data.load(fakes.SMALL.replace(data_dir=str(folder)), ("train",))


@pytest.fixture(scope="module")
def shared_model():
    return fakes.detector(head_dropout=0.5)


@pytest.fixture
def model(shared_model, monkeypatch):
    """One detector for all tests, which runs eagerly."""
    fakes.run_eagerly(monkeypatch)
    return shared_model


SETTINGS = fakes.SMALL.replace(eval_loss_images=100)


def losses(model, dataset, **changes):
    return list(EvalLosses(model, dataset, SETTINGS.replace(**changes)).of_images())


@pytest.mark.parametrize(
    ("number", "most", "rows"),
    [
        (10, 4, [0, 3, 6, 9]),
        (3, 200, [0, 1, 2]),
        (5, 5, [0, 1, 2, 3, 4]),
        (5, 1, [0]),
        (5, 0, []),
        (0, 5, []),
    ],
)
def test_rows_are_spread_evenly(number, most, rows):
    assert evenly_spread(number, most).tolist() == rows


def test_the_losses_are_those_of_the_images_as_they_are(model, dataset):
    found = losses(model, dataset, eval_loss_images=3)
    assert len(found) == 3 and all(tuple(one) == LOSSES for one in found)
    inputs = pipeline.eval_dataset(dataset, fakes.SMALL, model.backbone.preprocessing)
    for row, of_image, batch in zip(range(5), [0, None, 1, None, 2], inputs, strict=True):
        if of_image is None:
            continue
        record = dataset.records[row]
        scale = batch["image_shape"][0, 0] / record.height
        rescaled = np.float32(record.boxes * float(scale))
        targets = fakes.targets_of([list(zip(rescaled, record.labels, strict=True))])
        expected = model.compute_losses(batch, targets, training=False)
        for name in LOSSES:
            assert found[of_image][name] == pytest.approx(float(expected[name]), rel=2e-2), name


def test_they_are_the_same_every_time_and_at_every_step(model, dataset):
    measured = EvalLosses(model, dataset, SETTINGS)
    first = list(measured.of_images())
    model.step.assign(7)
    assert list(measured.of_images()) == first == losses(model, dataset)
    assert losses(model, dataset, seed=1) != first


def test_nothing_is_changed_at_random(model, dataset):
    changes = {"flip": "both", "crop_probability": 1.0, "scale_jitter": (0.5, 2.0), "hue": 0.2}
    changes |= {"brightness": 0.5, "train_shorter_sides": (32, 48)}
    assert losses(model, dataset, **changes) == losses(model, dataset)


def test_proposals_for_training_are_not_asked_for(model, dataset):
    assert losses(model, dataset, train_proposals="gone.npz") == losses(model, dataset)


def test_only_stages_that_learn_have_losses(model, dataset, monkeypatch):
    monkeypatch.setattr(model.rpn, "trainable", False)
    (first, *_) = losses(model, dataset)
    assert list(first) == ["roi_cls_loss", "roi_box_loss", "weight_decay_loss", "loss"]


def test_a_graph_gives_the_same(shared_model, dataset):
    eager = []
    with pytest.MonkeyPatch.context() as patch:
        fakes.run_eagerly(patch)
        eager = losses(shared_model, dataset)
    measured = EvalLosses(shared_model, dataset, SETTINGS)
    for one, other in zip(measured.of_images(), eager, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    assert list(measured.of_images()) == list(measured.of_images())


def test_an_image_without_objects_has_losses_too(model, dataset):
    record = dataclasses.replace(
        dataset.records[0],
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int32),
        difficult=np.zeros(0, bool),
    )
    (found,) = losses(model, Dataset(dataset.class_names, [record]))
    assert found["rpn_box_loss"] == found["roi_box_loss"] == 0 and found["rpn_cls_loss"] > 0


def test_an_image_that_cannot_be_decoded_is_named(model, dataset, tmp_path):
    path = str(tmp_path / "gone.jpg")
    gone = dataclasses.replace(dataset.records[0], path=path)
    with pytest.raises(ValueError, match=f"{path}: unreadable image"):
        losses(model, Dataset(dataset.class_names, [gone]))


def test_random_numbers_of_tensorflow_are_not_used(model, dataset):
    tf.random.set_seed(3)
    first = tf.random.uniform([]).numpy()
    tf.random.set_seed(3)
    losses(model, dataset, eval_loss_images=1)
    assert tf.random.uniform([]).numpy() == first
