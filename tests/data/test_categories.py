"""Label maps: read as TensorFlow's tools write them, refused by name, written to be read back."""

import pathlib

import pytest

from keras_frcnn.data import categories


def read(tmp_path, text):
    (tmp_path / "label_map.pbtxt").write_text(text)
    return categories.read_label_map(tmp_path / "label_map.pbtxt")


def test_a_label_map_keeps_the_order_of_its_items(tmp_path):
    text = """
    # a comment
    item { id: 18 name: 'dog' }
    item {
      name: "traffic light"
      id: 3
      keypoints { id: 1 }
    }
    item < id: 7, name: "caf\\303\\251" >
    """
    names, _ = read(tmp_path, text)
    assert list(names.items()) == [(18, "dog"), (3, "traffic light"), (7, "café")]


def test_a_display_name_counts_and_the_name_is_known_too(tmp_path):
    names, aliases = read(tmp_path, "item { name: '/m/01g317' id: 1 display_name: 'person' }")
    assert names == {1: "person"} and aliases == {"/m/01g317": "person"}


def test_number_0_may_be_the_background(tmp_path):
    assert read(tmp_path, "item {id: 0 name: 'background'} item {id: 1 name: 'a'}")[0] == {1: "a"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least one item"),
        ("item { id: 0 name: 'cat' }", "a number from 1"),
        ("item { id: -1 name: 'cat' }", "a number from 1"),
        ("item { id: 1 }", "a number from 1 and a name"),
        ("item { id: 1 name: 'a\\nb' }", "a number from 1 and a name"),
        ("item { id: 1 name: 'a' } item { id: 1 name: 'b' }", "Received twice: 1 or 'b'"),
        ("item { id: 1 name: 'a' } item { id: 2 name: 'a' }", "Received twice: 2 or 'a'"),
        ("item { id: 1", "expected a label map"),
        ("{}", "expected a label map"),
        ("item { id: 'x' }", "expected a label map"),
        ("item { id: 99999999999999 name: 'a' }", "expected a label map"),
        ("item {" * 10_000, "expected a label map"),
        ("unknown {" * 10_000, "expected a label map"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, words):
    with pytest.raises(ValueError, match="label_map.pbtxt: ") as caught:
        read(tmp_path, text)
    assert words in str(caught.value)


def test_what_is_no_text_or_too_much_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "label_map.pbtxt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="label_map.pbtxt: expected a label map"):
        categories.read_label_map(path)
    monkeypatch.setattr(categories, "_MAX_BYTES", 10)
    with pytest.raises(ValueError, match="more than 10 bytes"):
        read(tmp_path, "item { id: 1 name: 'a' }")


def test_what_is_written_reads_back(tmp_path):
    names = {90: "a 'b' \"c\"", 1: "Straße", 2: "x\\y"}
    categories.write_label_map(tmp_path / "map.pbtxt", names)
    assert list(categories.read_label_map(tmp_path / "map.pbtxt")[0].items()) == list(names.items())
    assert "Straße" in (tmp_path / "map.pbtxt").read_text(encoding="utf-8")


def test_the_label_map_beside_the_files_is_found(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    (second / "pascal_label_map.pbtxt").touch()
    assert categories.find_label_map([first]) is None
    assert categories.find_label_map([first, second]) == second / "pascal_label_map.pbtxt"
    (second / "other_label_map.pbtxt").touch()
    with pytest.raises(ValueError, match="other_label_map.pbtxt, pascal_label_map.pbtxt"):
        categories.find_label_map([first, second])
    (second / "label_map.pbtxt").touch()
    assert categories.find_label_map([first, second]) == second / "label_map.pbtxt"


def test_joined_categories_must_agree():
    a, b = pathlib.Path("a"), pathlib.Path("b")
    join = categories.join_categories
    assert join([(a, {3: "x"}), (b, {1: "y", 3: "x"})]) == {3: "x", 1: "y"}
    for other in ({3: "y"}, {4: "x"}):
        with pytest.raises(ValueError, match="b: expected the same category ids"):
            join([(a, {3: "x"}), (b, other)])


def test_cocos_table():
    table = categories.COCO_CATEGORIES
    assert len(table) == 80 and list(table) == sorted(table)
    known = {1: "person", 11: "fire hydrant", 13: "stop sign", 44: "bottle", 90: "toothbrush"}
    assert known.items() <= table.items()
