import json

import numpy as np
import pytest

from keras_frcnn.evaluation.metrics import detections as results
from keras_frcnn.evaluation.report import voc_files

NAMES = ("cat", "dog")


def image(boxes, scores, labels):
    return {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "scores": np.array(scores, np.float32),
        "labels": np.array(labels, np.int32),
    }


def assert_same(read, expected, tolerance=0.0):
    assert list(read) == list(expected)
    for image_id, values in expected.items():
        np.testing.assert_allclose(read[image_id]["boxes"], values["boxes"], atol=tolerance, rtol=0)
        np.testing.assert_array_equal(read[image_id]["scores"], values["scores"])
        np.testing.assert_array_equal(read[image_id]["labels"], values["labels"])
        assert read[image_id]["boxes"].dtype == read[image_id]["scores"].dtype == np.float32
        assert read[image_id]["labels"].dtype == np.int32


def random_detections(seed, ids):
    generator = np.random.default_rng(seed)
    near = generator.uniform(0, 900, [len(ids), 20, 2]).astype(np.float32)
    boxes = np.concatenate([near, near + generator.uniform(0, 300, near.shape)], axis=2)
    scores = 1 - generator.uniform(0, 1, [len(ids), 20]) ** 12  # crowded at 1, as a softmax's are
    labels = np.sort(generator.integers(0, 2, [len(ids), 20]), axis=1)
    return {i: image(*values) for i, *values in zip(ids, boxes, scores, labels, strict=True)}


# --- COCO ---------------------------------------------------------------------------------------


def test_coco_golden(tmp_path):
    path = tmp_path / "results.json"
    detections = {
        "a/1": image([[10, 20, 30.5, 60]], [0.5], [1]),
        np.int64(7): image([[0, 0, 1, 2]], [0.25], [0]),
    }
    results.write_coco(path, detections, NAMES)
    assert json.loads(path.read_text()) == [
        {"image_id": "a/1", "category_id": 2, "bbox": [20, 10, 40, 20.5], "score": 0.5},
        {"image_id": 7, "category_id": 1, "bbox": [0, 0, 2, 1], "score": 0.25},
    ]
    assert_same(results.read_coco(path, NAMES), detections)


def test_coco_category_ids(tmp_path):
    path = tmp_path / "results.json"
    detections = {1: image([[0, 0, 1, 1], [0, 0, 2, 2]], [0.5, 0.5], [1, 0])}
    results.write_coco(path, detections, NAMES, category_ids=(17, 90))
    assert [entry["category_id"] for entry in json.loads(path.read_text())] == [90, 17]
    assert_same(results.read_coco(path, NAMES, category_ids=(17, 90)), detections)
    with pytest.raises(
        ValueError, match=r"entry 0: category_id must be one of \[1, 2\]. Received: 90"
    ):
        results.read_coco(path, NAMES)


def test_coco_round_trip_is_exact(tmp_path):
    detections = random_detections(0, ["x", "VOC2007/000001", 3])
    results.write_coco(tmp_path / "r.json", detections, NAMES)
    assert_same(results.read_coco(tmp_path / "r.json", NAMES), detections)


def test_coco_images_without_detections_are_not_in_the_file(tmp_path):
    results.write_coco(tmp_path / "r.json", {"x": image([], [], [])}, NAMES)
    assert json.loads((tmp_path / "r.json").read_text()) == []
    assert results.read_coco(tmp_path / "r.json", NAMES) == {}


@pytest.mark.parametrize("category_ids", [(1,), (1, 1), (1, 2, 3)])
def test_coco_category_ids_must_fit(tmp_path, category_ids):
    with pytest.raises(ValueError, match="one different id for each of 2 classes"):
        results.write_coco(tmp_path / "r.json", {}, NAMES, category_ids)


GOOD = {"image_id": "x", "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": None}, "image_id must be"),
        ({"image_id": True}, "image_id must be"),
        ({"image_id": ["x"]}, "image_id must be"),
        ({"image_id": 1.5}, "image_id must be"),
        ({"category_id": 0}, "category_id must be"),
        ({"category_id": 3}, "category_id must be"),
        ({"category_id": True}, "category_id must be"),
        ({"category_id": 1.0}, "category_id must be"),
        ({"category_id": {}}, "category_id must be"),
        ({"bbox": [1, 2, 3]}, "bbox must be four"),
        ({"bbox": [1, 2, 3, "4"]}, "bbox must be four"),
        ({"bbox": [1, 2, 3, True]}, "bbox must be four"),
        ({"bbox": [1, 2, 3, 10**30]}, "bbox must be four"),
        ({"bbox": "1234"}, "bbox must be four"),
        ({"bbox": [1, 2, -3, 4]}, "bbox must have sides"),
        ({"bbox": [1, 2, 3, -0.5]}, "bbox must have sides"),
        ({"score": None}, "score must be"),
        ({"score": "0.5"}, "score must be"),
    ],
)
def test_coco_bad_entry_is_named(tmp_path, change, message):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps([GOOD, GOOD | change]))
    with pytest.raises(ValueError, match=rf"bad\.json, entry 1: {message}"):
        results.read_coco(path, NAMES)


