"""From a model and a dataset to what evaluation reads."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_frcnn.inference.collect import collect, merge, propose

from keras_frcnn import data
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.images.files import to_image
from keras_frcnn.data.writers import shapes
from tests import fakes


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = shapes.make(
        tmp_path_factory.mktemp("shapes"), 5, 0, 0, shorter_side=(60, 90), longer_side=(91, 130)
    )
    settings = fakes.SMALL.replace(data_dir=str(folder))
    return data.load(settings, ("train",))


@pytest.fixture
def model(monkeypatch):
    fakes.run_eagerly(monkeypatch)
    return fakes.detector(
        score_threshold=0.1, rpn_nms_iou_threshold=0.3, test_post_nms_top_k=100, max_detections=300
    )


def test_an_image_that_cannot_be_decoded_is_named(model, dataset, tmp_path):
    path = str(tmp_path / "gone.jpg")
    gone = dataclasses.replace(dataset.records[0], path=path)
    with pytest.raises(ValueError, match=f"{path}: unreadable image"):
        collect(model, Dataset(dataset.class_names, [gone]), model.config)
    with pytest.raises(ValueError, match=f"{path}: unreadable image"):
        list(propose(model, Dataset(dataset.class_names, [gone]), model.config))


def test_detections_are_those_of_detect_by_image_id(model, dataset):
    detections, _ = collect(model, dataset, model.config)
    assert list(detections) == [record.image_id for record in dataset.records]
    answer = model.detect([to_image(record.path) for record in dataset.records])
    for i, image in enumerate(detections.values()):
        count = answer["num_detections"][i]
        assert 0 < len(image["scores"]) == count
        np.testing.assert_allclose(image["boxes"], answer["boxes"][i, :count], atol=1e-3)
        np.testing.assert_allclose(image["scores"], answer["scores"][i, :count], atol=1e-5)
        np.testing.assert_array_equal(image["labels"], answer["labels"][i, :count])


def test_images_may_share_batches(model, dataset):
    batches = []
    callback = keras.callbacks.LambdaCallback(
        on_predict_batch_end=lambda batch, logs: batches.append(batch)
    )
    alone = collect(model, dataset, model.config)
    together = collect(model, dataset, model.config, batch_size=2, callbacks=[callback])
    assert len(batches) == 3
    for one, other in (
        *zip(alone[0].values(), together[0].values(), strict=True),
        *zip(alone[1], together[1], strict=True),
    ):
        for name, value in one.items():
            np.testing.assert_allclose(other[name], value, atol=1e-3)


def test_proposals_come_without_padding_best_first(model, dataset):
    _, proposals = collect(model, dataset, model.config)
    assert len(proposals) == len(dataset.records)
    counts = set()
    for record, image in zip(dataset.records, proposals, strict=True):
        boxes, scores = image["boxes"], image["scores"]
        counts.add(len(boxes))
        assert boxes.shape == (len(scores), 4)
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes <= np.array([record.height, record.width] * 2) + 1e-3).all()
        assert boxes[:, 2:].max() > 64  # pixels of the image, not of the network's input
        assert (np.diff(scores) <= 0).all()
        assert (scores > 0).all()
    assert max(counts) < 100  # of which some are padded to


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_rpn_alone_proposes_what_it_does_for_detections(dataset, jit_compile, tmp_path):
    model = fakes.detector(rpn_nms_iou_threshold=0.3, jit_compile=jit_compile)
    model.compile("sgd", jit_compile=jit_compile)
    _, expected = collect(model, dataset, model.config.replace(jit_compile=False))
    stale = tmp_path / "other.npz"  # the RPN's are asked for, whatever the detector would have
    found = list(propose(model, dataset, model.config.replace(test_proposals=str(stale))))
    assert [image_id for image_id, _, _ in found] == [r.image_id for r in dataset.records]
    for (_, boxes, scores), other in zip(found, expected, strict=True):
        assert len(boxes) == len(other["boxes"]) > 5
        np.testing.assert_allclose(boxes, other["boxes"], atol=1e-2)
        np.testing.assert_allclose(scores, other["scores"], atol=1e-5)


def test_scores_fall_to_the_last_bit(model, dataset, monkeypatch):
    scores = tf.constant([[0.75, 0.5, np.nextafter(np.float32(0.5), np.float32(1)), 0.25, 0.0]])
    boxes = tf.ones([1, 5, 4]) * [0.0, 0.0, 9.0, 9.0]
    answer = (boxes, scores, tf.constant([[True, True, True, True, False]]))
    monkeypatch.setattr(type(model), "propose_step", lambda self, inputs, training: answer)
    for _, found, falling in propose(model, dataset, model.config):
        assert len(found) == 4
        assert falling.tolist() == [0.75, 0.5, 0.5, 0.25]


def test_training_has_its_own_number_of_proposals(model, dataset):
    settings = model.config.replace(test_post_nms_top_k=3)
    few = fakes.detector(**{"test_post_nms_top_k": 3, "rpn_nms_iou_threshold": 0.3})
    test, training = (list(propose(few, dataset, settings, training=t)) for t in (False, True))
    for (_, boxes, _), (_, more, _) in zip(test, training, strict=True):
        assert len(boxes) == 3 < len(more)
        np.testing.assert_array_equal(more[:3], boxes)


def test_several_sizes_are_each_detected_at_and_joined(model, dataset):
    config = model.config
    small, large = (
        collect(model, dataset, config.replace(shorter_side=s, longer_side=s * 3 // 2))
        for s in (48, 64)
    )
    batches = []
    callback = keras.callbacks.LambdaCallback(
        on_predict_batch_end=lambda batch, logs: batches.append(batch)
    )
    joined, proposals = collect(
        model, dataset, config.replace(test_shorter_sides=(48, 64)), callbacks=[callback]
    )
    assert len(batches) == 2 * len(dataset.records)
    for record, image in zip(dataset.records, proposals, strict=True):
        key = record.image_id
        both = [small[0][key], large[0][key]]
        expected = merge(both, len(dataset.class_names), config)
        for one in both:  # each size has its part in it
            assert np.isin(expected["scores"], one["scores"]).any()
        for name, values in expected.items():
            np.testing.assert_allclose(joined[key][name], values, atol=1e-3)
        own = small[1][dataset.records.index(record)]
        np.testing.assert_allclose(image["boxes"], own["boxes"], atol=1e-3)
