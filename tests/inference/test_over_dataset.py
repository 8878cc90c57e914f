"""Detections and proposals on all images of a data set, and merging those of several sizes."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.data.images.files import to_image
from keras_frcnn.data.writers import shapes
from keras_frcnn.inference.over_dataset import detect_dataset, merge_detections, propose_dataset
from tests import fakes

SETTINGS = fakes.SMALL.replace(
    score_threshold=0.1, rpn_nms_iou_threshold=0.3, test_post_nms_top_k=100, max_detections=300
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = shapes.make(
        tmp_path_factory.mktemp("shapes"), 5, 0, 0, shorter_side=(60, 90), longer_side=(91, 130)
    )
    settings = fakes.SMALL.replace(data_dir=str(folder))
    return data.load(settings, ("train",))


@pytest.fixture(scope="module")
def shared_model():
    return fakes.detector(
        score_threshold=0.1, rpn_nms_iou_threshold=0.3, test_post_nms_top_k=100, max_detections=300
    )


@pytest.fixture
def model(shared_model, monkeypatch):
    """One detector for all tests, which runs eagerly."""
    fakes.run_eagerly(monkeypatch)
    return shared_model


@pytest.fixture(scope="module")
def found(shared_model, dataset):
    """The detector's detections and proposals on the data set, one image at a time."""
    with pytest.MonkeyPatch.context() as patch:
        fakes.run_eagerly(patch)
        return detect_dataset(shared_model, dataset, SETTINGS)


def test_an_image_that_cannot_be_decoded_is_named(model, dataset, tmp_path):
    path = str(tmp_path / "gone.jpg")
    gone = dataclasses.replace(dataset.records[0], path=path)
    with pytest.raises(ValueError, match=f"{path}: unreadable image"):
        detect_dataset(model, Dataset(dataset.class_names, [gone]), SETTINGS)
    with pytest.raises(ValueError, match=f"{path}: unreadable image"):
        list(propose_dataset(model, Dataset(dataset.class_names, [gone]), SETTINGS))


def test_detections_are_those_of_detect_by_image_id(model, dataset, found):
    by_id, _ = found
    assert list(by_id) == [record.image_id for record in dataset.records]
    answer = model.detect([to_image(record.path) for record in dataset.records])
    for i, image in enumerate(by_id.values()):
        count = answer["num_detections"][i]
        assert 0 < len(image["scores"]) == count
        np.testing.assert_allclose(image["boxes"], answer["boxes"][i, :count], atol=1e-3)
        np.testing.assert_allclose(image["scores"], answer["scores"][i, :count], atol=1e-5)
        np.testing.assert_array_equal(image["labels"], answer["labels"][i, :count])


def test_images_may_share_batches(model, dataset, found):
    batches = []
    callback = keras.callbacks.LambdaCallback(
        on_predict_batch_end=lambda batch, logs: batches.append(batch)
    )
    alone = found
    together = detect_dataset(model, dataset, SETTINGS, batch_size=2, callbacks=[callback])
    assert sorted(batches) == list(range(len(dataset.records)))
    for one, other in (
        *zip(alone[0].values(), together[0].values(), strict=True),
        *zip(alone[1], together[1], strict=True),
    ):
        for name, value in one.items():
            np.testing.assert_allclose(other[name], value, atol=1e-3)


def test_proposals_come_without_padding_best_first(dataset, found):
    _, proposals = found
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
def test_the_rpn_alone_proposes_what_it_does_for_detections(dataset, found, jit_compile, tmp_path):
    changes = {"rpn_nms_iou_threshold": 0.3, "test_post_nms_top_k": 100}
    model = fakes.detector(jit_compile=jit_compile, **changes)
    model.compile("sgd", jit_compile=jit_compile)
    stale = tmp_path / "other.npz"  # the RPN is asked, whatever proposals the detector would use
    settings = SETTINGS.replace(jit_compile=jit_compile, test_proposals=str(stale))
    proposals = list(propose_dataset(model, dataset, settings))
    assert [image_id for image_id, _, _ in proposals] == [r.image_id for r in dataset.records]
    for (_, boxes, scores), expected in zip(proposals, found[1], strict=True):
        assert len(boxes) == len(expected["boxes"]) > 5
        np.testing.assert_allclose(boxes, expected["boxes"], atol=1e-2)
        np.testing.assert_allclose(scores, expected["scores"], atol=1e-5)


