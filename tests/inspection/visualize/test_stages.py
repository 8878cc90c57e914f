"""The panels of the stages: what is drawn where and in which color, and what the legend counts."""

import numpy as np
import pytest

from keras_frcnn.data.dataset import Dataset
from keras_frcnn.drawing import canvas
from keras_frcnn.evaluation.analysis import errors
from keras_frcnn.evaluation.metrics import ground_truth
from keras_frcnn.evaluation.metrics.detections import to_table
from keras_frcnn.inspection.visualize import stages
from tests.drawing.test_canvas import BAR, WHITE, is_color
from tests.inspection.anchor_fit.handmade import record

NAMES = ("cat", "dog")
SIDE = 800  # of all images here, so that nothing is scaled
GREY, GREEN, ORANGE, RED = (134, 139, 148), (0, 158, 115), (230, 149, 0), (220, 59, 46)
IMAGE = np.zeros((SIDE, SIDE, 3), np.uint8)
NOISE = {
    "boxes": np.float32([[650, 50, 750, 300]]),
    "labels": np.array([1]),
    "scores": np.array([0.9]),
}


def objects(*rows):
    """Objects from rows ``(box, label, dashed)``."""
    boxes, labels, dashed = zip(*rows, strict=True) if rows else ((), (), ())
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return {"boxes": boxes, "labels": np.array(labels, int), "dashed": np.array(dashed, bool)}


def pixels(panel):
    """The image of a panel, without its bars."""
    return np.asarray(panel)[-SIDE:]


def edges(panel, box, color, inset=1):
    """Shares of a box's four edges that have a color: top, bottom, left, right."""
    y1, x1, y2, x2 = box
    mask, i = is_color(pixels(panel), color), inset
    lines = (
        mask[y1 + i, x1:x2],
        mask[y2 - 1 - i, x1:x2],
        mask[y1:y2, x1 + i],
        mask[y1:y2, x2 - 1 - i],
    )
    return [line.mean() for line in lines]


@pytest.fixture
def legends(monkeypatch):
    """Collects the titles and the texts of the legends."""
    seen = []
    real = canvas.with_title

    def with_title(image, title, legend=(), has_scores=False):
        seen.append((title, [words for _, words, _ in legend]))
        return real(image, title, legend, has_scores)

    monkeypatch.setattr(stages, "with_title", with_title)
    return seen


def test_objects_are_solid_or_dashed(legends):
    boxes = [100, 100, 300, 400], [500, 100, 700, 400]
    panel = stages.draw_objects(
        IMAGE, objects((boxes[0], 0, False), (boxes[1], 1, True)), NAMES, "1 truth", "difficult"
    )
    assert edges(panel, boxes[0], canvas.class_color(0)) == [1, 1, 1, 1]
    shares = edges(panel, boxes[1], canvas.class_color(1))
    assert all(0.4 < share < 0.75 for share in shares)
    assert legends == [("1 truth", ["objects: 1", "difficult: 1"])]
    assert panel.size == (SIDE, SIDE + 2 * BAR)


def test_no_objects(legends):
    panel = stages.draw_objects(IMAGE, objects(), NAMES, "1", "difficult")
    assert not pixels(panel).any()
    assert legends == [("1", ["objects: 0"])]


def anchors_of(boxes, positive=(), negative=(), sampled=(), owners=(), ious=()):
    number = len(boxes)

    def mask(places):
        return np.isin(np.arange(number), places)

    values = {"objects": np.full(number, -1), "ious": np.zeros(number)}
    values["objects"][list(positive)], values["ious"][list(positive)] = owners, ious
    masks = {"positive": mask(positive), "negative": mask(negative), "sampled": mask(sampled)}
    return {"anchors": np.array(boxes, np.float32), **masks, **values}


