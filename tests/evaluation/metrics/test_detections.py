"""Detections in memory: malformed ones are named."""

import numpy as np
import pytest

from keras_frcnn.evaluation.metrics.detections import check_detections
from keras_frcnn.evaluation.report import voc_files
from tests.evaluation.handmade import arrays, dataset, record, tables

NAMES = ("cat", "dog")
BOX = [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"boxes": np.zeros((0, 4)), "scores": np.zeros(0)},
            "must be a dict with boxes, scores and labels",
        ),
        (None, "must be a dict"),
        (
            arrays(BOX, [0.5], [0]) | {"boxes": np.zeros((1, 5))},
            r"shapes .* \(1, 5\), \(1,\) and \(1,\)",
        ),
        (arrays(BOX, [0.5, 0.5], [0]), "shapes"),
        (arrays(BOX, [0.5], [0, 0]), "shapes"),
        (arrays(BOX, [0.5], [0]) | {"scores": np.float32(0.5)}, "shapes"),
        (arrays(BOX, [0.5], [0]) | {"labels": np.array([0.0])}, "labels integers. .* float64"),
        (arrays(BOX, [0.5], [0]) | {"scores": np.array(["0.5"])}, "must be numbers"),
        (arrays([[0, 0, np.nan, 1]], [0.5], [0]), "boxes must be finite"),
        (arrays([[0, 0, np.inf, 1]], [0.5], [0]), "boxes must be finite"),
        (arrays([[0, 0, 1e10, 1]], [0.5], [0]), "boxes must be finite"),
        (arrays(BOX, [np.nan], [0]), "scores must be finite"),
        (arrays(BOX, [0.5], [2]), "between 0 and 1, .* Received: 2 to 2"),
        (arrays(BOX, [0.5], [-1]), "without padding rows. Received: -1 to -1"),
    ],
)
def test_malformed_detections_are_named(tmp_path, values, message):
    detections = {"good": arrays(BOX, [0.5], [1]), "bad": values}
    with pytest.raises(ValueError, match=f"image 'bad': .*{message}"):
        check_detections(detections, 2)
    with pytest.raises(ValueError, match="image 'bad'"):
        tables(dataset(record("good"), record("bad"), class_names=NAMES), detections)
    with pytest.raises(ValueError, match="image 'bad'"):
        voc_files.write_voc(tmp_path, detections, NAMES, "test")
    assert list(tmp_path.iterdir()) == []


def test_image_ids_must_be_texts_or_integers():
    with pytest.raises(ValueError, match=r"Image ids must be strings or integers. Received: 1.5"):
        check_detections({1.5: arrays(BOX, [0.5], [0])}, 1)


def test_a_table_has_the_order_of_the_images_and_keeps_that_within_an_image():
    data = dataset(record("b"), record("a"), record("c"), class_names=NAMES)
    detections = {
        "c": arrays([[0, 0, 1, 2]], [0.5], [1]),
        "b": arrays([[1, 2, 4, 8], [0, 0, 3, 3]], [0.25, 0.75], [0, 1]),
    }
    _, table = tables(data, detections)
    assert (table.rows.tolist(), table.index_in_image.tolist()) == ([0, 0, 2], [0, 1, 0])
    assert table.bboxes.tolist() == [[2, 1, 6, 3], [0, 0, 3, 3], [0, 0, 2, 1]]
    assert (table.scores.tolist(), table.labels.tolist()) == ([0.25, 0.75, 0.5], [0, 1, 1])
    assert table.select(table.scores >= 0.5).index_in_image.tolist() == [1, 0]