def test_scores_fall_to_the_last_bit(model, dataset, monkeypatch):
    scores = tf.constant([[0.75, 0.5, np.nextafter(np.float32(0.5), np.float32(1)), 0.25, 0.0]])
    boxes = tf.ones([1, 5, 4]) * [0.0, 0.0, 9.0, 9.0]
    answer = (boxes, scores, tf.constant([[True, True, True, True, False]]))
    monkeypatch.setattr(type(model), "propose_step", lambda self, inputs, training: answer)
    for _, found, falling in propose_dataset(model, dataset, SETTINGS):
        assert len(found) == 4
        assert falling.tolist() == [0.75, 0.5, 0.5, 0.25]


def test_training_has_its_own_number_of_proposals(dataset, monkeypatch):
    fakes.run_eagerly(monkeypatch)
    settings = SETTINGS.replace(test_post_nms_top_k=3)
    few = fakes.detector(test_post_nms_top_k=3, rpn_nms_iou_threshold=0.3)
    test, training = (
        list(propose_dataset(few, dataset, settings, training=training))
        for training in (False, True)
    )
    for (_, boxes, _), (_, more, _) in zip(test, training, strict=True):
        assert len(boxes) == 3 < len(more)
        np.testing.assert_array_equal(more[:3], boxes)


def test_detections_at_several_sizes_are_joined(model, dataset, found):
    small = detect_dataset(model, dataset, SETTINGS.replace(shorter_side=48, longer_side=72))
    large = found  # 64 and 96
    batches = []
    callback = keras.callbacks.LambdaCallback(
        on_predict_batch_end=lambda batch, logs: batches.append(batch)
    )
    joined, proposals = detect_dataset(
        model, dataset, SETTINGS.replace(test_shorter_sides=(48, 64)), callbacks=[callback]
    )
    assert len(batches) == 2 * len(dataset.records)
    for record, image in zip(dataset.records, proposals, strict=True):
        key = record.image_id
        both = [small[0][key], large[0][key]]
        expected = merge_detections(both, len(dataset.class_names), SETTINGS)
        for one in both:  # each size has its part in it
            assert np.isin(expected["scores"], one["scores"]).any()
        for name, values in expected.items():
            np.testing.assert_allclose(joined[key][name], values, atol=1e-3)
        own = small[1][dataset.records.index(record)]
        np.testing.assert_allclose(image["boxes"], own["boxes"], atol=1e-3)


# --- merging --------------------------------------------------------------------------------------


def detections(*rows):
    """Detections from rows (score, label, y1, x1, y2, x2)."""
    rows = np.array(rows, np.float32).reshape(-1, 6)
    return {"boxes": rows[:, 2:], "scores": rows[:, 0], "labels": rows[:, 1].astype(np.int32)}


def rows_of(merged):
    return [
        (round(float(score), 3), int(label), *box.tolist())
        for score, label, box in zip(
            merged["scores"], merged["labels"], merged["boxes"], strict=True
        )
    ]


def test_duplicates_are_removed_within_each_class_and_the_best_come_first():
    small = detections((0.6, 0, 0, 0, 10, 10), (0.5, 1, 0, 0, 10, 10))
    large = detections((0.9, 0, 0, 0, 10, 9), (0.3, 0, 50, 50, 60, 60))
    merged = merge_detections([small, large], 3, Config(nms_iou_threshold=0.5))
    assert rows_of(merged) == [
        (0.9, 0, 0, 0, 10, 9),
        (0.5, 1, 0, 0, 10, 10),
        (0.3, 0, 50, 50, 60, 60),
    ]


def test_the_settings_decide_what_is_a_double_and_how_many_stay():
    # IoU 1 / 3: 5 x 10 pixels in common of 150.
    some = [
        detections((0.6, 0, 0, 0, 10, 10)),
        detections((0.8, 0, 5, 0, 15, 10), (0.7, 1, 0, 0, 9, 9)),
    ]
    assert len(merge_detections(some, 2, Config(nms_iou_threshold=0.34))["scores"]) == 3
    assert len(merge_detections(some, 2, Config(nms_iou_threshold=0.33))["scores"]) == 2
    best = merge_detections(some, 2, Config(nms_iou_threshold=0.34, max_detections=2))
    assert rows_of(best) == [(0.8, 0, 5, 0, 15, 10), (0.7, 1, 0, 0, 9, 9)]


def test_a_score_of_0_counts_and_nothing_found_is_nothing():
    merged = merge_detections(
        [detections(), detections((0.0, 1, 0, 0, 4, 4))],
        2,
        Config(score_threshold=0.0),
    )
    assert rows_of(merged) == [(0.0, 1, 0, 0, 4, 4)]
    assert rows_of(merge_detections([detections(), detections()], 2, Config())) == []