def test_anchors(legends, monkeypatch):
    tags = []
    monkeypatch.setattr(
        canvas.Canvas, "tag", lambda self, box, text, color: tags.append((text, color))
    )
    boxes = [
        [100, 100, 300, 300],  # positive for object 0
        [400, 400, 600, 600],  # positive for object 1, sampled
        [420, 400, 640, 600],  # likewise, not sampled
        [700, 20, 760, 60],  # negative, sampled; around (730, 40)
        [20, 700, 60, 760],  # negative, not sampled; around (40, 730)
        [300, 20, 340, 60],  # neither
    ]
    matched = anchors_of(
        boxes, (0, 1, 2), (3, 4), (0, 1, 3), owners=(0, 1, 1), ious=(0.8, 0.75, 0.5)
    )
    given = objects(
        ([120, 120, 280, 280], 1, False),
        ([440, 440, 560, 560], 1, False),
        ([5, 650, 15, 690], 0, True),
    )
    panel = stages.draw_anchors(IMAGE, given, NAMES, matched, "3 anchors")
    # The color is the object's, not the class's.
    assert edges(panel, boxes[0], canvas.class_color(0)) == [1, 1, 1, 1]
    assert edges(panel, boxes[1], canvas.class_color(1)) == [1, 1, 1, 1]
    assert edges(panel, [440, 440, 560, 560], canvas.class_color(1)) == [1, 1, 1, 1]
    image = pixels(panel)
    assert not image[630:645, 450:550].any()  # the lower edge of what is not sampled
    assert is_color(image, WHITE)[730, 40] and not image[40, 730].any()
    assert not image[300:340, 20:60].any()
    assert is_color(image, GREY)[5:15, 650:690].any()
    assert sorted(tags) == [
        ("cat ignored", GREY),
        ("dog 1, 0.80", canvas.class_color(0)),
        ("dog 2, 0.75", canvas.class_color(1)),
    ]
    assert legends[0][1] == [
        "positive, in the object's color: 3, sampled 2",
        "negative (centres): 2, sampled 1",
        "neither: 1",
        "tags: positive anchors, best IoU",
    ]


def test_an_object_without_anchors():
    given = objects(([120, 120, 280, 280], 1, False))
    panel = stages.draw_anchors(IMAGE, given, NAMES, anchors_of([[0, 0, 9, 9]]), "3")
    assert edges(panel, [120, 120, 280, 280], canvas.class_color(0)) == [1, 1, 1, 1]


def test_the_best_proposals_in_the_color_of_their_score(legends):
    boxes = [[100, 100, 300, 300], [400, 100, 600, 300], [100, 400, 300, 600]]
    proposals = {"proposals": boxes, "scores": [0.2, 0.05, 0.9]}
    given = objects(([500, 500, 700, 700], 0, False))
    panel = stages.draw_proposals(IMAGE, given, proposals, 2, "4 proposals")
    assert min(edges(panel, boxes[0], canvas.score_color(0.2))) > 0.8  # its tag may hide some
    assert min(edges(panel, boxes[2], canvas.score_color(0.9))) > 0.8
    assert not pixels(panel)[400:600, 100:300].any()
    white, dark = (edges(panel, [500, 500, 700, 700], color) for color in (WHITE, (0, 0, 0)))
    assert all(0.4 < share < 0.75 for share in white)
    assert np.add(white, dark) == pytest.approx(1)
    assert legends[0][1][0].startswith("2 best of 3,")
    assert legends[0][1][1] == "objects: 1"


def test_objects_are_seen_on_white_too():
    panel = stages.draw_proposals(
        IMAGE + 255,
        objects(([500, 500, 700, 700], 0, False)),
        {"proposals": np.zeros((0, 4)), "scores": []},
        9,
        "4",
    )
    assert all(0.2 < share < 0.6 for share in edges(panel, [500, 500, 700, 700], (0, 0, 0)))


def test_regions_by_class_the_background_grey(legends):
    rois = [[100, 100, 300, 300], [400, 100, 600, 300], [100, 400, 300, 600], [400, 400, 600, 600]]
    panel = stages.draw_regions(IMAGE, rois, np.array([0, 2, 2, 0]), NAMES, "5 regions")
    assert edges(panel, rois[0], GREY) == [1, 1, 1, 1]
    assert edges(panel, rois[1], canvas.class_color(1)) == [1, 1, 1, 1]
    assert edges(panel, rois[3], GREY) == [1, 1, 1, 1]
    assert legends == [("5 regions", ["background: 2", "dog: 2"])]


