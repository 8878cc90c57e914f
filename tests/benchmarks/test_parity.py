"""The comparison of an imported detector with its original: what counts as the same."""

import numpy as np
import pytest

from benchmarks.parity import __main__ as parity
from keras_frcnn.weights.importers import detector as importer


def answer(**changes):
    values = {
        "input": np.zeros((4, 6, 3)),
        "scale": np.array([2.0, 2.0, 2.0]),
        "level0": np.array([[1.0, -4.0]]),
        "proposals": np.array([[0.0, 0, 10, 20], [5, 5, 9, 9]]),
        "boxes": np.array([[0.0, 0, 20, 40]]),
        "scores": np.array([0.5]),
        "labels": np.array([3]),
    }
    return values | changes


SAME = {
    "grey levels": 0,
    "levels": 0,
    "proposals": 2,
    "other proposals": 0,
    "proposals' pixels": 0,
    "detections": 1,
    "other detections": 0,
    "detections' pixels": 0,
    "score": 0,
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"input": np.full((4, 6, 3), 0.25)}, {"grey levels": 0.5}),
        ({"input": np.zeros((4, 5, 3))}, {"grey levels": np.inf}),
        ({"level0": np.array([[1.0, -4.2]])}, {"levels": 0.05}),
        (
            {"proposals": np.array([[5, 5, 9, 9], [0.0, 0, 10, 20.0005]])},
            {"proposals' pixels": 5e-4},
        ),
        ({"proposals": np.array([[0.0, 0, 10, 20.002], [5, 5, 9, 9]])}, {"other proposals": 0.5}),
        # In pixels of the resized image, which has half the size.
        ({"boxes": np.array([[0.0, 0, 20, 40.001]])}, {"detections' pixels": 5e-4}),
        ({"boxes": np.array([[0.0, 0, 20, 40.003]])}, {"other detections": 1}),
        ({"scores": np.array([0.50005])}, {"score": 5e-5}),
        ({"scores": np.array([0.5002])}, {"other detections": 1}),
        ({"labels": np.array([4])}, {"other detections": 1}),
        (
            {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "labels": np.zeros(0)},
            {"other detections": 1},
        ),
    ],
)
def test_differences_are_found(changes, expected):
    found = parity.compare(answer(**changes), answer(), 2.0)
    assert found == pytest.approx(SAME | expected, rel=1e-3, abs=1e-9)


def test_every_model_that_can_be_imported_can_be_compared():
    assert {source: {*models.values()} for source, models in parity.MODELS.items()} == {
        source: {*models} for source, models in importer.MODELS.items()
    }


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model=COCO-Detection/faster_rcnn_R_50_C4_3x"], "--source=torchvision has no model"),
        (["--source=detectron2"], "--source=detectron2 needs --detectron2, the folder of its"),
    ],
)
def test_flags_that_do_not_fit_are_refused(flags, message, capsys, monkeypatch):
    monkeypatch.setattr(parity, "why_torch_is_missing", lambda python: "")
    with pytest.raises(SystemExit):
        parity.main(["--torch_python=python", *flags])
    assert message in capsys.readouterr().err
