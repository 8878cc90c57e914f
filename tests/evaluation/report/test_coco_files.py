"""COCO's results JSON: what is written, and what is read back."""

import dataclasses
import json

import numpy as np
import pytest

from keras_frcnn.evaluation.report import coco_files
from tests.evaluation.handmade import arrays, crowded_detections, dataset, record, tables

NAMES = ("cat", "dog")


def truth_and_table(detections, category_ids=(1, 2)):
    data = dataset(*map(record, detections), class_names=NAMES)
    truth, table = tables(data, detections)
    return dataclasses.replace(truth, category_ids=category_ids), table


def assert_same(read, expected):
    for field in dataclasses.fields(expected):
        value = getattr(read, field.name)
        np.testing.assert_array_equal(value, getattr(expected, field.name))
        assert value.dtype == getattr(expected, field.name).dtype


def test_golden(tmp_path):
    path = tmp_path / "results.json"
    detections = {
        "a/1": arrays([[10, 20, 30.5, 60]], [0.5], [1]),
        np.int64(7): arrays([[0, 0, 1, 2]], [0.25], [0]),
    }
    truth, table = truth_and_table(detections)
    coco_files.write(path, table, truth)
    assert json.loads(path.read_text()) == [
        {"image_id": "a/1", "category_id": 2, "bbox": [20, 10, 40, 20.5], "score": 0.5},
        {"image_id": 7, "category_id": 1, "bbox": [0, 0, 2, 1], "score": 0.25},
    ]
    assert_same(coco_files.read(path, truth), table)


def test_category_ids(tmp_path):
    path = tmp_path / "results.json"
    detections = {1: arrays([[0, 0, 1, 1], [0, 0, 2, 2]], [0.5, 0.5], [1, 0])}
    truth, table = truth_and_table(detections, (17, 90))
    coco_files.write(path, table, truth)
    assert [entry["category_id"] for entry in json.loads(path.read_text())] == [90, 17]
    assert_same(coco_files.read(path, truth), table)
    with pytest.raises(
        ValueError, match=r"entry 0: category_id must be one of \[1, 2\]. Received: 90"
    ):
        coco_files.read(path, dataclasses.replace(truth, category_ids=(1, 2)))


def test_a_round_trip_is_exact(tmp_path):
    truth, table = truth_and_table(crowded_detections(0, ["x", "VOC2007/000001", 3]))
    coco_files.write(tmp_path / "r.json", table, truth)
    assert_same(coco_files.read(tmp_path / "r.json", truth), table)


def test_entries_in_any_order_and_with_further_fields_are_read(tmp_path):
    detections = {
        "a": arrays([[0, 0, 1, 1], [0, 0, 2, 2]], [0.5, 0.75], [1, 0]),
        "b": arrays([[3, 3, 4, 5]], [0.25], [0]),
    }
    truth, table = truth_and_table(detections)
    coco_files.write(tmp_path / "r.json", table, truth)
    entries = json.loads((tmp_path / "r.json").read_text())
    entries = [entry | {"segmentation": {"counts": "x"}, "id": 3} for entry in entries]
    text = json.dumps([entries[2], *entries[:2]])
    (tmp_path / "r.json").write_text(text, encoding="utf-8-sig")  # with a byte order mark
    assert_same(coco_files.read(tmp_path / "r.json", truth), table)


def test_images_without_detections_are_not_in_the_file(tmp_path):
    truth, table = truth_and_table({"x": arrays([], [], [])})
    coco_files.write(tmp_path / "r.json", table, truth)
    assert json.loads((tmp_path / "r.json").read_text()) == []
    assert_same(coco_files.read(tmp_path / "r.json", truth), table)


@pytest.mark.parametrize("category_ids", [(1,), (1, 1), (1, 2, 3)])
def test_category_ids_must_fit(tmp_path, category_ids):
    truth, table = truth_and_table({}, category_ids)
    with pytest.raises(ValueError, match="one different id for each of 2 classes"):
        coco_files.write(tmp_path / "r.json", table, truth)
    assert list(tmp_path.iterdir()) == []


GOOD = {"image_id": "x", "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": None}, r"image_id: Expected `int \| str`, got `null`"),
        ({"image_id": True}, r"image_id: Expected `int \| str`, got `bool`"),
        ({"image_id": ["x"]}, "image_id: Expected"),
        ({"image_id": 1.5}, "image_id: Expected"),
        ({"category_id": 0}, r"category_id must be one of \[1, 2\]. Received: 0"),
        ({"category_id": 3}, "category_id must be"),
        ({"category_id": True}, "category_id: Expected `int`, got `bool`"),
        ({"category_id": 1.0}, "category_id: Expected"),
        ({"category_id": {}}, "category_id: Expected"),
        ({"bbox": [1, 2, 3]}, "bbox: Expected `array` of length 4"),
        ({"bbox": [1, 2, 3, "4"]}, r"bbox\[3\]: Expected `float`, got `str`"),
        ({"bbox": [1, 2, 3, True]}, r"bbox\[3\]: Expected"),
        ({"bbox": [1, 2, 3, 10**30]}, "bbox must be four finite numbers. Received: .*1e[+]30"),
        ({"bbox": "1234"}, "bbox: Expected `array`, got `str`"),
        ({"bbox": [1, 2, -3, 4]}, "bbox must have sides of at least 0. Received: .*-3"),
        ({"bbox": [1, 2, 3, -0.5]}, "bbox must have sides"),
        ({"score": None}, "score: Expected `float`, got `null`"),
        ({"score": "0.5"}, "score: Expected"),
        ({"score": 1e10}, "score must be a finite number"),
    ],
)
def test_a_bad_entry_is_named(tmp_path, change, message):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps([GOOD, GOOD | change]))
    truth, _ = truth_and_table({"x": arrays([], [], [])})
    with pytest.raises(ValueError, match=rf"bad\.json, entry 1: {message}"):
        coco_files.read(path, truth)


@pytest.mark.parametrize("key", GOOD)
def test_a_missing_key_is_named(tmp_path, key):
    (tmp_path / "bad.json").write_text(json.dumps([{k: v for k, v in GOOD.items() if k != key}]))
    with pytest.raises(
        ValueError, match=rf"bad\.json, entry 0: Object missing required field `{key}`"
    ):
        coco_files.read(tmp_path / "bad.json", truth_and_table({})[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be a JSON file"),
        (b"[{", "must be a JSON file"),
        (b"\xff\xfe\xfa", "must be a JSON file"),
        (b"[" * 100_000, "entry 0: Expected `object`, got `array`"),
        (b'[{"x": ' + b"[" * 100_000, "must be a JSON file"),
        (b"[" + b"9" * 5000 + b"]", "entry 0: Number out of range"),
        (b'[{"score": NaN}]', "must be a JSON file.*byte 11"),
        (b'[{"score": -Infinity}]', "must be a JSON file"),
        (b'{"annotations": []}', "must hold a list"),
        (b"3", "must hold a list"),
        (b"[[]]", "entry 0: Expected `object`, got `array`"),
        (
            b'[{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1e999, 1], "score": 1}]',
            r"entry 0: bbox\[2\]: Number out of range",
        ),
    ],
)
def test_a_hostile_file_is_refused(tmp_path, content, message):
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        coco_files.read(tmp_path / "bad.json", truth_and_table({})[0])
    assert "bad.json" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.json must be a JSON file"):
        coco_files.read(tmp_path / "none.json", truth_and_table({})[0])