@pytest.mark.parametrize("key", GOOD)
def test_coco_missing_key(tmp_path, key):
    (tmp_path / "bad.json").write_text(json.dumps([{k: v for k, v in GOOD.items() if k != key}]))
    with pytest.raises(
        ValueError, match=r"bad\.json, entry 0: must be an object with image_id, category_id"
    ):
        results.read_coco(tmp_path / "bad.json", NAMES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be a JSON file"),
        (b"[{", "must be a JSON file"),
        (b"\xff\xfe\xfa", "must be a JSON file"),
        (b"[" * 100_000, "must be a JSON file"),
        (b"[" + b"9" * 5000 + b"]", "must be a JSON file"),
        (b'[{"score": NaN}]', "NaN is not a JSON number"),
        (b'[{"score": -Infinity}]', "-Infinity is not a JSON number"),
        (b'{"annotations": []}', "must hold a list"),
        (b"3", "must hold a list"),
        (b"[[]]", "entry 0: must be an object"),
        (
            b'[{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1e999, 1], "score": 1}]',
            "entry 0: bbox",
        ),
    ],
)
def test_coco_hostile_file(tmp_path, content, message):
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        results.read_coco(tmp_path / "bad.json", NAMES)
    assert "bad.json" in str(caught.value)
    assert len(str(caught.value)) < 500


# --- VOC ----------------------------------------------------------------------------------------


def test_voc_golden(tmp_path):
    detections = {
        "VOC2007/000001": image([[10, 20, 30.5, 60], [0, 0, 1, 1]], [0.5, 1e-5], [1, 1]),
        "2": image([[4, 3, 6, 5]], [0.25], [1]),
    }
    voc_files.write_voc(tmp_path / "new" / "folder", detections, NAMES, "VOC2007/test")
    files = {path.name: path.read_text() for path in (tmp_path / "new" / "folder").iterdir()}
    assert files == {
        "comp4_det_VOC2007_test_cat.txt": "",
        "comp4_det_VOC2007_test_dog.txt": (
            "VOC2007/000001 0.5 21.00 11.00 60.00 30.50\n"
            "VOC2007/000001 9.99999975e-06 1.00 1.00 1.00 1.00\n"
            "2 0.25 4.00 5.00 5.00 6.00\n"
        ),
    }
    assert_same(voc_files.read_voc(tmp_path / "new" / "folder", NAMES, "VOC2007/test"), detections)


def test_voc_round_trip_keeps_scores_exact_and_boxes_to_two_decimals(tmp_path):
    detections = random_detections(1, ["x", "y"])
    voc_files.write_voc(tmp_path, detections, NAMES, "test")
    assert_same(voc_files.read_voc(tmp_path, NAMES, "test"), detections, tolerance=0.0051)


def test_voc_boxes_without_area_are_read_back(tmp_path):
    edges = np.linspace(0, 3, 601)  # every other one lies between two decimals
    boxes = np.stack([edges, edges, edges, edges], axis=1)
    voc_files.write_voc(tmp_path, {"x": image(boxes, edges, edges * 0)}, NAMES, "test")
    read = voc_files.read_voc(tmp_path, NAMES, "test")["x"]["boxes"]
    assert (read[:, 2:] >= read[:, :2]).all()
    np.testing.assert_allclose(read, boxes, atol=0.0051)


def test_voc_thin_boxes_that_rounding_turned_inside_out_are_read_without_area(tmp_path):
    (tmp_path / "comp4_det_test_cat.txt").write_text("x 0.5 5.0 7.0 3.95 5.95")
    expected = {"x": image([[6, 4, 6, 4]], [0.5], [0])}
    assert_same(voc_files.read_voc(tmp_path, ("cat",), "test"), expected)


def test_voc_reads_what_others_write(tmp_path):
    # Three decimals, integers, blanks, a byte order mark, Windows line ends, no last line end.
    content = "\ufeff000001  0.987 1 2 30.0 40\r\n\r\n000002\t1e-3 5 6 7 8"
    (tmp_path / "comp4_det_test_cat.txt").write_bytes(content.encode())
    (tmp_path / "comp4_det_test_dog.txt").write_bytes(b"")
    expected = {
        "000001": image([[1, 0, 40, 30]], [0.987], [0]),
        "000002": image([[5, 4, 8, 7]], [1e-3], [0]),
    }
    assert_same(voc_files.read_voc(tmp_path, NAMES, "test"), expected)


