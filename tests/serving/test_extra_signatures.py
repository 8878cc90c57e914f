"""The signatures with options, by tiles, and of the stages: by pencil, and against the model."""

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.serving import extra_signatures
from keras_frcnn.serving.export import save
from tests.serving.test_signatures import answer_of, encode


@pytest.fixture(scope="module")
def pencil(pencil_dir):
    return tf.saved_model.load(str(pencil_dir)).signatures


SMALL, LARGE = np.zeros((20, 40, 3), np.uint8), np.zeros((100, 200, 3), np.uint8)


def test_each_image_has_its_own_options(pencil):
    files = [encode(SMALL)] * 4 + [b"nonsense", encode(SMALL), encode(SMALL)]
    answer = answer_of(
        pencil["serve_options"],
        image_bytes=files,
        score_threshold=np.float32([-1, 0.6, 0.8, 0.1, 0.1, 1.5, np.nan]),
        max_detections=np.int32([0, 0, 0, 1, 1, 1, 1]),
    )
    assert answer["num_detections"].tolist() == [2, 1, 0, 1, 0, 0, 0]
    np.testing.assert_array_equal(answer["detection_scores"][0], [0.75, 0.5, 0])
    np.testing.assert_array_equal(answer["detection_scores"][3], [0.75, 0, 0])
    np.testing.assert_array_equal(answer["detection_classes"][3], [2, 0, 0])
    assert answer["detection_class_names"][3].tolist() == ["dög".encode(), b"", b""]
    statuses = [status.decode() for status in answer["status"]]
    assert statuses[:5] == ["", "", "", "", "unreadable image: expected JPEG or PNG"]
    assert statuses[5] == statuses[6]
    assert statuses[5].startswith("score_threshold must be a number between 0 and 1")


def test_a_threshold_of_a_request_counts_as_that_of_detect(signatures, model, images):
    answer = answer_of(
        signatures["serve_options"],
        image_bytes=[encode(image) for image in images],
        score_threshold=np.full(len(images), 0.3, np.float32),
        max_detections=np.full(len(images), 7, np.int32),
    )
    for row, image in enumerate(images):
        expected = model.detect(image, score_threshold=0.3)[:7]
        count = int(answer["num_detections"][row])
        assert count == len(expected) > 0
        np.testing.assert_allclose(answer["detection_scores"][row, :count], expected.scores)
        np.testing.assert_allclose(
            answer["detection_boxes_pixels"][row, :count], expected.boxes, atol=1e-3
        )


def test_tiles_are_joined_in_the_pixels_of_the_image(pencil):
    """The pencil detector finds a cat in all of each tile: the seams cut one large cat."""
    answer = answer_of(
        pencil["serve_tiled"],
        image_bytes=[encode(SMALL), encode(LARGE)],
        tile=np.int32([100, 100]),
        overlap=np.float32([0.2, 0.2]),
    )
    assert answer["num_detections"].tolist() == [2, 3]
    np.testing.assert_array_equal(
        answer["detection_boxes_pixels"][0], [[0, 0, 10, 20], [0, 0, 20, 40], [0, 0, 0, 0]]
    )
    # The dogs of the tiles at x = 0, 50 and 100 do not overlap; three rows are all that there are.
    np.testing.assert_array_equal(
        answer["detection_boxes_pixels"][1], [[0, 0, 50, 50], [0, 50, 50, 100], [0, 100, 50, 150]]
    )
    np.testing.assert_allclose(answer["detection_boxes"][1, 2], [0, 0.5, 0.5, 0.75])
    assert answer["status"].tolist() == [b"", b""]


@pytest.mark.parametrize(
    ("tile", "overlap"), [(10, 0.2), (-5, 0.2), (64, 0.95), (64, -0.1), (64, float("nan"))]
)
def test_impossible_tiles_are_refused_alone(pencil, tile, overlap):
    answer = answer_of(
        pencil["serve_tiled"],
        image_bytes=[encode(SMALL)] * 2,
        tile=np.int32([tile, 64]),
        overlap=np.float32([overlap, 0.2]),
    )
    assert answer["num_detections"].tolist() == [0, 2]
    assert answer["status"][0].decode().startswith("tile must be at least 64")
    assert answer["status"][1] == b""


def test_too_many_tiles_are_refused(pencil, monkeypatch):
    image = np.zeros((64, 64 * 1100, 3), np.uint8)
    answer = answer_of(
        pencil["serve_tiled"],
        image_bytes=[encode(image)],
        tile=np.int32([64]),
        overlap=np.float32([0]),
    )
    assert f"at most {extra_signatures.MOST_TILES} tiles" in answer["status"][0].decode()


def test_proposals_are_those_of_the_model(signatures, model, images):
    files = [encode(images[0]), b"", encode(images[1])]
    answer = answer_of(signatures["serve_proposals"], image_bytes=files)
    assert answer["num_proposals"][1] == 0
    assert answer["status"][1] == b"unreadable image: the file is empty"
    for row, image in ((0, images[0]), (2, images[1])):
        expected = model.propose_step(model.make_inputs(image[np.newaxis]))
        count = int(answer["num_proposals"][row])
        assert count == int(np.sum(expected.valid)) > 5
        np.testing.assert_allclose(
            answer["proposal_boxes_pixels"][row], expected.boxes[0], atol=1e-3
        )
        np.testing.assert_allclose(answer["proposal_scores"][row], expected.scores[0], atol=1e-5)
        size = np.tile(image.shape[:2], 2)
        np.testing.assert_allclose(
            answer["proposal_boxes"][row], np.clip(expected.boxes[0] / size, 0, 1), atol=1e-5
        )