def test_foreground_is_drawn_over_background():
    rois = [[100, 100, 300, 300]] * 2
    for labels in ([0, 1], [1, 0]):
        panel = stages.draw_regions(IMAGE, rois, np.array(labels), NAMES, "5")
        assert edges(panel, rois[0], canvas.class_color(0)) == [1, 1, 1, 1]


def detections_panel(detections, *others):
    boxes = [[100, 100, 300, 300], [500, 500, 700, 700], [20, 500, 90, 560]]
    one = record("one", SIDE, SIDE, boxes, [0, 1, 0], [False, False, True])
    found = {"boxes": [], "labels": [], "scores": []}
    for box, label, score in detections:
        for name, value in zip(found, (box, label, score), strict=True):
            found[name].append(value)
    found = {
        "boxes": np.array(found["boxes"], np.float32).reshape(-1, 4),
        "labels": np.array(found["labels"], int),
        "scores": np.array(found["scores"], float),
    }
    data = Dataset(NAMES, [*others, one])
    found = {"one": found} | {other.image_id: NOISE for other in others}
    truth = ground_truth.of_records(data)
    split = errors.split(truth, to_table(found, truth), score_threshold=0.5)
    return stages.draw_detections(IMAGE, split, len(others), "6 detections")


def test_detections_in_the_color_of_what_became_of_them(legends):
    right, near, nowhere = [100, 100, 300, 290], [500, 560, 700, 760], [600, 50, 750, 200]
    panel = detections_panel(
        [(right, 0, 0.9), (near, 1, 0.8), (nowhere, 1, 0.7), ([0, 0, 50, 50], 0, 0.4)]
    )
    assert min(edges(panel, right, GREEN)) > 0.8  # its tag may hide some
    assert min(edges(panel, nowhere, RED)) > 0.8
    # 140 x 200 of 2 x 200 x 200 - 140 x 200 pixels: IoU 0.54.
    assert "correct: 2" in legends[0][1] and "background: 1" in legends[0][1]
    assert legends[0][1][-1] == "objects not found: 0"
    assert not pixels(panel)[:50, :50].any()


def test_what_was_not_found_is_dashed(legends):
    panel = detections_panel([([520, 620, 720, 790], 1, 0.8)])  # IoU 0.24 with the dog
    assert edges(panel, [520, 620, 720, 790], ORANGE)[1] == 1
    for box in ([100, 100, 300, 300], [500, 500, 700, 700]):
        assert 0.3 < edges(panel, box, WHITE)[1] < 0.75
    assert not pixels(panel)[520:560, 20].any()  # the difficult object is not asked for
    assert legends == [("6 detections", ["localisation: 1", "objects not found: 2"])]


def test_other_images_do_not_matter(legends):
    other = record("other", SIDE, SIDE, [[0, 0, 40, 40]] * 3, [0] * 3, [False] * 3)
    panel = detections_panel([([100, 100, 300, 290], 0, 0.9)], other)
    assert not pixels(panel)[600:, :400].any()  # where it has a detection
    assert legends[0][1] == ["correct: 1", "objects not found: 1"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (40, 60), (3000, 20)])
def test_images_of_any_size(shape):
    height, width = shape
    given = objects(([0, 0, height, width], 0, False))
    image = np.zeros((*shape, 3), np.uint8)
    panel = stages.draw_objects(image, given, NAMES, "1", "difficult")
    scale = SIDE / max(shape)
    assert panel.height == max(1, round(height * scale)) + 2 * BAR
    assert panel.width == max(240, round(width * scale))


def test_malformed_objects_are_refused():
    with pytest.raises(ValueError, match="labels must be between 0 and 1. Received: 2"):
        stages.draw_objects(IMAGE, objects(([0, 0, 9, 9], 2, False)), NAMES, "1", "difficult")
    with pytest.raises(ValueError, match="dashed must have one value for each of 1 boxes"):
        broken = objects(([0, 0, 9, 9], 1, False)) | {"dashed": [True, False]}
        stages.draw_objects(IMAGE, broken, NAMES, "1", "difficult")