@pytest.mark.parametrize(
    "line",
    [
        "x 0.5 1 2 3",
        "x 0.5 1 2 3 4 5",
        "x",
        "x 0.5 1 2 3 four",
        "x nan 1 2 3 4",
        "x 0.5 1 2 inf 4",
        "x 0.5 1 2 3 1e300",
        "x 0.5 9 2 3 4",
        "x 0.5 1 9 3 4",
        "x 0.5 1 2 3 " + "4" * 100_000,
    ],
)
def test_voc_bad_line_is_named(tmp_path, line):
    (tmp_path / "comp4_det_test_cat.txt").write_text(f"x 0.5 1 2 3 4\n{line}\n")
    with pytest.raises(ValueError, match=r"comp4_det_test_cat\.txt, line 2: must ") as caught:
        voc_files.read_voc(tmp_path, ("cat",), "test")
    assert len(str(caught.value)) < 500


def test_voc_missing_or_binary_file_is_named(tmp_path):
    (tmp_path / "comp4_det_test_cat.txt").write_text("")
    with pytest.raises(ValueError, match=r"Missing: .*comp4_det_test_dog\.txt"):
        voc_files.read_voc(tmp_path, NAMES, "test")
    (tmp_path / "comp4_det_test_dog.txt").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match=r"comp4_det_test_dog\.txt must be a UTF-8 text file"):
        voc_files.read_voc(tmp_path, NAMES, "test")


def test_voc_no_name_leads_out_of_the_folder(tmp_path):
    folder = tmp_path / "results"
    names = ("../../evil", "/etc/passwd", "..", "a\0b", "traffic light", "Füße")
    detections = {"../../../up": image([[0, 0, 1, 1]], [0.5], [0])}
    voc_files.write_voc(folder, detections, names, "../../split")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"comp4_det_.._.._split_{name}.txt"
        for name in (".._.._evil", "_etc_passwd", "..", "a_b", "traffic light", "Füße")
    )
    assert_same(voc_files.read_voc(folder, names, "../../split"), detections)


def test_voc_classes_must_not_share_a_file(tmp_path):
    with pytest.raises(
        ValueError, match=r"'a/b' and 'a:b' would share the file comp4_det_test_a_b\.txt"
    ):
        voc_files.write_voc(tmp_path, {}, ("a/b", "a:b"), "test")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("image_id", ["", "a b", "a\n", "a\t0.9 1 1 2 2\nb"])
def test_voc_image_ids_must_have_no_white_space(tmp_path, image_id):
    with pytest.raises(ValueError, match="must have no white space"):
        voc_files.write_voc(tmp_path, {image_id: image([], [], [])}, NAMES, "test")
    assert list(tmp_path.iterdir()) == []


# --- the form in memory -------------------------------------------------------------------------

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
            image(BOX, [0.5], [0]) | {"boxes": np.zeros((1, 5))},
            r"shapes .* \(1, 5\), \(1,\) and \(1,\)",
        ),
        (image(BOX, [0.5, 0.5], [0]), "shapes"),
        (image(BOX, [0.5], [0, 0]), "shapes"),
        (image(BOX, [0.5], [0]) | {"scores": np.float32(0.5)}, "shapes"),
        (image(BOX, [0.5], [0]) | {"labels": np.array([0.0])}, "labels integers. .* float64"),
        (image(BOX, [0.5], [0]) | {"scores": np.array(["0.5"])}, "must be numbers"),
        (image([[0, 0, np.nan, 1]], [0.5], [0]), "boxes must be finite"),
        (image([[0, 0, np.inf, 1]], [0.5], [0]), "boxes must be finite"),
        (image([[0, 0, 1e10, 1]], [0.5], [0]), "boxes must be finite"),
        (image(BOX, [np.nan], [0]), "scores must be finite"),
        (image(BOX, [0.5], [2]), "between 0 and 1, .* Received: 2 to 2"),
        (image(BOX, [0.5], [-1]), "without padding rows. Received: -1 to -1"),
    ],
)
def test_malformed_detections_are_named(tmp_path, values, message):
    detections = {"good": image(BOX, [0.5], [1]), "bad": values}
    with pytest.raises(ValueError, match=f"image 'bad': .*{message}"):
        results.check_detections(detections, 2)
    with pytest.raises(ValueError, match="image 'bad'"):
        results.write_coco(tmp_path / "r.json", detections, NAMES)
    with pytest.raises(ValueError, match="image 'bad'"):
        voc_files.write_voc(tmp_path, detections, NAMES, "test")
    assert list(tmp_path.iterdir()) == []


def test_image_ids_must_be_texts_or_integers():
    with pytest.raises(ValueError, match=r"Image ids must be texts or integers. Received: 1.5"):
        results.check_detections({1.5: image(BOX, [0.5], [0])}, 1)
