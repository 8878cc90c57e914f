"""The metric of a data set."""

import numpy as np
import pytest

from keras_frcnn.evaluation.metrics import coco, voc
from keras_frcnn.evaluation.metrics.evaluate import choose_metric, evaluate
from keras_frcnn.evaluation.report import scalars
from tests.evaluation.handmade import dataset, found, record


@pytest.mark.parametrize(
    ("metric", "form", "expected"),
    [
        ("auto", "voc", "voc"),
        ("auto", "coco", "coco"),
        ("voc", "coco", "voc"),
        ("coco", "voc", "coco"),
    ],
)
def test_auto_is_the_metric_of_the_datas_form(metric, form, expected):
    assert choose_metric(metric, form) == expected
    data = dataset(record("a", ([0, 0, 10, 10], 0)), class_names=("cat", "dog"))
    data.form = form
    detections = {"a": found(([0, 0, 10, 6], 0.9))}  # IoU 0.6
    result = evaluate(data, detections, metric)
    kind, name, value = {
        "voc": (voc.Result, "mAP_area", 1),
        "coco": (coco.Result, "COCO/AP", 0.3),
    }[expected]
    figures = scalars.of_result(result, {})
    assert isinstance(result, kind) and next(iter(figures)) == name
    assert figures[name] == pytest.approx(value)
    assert np.isnan(list(figures.values())[-1]) and list(figures)[-1].endswith("/dog")


def test_the_iou_threshold_is_vocs():
    data = dataset(record("a", ([0, 0, 10, 10], 0)))
    data.form = "voc"
    detections = {"a": found(([0, 0, 10, 6], 0.9))}
    result = evaluate(data, detections, iou_threshold=0.7)
    assert scalars.of_result(result, {}) == {"mAP_area": 0, "mAP_11point": 0, "AP_area/cat": 0}
