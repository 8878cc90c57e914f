"""Selective Search and EdgeBoxes find what is visible, in the package's form of boxes."""

import numpy as np
import pytest

from keras_frcnn.inference import classic_proposals
from keras_frcnn.ops import boxes as box_ops

cv2 = pytest.importorskip("cv2", reason="pip install 'keras-frcnn[proposals]'")

SQUARE = [30.0, 50.0, 70.0, 110.0]


@pytest.fixture
def image():
    image = np.random.default_rng(0).integers(0, 20, (100, 140, 3)).astype(np.uint8)
    image[30:70, 50:110] += np.array([200, 60, 30], np.uint8)
    return image


class Edges:
    """Takes the place of the learned model: edges are where grey values change."""

    def detectEdges(self, image):
        grey = image.mean(axis=2)
        edges = np.abs(np.diff(grey, axis=0, append=0)) + np.abs(np.diff(grey, axis=1, append=0))
        edges[[0, -1]], edges[:, [0, -1]] = 0, 0
        return (edges > 0.2).astype(np.float32)

    def computeOrientation(self, edges):
        across = np.abs(np.diff(edges, axis=0, append=0)) > 0
        return np.where(across, np.float32(np.pi / 2), np.float32(0))

    def edgesNms(self, edges, orientation):
        return edges


@pytest.fixture
def edge_model(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2.ximgproc, "createStructuredEdgeDetection", lambda path: Edges())
    path = tmp_path / "model.yml.gz"
    path.write_bytes(b"a model")
    return str(path)


def assert_found(boxes, scores, shape, at_least):
    assert boxes.dtype == scores.dtype == np.float32
    assert boxes.shape == (len(scores), 4) and len(scores) > 1
    assert (np.diff(scores) <= 0).all()
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= shape).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert box_ops.iou(np.array([SQUARE], "float32"), boxes).numpy().max() > at_least


def test_selective_search_finds_a_square_and_equal_images_equal_boxes(image):
    propose = classic_proposals.proposer("selective_search")
    boxes, scores = propose(image)
    assert_found(boxes, scores, (100, 140), 0.95)
    propose(image[::-1])
    again, _ = propose(image)
    np.testing.assert_array_equal(again, boxes)
    few, _ = classic_proposals.proposer("selective_search", limit=2)(image)
    np.testing.assert_array_equal(few, boxes[:2])


def test_selective_search_reads_rgb(image, monkeypatch):
    seen = []
    real = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation

    class Spy:
        def __init__(self):
            self.search = real()
            self.switchToSelectiveSearchFast = self.search.switchToSelectiveSearchFast
            self.process = self.search.process

        def setBaseImage(self, image):
            seen.append(image)
            self.search.setBaseImage(image)

    monkeypatch.setattr(cv2.ximgproc.segmentation, "createSelectiveSearchSegmentation", Spy)
    classic_proposals.proposer("selective_search")(image)
    np.testing.assert_array_equal(seen[0], image[..., ::-1])  # OpenCV's order


def test_edge_boxes_finds_a_square_first(image, edge_model):
    boxes, scores = classic_proposals.proposer("edge_boxes", edge_model)(image)
    assert_found(boxes, scores, (100, 140), 0.7)
    assert scores[0] > scores[-1] > 0


def test_a_plain_image_gives_few_boxes_or_none(edge_model):
    plain = np.zeros((40, 50, 3), np.uint8)
    boxes, _ = classic_proposals.proposer("selective_search")(plain)
    assert boxes.tolist() == [[0, 0, 40, 50]]
    boxes, scores = classic_proposals.proposer("edge_boxes", edge_model)(plain)
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_processes_give_the_same_in_order_and_take_few_images_at_a_time(image):
    images = [image[:, : 60 + 10 * number] for number in range(8)]
    expected = [classic_proposals.proposer("selective_search", limit=30)(one) for one in images]
    taken = []
    with classic_proposals.processes(1, "selective_search", "", 30) as propose:
        found = propose(taken.append(n) or one for n, one in enumerate(images))
        first = next(found)
        assert taken == [0, 1, 2]  # one at work, and the next two
        for one, other in zip([first, *found], expected, strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])
    assert taken == list(range(8))


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="selective_search, edge_boxes. Received: 'rpn'"):
        classic_proposals.proposer("rpn")
    with pytest.raises(
        ValueError, match="edge_boxes needs the structured-edge model.*Received: ''"
    ):
        classic_proposals.proposer("edge_boxes")
    path = tmp_path / "model.yml.gz"
    path.write_bytes(b"no model")
    with pytest.raises(ValueError, match="model.yml.gz is not a structured-edge model"):
        classic_proposals.proposer("edge_boxes", str(path))
    monkeypatch.delattr(cv2, "ximgproc")
    with pytest.raises(ValueError, match=r"pip install 'keras-frcnn\[proposals\]'.*lacks ximgproc"):
        classic_proposals.proposer("selective_search")
