"""VOC's result files: what is written, and what is read back."""

import re

import numpy as np
import pytest

from keras_frcnn.evaluation.report import voc_files
from tests.evaluation.handmade import arrays, crowded_detections

NAMES = ("cat", "dog")


def assert_same(read, expected, tolerance=0.0):
    assert list(read) == list(expected)
    for image_id, values in expected.items():
        np.testing.assert_allclose(read[image_id]["boxes"], values["boxes"], atol=tolerance, rtol=0)
        np.testing.assert_array_equal(read[image_id]["scores"], values["scores"])
        np.testing.assert_array_equal(read[image_id]["labels"], values["labels"])
        assert read[image_id]["boxes"].dtype == read[image_id]["scores"].dtype == np.float32
        assert read[image_id]["labels"].dtype == np.int32


def test_voc_golden(tmp_path):
    detections = {
        "VOC2007/000001": arrays([[10, 20, 30.5, 60], [0, 0, 1, 1]], [0.5, 1e-5], [1, 1]),
        "2": arrays([[4, 3, 6, 5]], [0.25], [1]),
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
    detections = crowded_detections(1, ["x", "y"])
    voc_files.write_voc(tmp_path, detections, NAMES, "test")
    assert_same(voc_files.read_voc(tmp_path, NAMES, "test"), detections, tolerance=0.0051)


def test_voc_boxes_without_area_are_read_back(tmp_path):
    edges = np.linspace(0, 3, 601)  # every other one lies between two decimals
    boxes = np.stack([edges, edges, edges, edges], axis=1)
    voc_files.write_voc(tmp_path, {"x": arrays(boxes, edges, edges * 0)}, NAMES, "test")
    read = voc_files.read_voc(tmp_path, NAMES, "test")["x"]["boxes"]
    assert (read[:, 2:] >= read[:, :2]).all()
    np.testing.assert_allclose(read, boxes, atol=0.0051)


def test_voc_thin_boxes_that_rounding_turned_inside_out_are_read_without_area(tmp_path):
    (tmp_path / "comp4_det_test_cat.txt").write_text("x 0.5 5.0 7.0 3.95 5.95")
    expected = {"x": arrays([[6, 4, 6, 4]], [0.5], [0])}
    assert_same(voc_files.read_voc(tmp_path, ("cat",), "test"), expected)


@pytest.mark.parametrize(
    ("image_ids", "class_names", "message"),
    [
        (["a", "IMG 4 (1)"], NAMES, "must have no white space. Received: 'IMG 4 (1)'"),
        ([1, ""], NAMES, "must have no white space. Received: ''"),
        ([], ("+", "="), "'+' and '=' would share the file comp4_det_test__.txt"),
        ([], ("a/b", "a:b"), "'a/b' and 'a:b' would share the file comp4_det_test_a_b.txt"),
        ([], ("a" * 260,), "file names must have at most 255 bytes. Received: 'comp4_det_te"),
        ([], ("ä" * 120,), "file names must have at most 255 bytes."),
    ],
)
def test_voc_names_are_checked_without_detections(image_ids, class_names, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        voc_files.check_names(image_ids, class_names, "test")


def test_voc_names_that_fit_are_accepted():
    voc_files.check_names(["a", 7, "VOC2007/000001"], ("dining table", "a-b", "ä" * 115), "test")


def test_voc_reads_what_others_write(tmp_path):
    # Three decimals, integers, blanks, a byte order mark, Windows line ends, no last line end.
    content = "\ufeff000001  0.987 1 2 30.0 40\r\n\r\n000002\t1e-3 5 6 7 8"
    (tmp_path / "comp4_det_test_cat.txt").write_bytes(content.encode())
    (tmp_path / "comp4_det_test_dog.txt").write_bytes(b"")
    expected = {
        "000001": arrays([[1, 0, 40, 30]], [0.987], [0]),
        "000002": arrays([[5, 4, 8, 7]], [1e-3], [0]),
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
    detections = {"../../../up": arrays([[0, 0, 1, 1]], [0.5], [0])}
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
        voc_files.write_voc(tmp_path, {image_id: arrays([], [], [])}, NAMES, "test")
    assert list(tmp_path.iterdir()) == []