def test_raw_outputs_by_pencil(pencil):
    answer = answer_of(pencil["serve_raw"], input_tensor=SMALL[np.newaxis])
    assert answer.keys() == {"raw_boxes", "raw_boxes_pixels", "raw_scores"}
    np.testing.assert_array_equal(
        answer["raw_boxes_pixels"],
        [[[[0, 0, 10, 20], [0, 0, 5, 10]], [[0, 0, 20, 40], [0, 0, 10, 20]], [[0] * 4] * 2]],
    )
    np.testing.assert_array_equal(
        answer["raw_boxes"],
        [[[[0, 0, 0.5, 0.5], [0, 0, 0.25, 0.25]], [[0, 0, 1, 1], [0, 0, 0.5, 0.5]], [[0] * 4] * 2]],
    )
    np.testing.assert_array_equal(answer["raw_scores"], [[[0.75, 0.375], [0.5, 0.25], [0, 0]]])


def test_suppression_elsewhere_finds_the_detections_of_the_model(signatures, model, images):
    """With a plain suppression in NumPy, from the boxes and scores before it."""
    decoder = model.roi_head.detection_decoder
    for image in images:
        raw = answer_of(signatures["serve_raw"], input_tensor=image[np.newaxis])
        boxes, scores = raw["raw_boxes_pixels"][0], raw["raw_scores"][0]
        np.testing.assert_allclose(
            raw["raw_boxes"][0], np.clip(boxes / np.tile(image.shape[:2], 2), 0, 1), atol=1e-6
        )
        found = []
        for label in range(scores.shape[1]):
            order = np.argsort(-scores[:, label], kind="stable")
            kept = []
            for row in order[scores[order, label] > decoder.score_threshold]:
                box = boxes[row, label]
                if all(iou(box, boxes[k, label]) <= decoder.nms_iou_threshold for k in kept):
                    kept.append(row)
            found += [(scores[row, label], label, *boxes[row, label]) for row in kept]
        found = np.array(sorted(found, key=lambda one: -one[0])[: decoder.max_detections])
        expected = model.detect(image)
        assert len(expected) > 5
        np.testing.assert_allclose(found[:, 0], expected.scores, atol=1e-5)
        np.testing.assert_array_equal(found[:, 1], expected.labels)
        np.testing.assert_allclose(found[:, 2:], expected.boxes, atol=1e-3)


def iou(a, b):
    shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    areas = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])
    return shared / (areas - shared)


def test_features_are_those_of_the_model(signatures, model, images):
    answer = answer_of(signatures["serve_features"], input_tensor=images[0][np.newaxis])
    (level,) = model.features(model.make_inputs(images[0][np.newaxis]))
    assert answer.keys() == {f"features_{level.stride}", f"cells_{level.stride}"}
    np.testing.assert_allclose(answer[f"features_{level.stride}"], level.features, atol=1e-4)
    np.testing.assert_array_equal(answer[f"cells_{level.stride}"], level.shape)


# --- batches of unlike images ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def batched(model, tmp_path_factory):
    """Signatures that detect on files in batches of at most two images."""
    folder = tmp_path_factory.mktemp("batched") / "model"
    save(model, folder, batch_pixels=2 * 96 * 96)
    return tf.saved_model.load(str(folder)).signatures


def test_a_batch_of_unlike_files_equals_singles(batched, signatures, images):
    wide = np.random.default_rng(1).integers(0, 256, (30, 200, 3), np.uint8)
    files = [*map(encode, [images[0], wide, images[1]]), b"nonsense", *map(encode, images)]
    for name in ("serve_bytes",):
        answer = answer_of(batched[name], image_bytes=files)
        alone = answer_of(signatures[name], image_bytes=files)
        np.testing.assert_array_equal(answer["status"], alone["status"])
        np.testing.assert_array_equal(answer["num_detections"], alone["num_detections"])
        for key in ("detection_scores", "detection_boxes", "detection_classes"):
            np.testing.assert_allclose(answer[key], alone[key], atol=1e-5)
        np.testing.assert_allclose(
            answer["detection_boxes_pixels"], alone["detection_boxes_pixels"], atol=1e-3
        )
        np.testing.assert_array_equal(
            answer["detection_class_names"], alone["detection_class_names"]
        )
    assert alone["num_detections"].tolist().count(0) == 1


@pytest.mark.parametrize("files", [[], [b"nonsense", b""]])
def test_batches_of_no_readable_file_are_answered(batched, files):
    answer = answer_of(batched["serve_bytes"], image_bytes=np.array(files, object))
    assert answer["detection_boxes"].shape == (len(files), 100, 4)
    assert not answer["num_detections"].any()
    assert (answer["status"] != b"").all()


def test_a_file_with_broken_pixels_fails_alone_in_its_batch(batched, images):
    broken = encode(images[0])[:-200]
    answer = answer_of(batched["serve_bytes"], image_bytes=[encode(images[0]), broken])
    assert answer["num_detections"][0] > 0 and answer["num_detections"][1] == 0
    assert answer["status"].tolist() == [b"", b"unreadable image: its pixels cannot be decoded"]
