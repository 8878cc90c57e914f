import collections
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.data.writers import shapes


def _content(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_same_seed_makes_the_same_files(tmp_path):
    first = _content(shapes.make(tmp_path / "a" / "x", 3, 2, 1, seed=5))
    again = _content(shapes.make(tmp_path / "b" / "x", 3, 2, 1, seed=5))
    other = _content(shapes.make(tmp_path / "c" / "x", 3, 2, 1, seed=6))
    assert first == again
    assert first["JPEGImages/train_00001.jpg"] != other["JPEGImages/train_00001.jpg"]
    assert len({first[name] for name in first if name.startswith("JPEGImages")}) == 6


def test_the_layout_is_vocs(tmp_path):
    folder = shapes.make(tmp_path, 3, 2, 1)
    lists = {path.stem: path.read_text() for path in (folder / "ImageSets" / "Main").glob("*.txt")}
    assert lists == {
        "train": "train_00001\ntrain_00002\ntrain_00003\n",
        "val": "val_00001\nval_00002\n",
        "trainval": "train_00001\ntrain_00002\ntrain_00003\nval_00001\nval_00002\n",
        "test": "test_00001\n",
    }
    names = {*lists["trainval"].split(), "test_00001"}
    assert {path.stem for path in (folder / "Annotations").iterdir()} == names
    assert {path.name for path in (folder / "JPEGImages").iterdir()} == {f"{n}.jpg" for n in names}


def test_an_annotation_is_vocs_tag_by_tag(tmp_path):
    item = shapes.Object(
        "star", ymin=10, xmin=20, ymax=30, xmax=50, truncated=True, difficult=False
    )
    (tmp_path / "Annotations").mkdir()
    shapes._write_annotation(tmp_path, "000007", 120, 160, [item])
    root = ElementTree.parse(tmp_path / "Annotations" / "000007.xml").getroot()
    assert [child.tag for child in root] == [
        "folder", "filename", "source", "size", "segmented", "object"
    ]  # fmt: skip
    assert root.findtext("filename") == "000007.jpg"
    assert [(c.tag, c.text) for c in root.find("size")] == [
        ("width", "160"), ("height", "120"), ("depth", "3")
    ]  # fmt: skip
    element = root.find("object")
    assert [(child.tag, child.text) for child in element][:-1] == [
        ("name", "star"), ("pose", "Unspecified"), ("truncated", "1"), ("difficult", "0")
    ]  # fmt: skip
    assert [(child.tag, child.text) for child in element.find("bndbox")] == [
        ("xmin", "21"), ("ymin", "11"), ("xmax", "50"), ("ymax", "30")
    ]  # fmt: skip


def test_the_reader_takes_it_without_complaint_and_unchanged(tmp_path):
    folder = shapes.make(tmp_path, 12, 0, 0, seed=1)
    dataset = data.load(Config(data_dir=str(folder)), ("train",))
    assert dataset.class_names == shapes.CLASS_NAMES and dataset.skipped == []
    for number, record in enumerate(dataset.records):
        rng = np.random.default_rng([1, number])
        rng.integers(140, 180, endpoint=True), rng.integers(190, 250, endpoint=True), rng.random()
        image, objects = shapes.compose(rng, record.height, record.width)
        expected = [[o.ymin, o.xmin, o.ymax, o.xmax] for o in objects]
        assert record.boxes.tolist() == expected
        assert [dataset.class_names[i] for i in record.labels] == [o.name for o in objects]
        assert record.difficult.tolist() == [o.difficult for o in objects]
        stored = np.asarray(Image.open(record.path), np.float64)
        assert np.abs(stored - image).mean() < 12  # only what JPEG takes away


def test_boxes_are_the_extents_of_what_is_seen(monkeypatch):
    """Draws each shape over the others in its own number, then looks where the numbers are."""
    canvas = None

    def draw_number(rng, image, cover, name):
        canvas[cover >= 0.5] = canvas.max() + 1
        return image

    monkeypatch.setattr(shapes, "_paint", draw_number)
    found, overlaps, cuts = 0, 0, 0
    for seed in range(50):
        canvas = np.zeros((150, 200), int)
        _, objects = shapes.compose(np.random.default_rng(seed), 150, 200)
        assert canvas.max() == len(objects)
        for number, item in enumerate(objects, start=1):
            rows, columns = (
                np.flatnonzero((canvas == number).any(1)),
                np.flatnonzero((canvas == number).any(0)),
            )
            box = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
            assert (item.ymin, item.xmin, item.ymax, item.xmax) == box
            found += 1
            overlaps += any(
                item.ymin < o.ymax
                and o.ymin < item.ymax
                and item.xmin < o.xmax
                and o.xmin < item.xmax
                for o in objects[number:]
            )
            cuts += item.truncated
            touches = box[0] == 0 or box[1] == 0 or box[2] == 150 or box[3] == 200
            assert touches or not item.truncated
    assert found > 80 and overlaps > 10 and cuts > 10


def test_a_box_surrounds_a_change_of_colour(monkeypatch):
    """In images of one object on a plain ground the box is where the pixels differ from it."""
    monkeypatch.setattr(shapes, "_MOST_OBJECTS", 1)
    ground = np.array([90.0, 120.0, 150.0])
    monkeypatch.setattr(shapes, "_background", lambda rng, h, w: np.tile(ground, (h, w, 1)))
    checked = 0
    for seed in range(40):
        image, objects = shapes.compose(np.random.default_rng(seed), 150, 200)
        if not objects:
            continue
        (item,) = objects
        changed = np.linalg.norm(image - ground, axis=-1) > 45  # noise is 12 at most, colours 60 up
        changed &= (
            sum(  # without single pixels of strong noise
                np.roll(changed, shift, axis) for shift in (1, -1) for axis in (0, 1)
            )
            >= 2
        )
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        box = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
        np.testing.assert_allclose((item.ymin, item.xmin, item.ymax, item.xmax), box, atol=2)
        checked += 1
    assert checked > 25


def test_coverage_of_a_rectangle_is_exact():
    outline = np.array([[3, 2], [11, 2], [11, 7.5], [3, 7.5]])
    cover = shapes.coverage(outline, 10, 14)
    expected = np.zeros((10, 14))
    expected[2:7, 3:11] = 1
    expected[7, 3:11] = 0.5
    np.testing.assert_allclose(cover, expected, atol=0.01)


def test_coverage_of_a_circle_is_its_area_and_extent():
    angles = np.linspace(0, 2 * math.pi, 200, endpoint=False)
    outline = 20.3 * np.stack([np.cos(angles), np.sin(angles)], 1) + [35, 30]
    cover = shapes.coverage(outline, 60, 70)
    assert cover.sum() == pytest.approx(math.pi * 20.3**2, rel=0.01)
    rows, columns = np.nonzero(cover >= 0.5)
    assert (rows.min(), rows.max() + 1) == (10, 50)
    assert (columns.min(), columns.max() + 1) == (15, 55)


def test_the_images_have_what_detectors_stumble_over():
    names, sides, flags, numbers = collections.Counter(), [], [], []
    for seed in range(120):
        _, objects = shapes.compose(np.random.default_rng(seed), 160, 220)
        numbers.append(len(objects))
        for item in objects:
            names[item.name] += 1
            sides.append(max(item.ymax - item.ymin, item.xmax - item.xmin))
            flags.append(item.difficult)
    assert numbers.count(0) >= 3 and max(numbers) >= 4
    assert min(names[name] for name in shapes.CLASS_NAMES) > 0.15 * sum(names.values())
    assert 0.03 < np.mean(flags) < 0.3
    assert min(sides) < 36 and max(sides) > 100


def test_both_orientations_occur(tmp_path):
    dataset = data.load(Config(data_dir=str(shapes.make(tmp_path, 30, 0, 0))), ("train",))
    portrait = [record.height > record.width for record in dataset.records]
    assert 0 < sum(portrait) < 20
    for record in dataset.records:
        shorter, longer = sorted((record.height, record.width))
        assert 140 <= shorter <= 180 and 190 <= longer <= 250


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "theirs.txt").write_text("precious")
    with pytest.raises(ValueError, match="--output_dir must be a new or empty folder"):
        shapes.make(tmp_path, 1, 0, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.txt"]


def test_a_folder_that_a_stopped_call_left_may_be_written(tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    for place in ((shapes.pathlib.Path, "write_text"), (shapes, "compose")):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(*place, interrupt)
            shapes.make(tmp_path / "a", 1, 0, 0)
    shapes.make(tmp_path / "a", 1, 0, 0)


def test_an_own_folder_may_be_written_again(tmp_path):
    shapes.make(tmp_path / "a", 2, 0, 0, seed=1)
    again = shapes.make(tmp_path / "a", 3, 0, 0, seed=2)
    fresh = shapes.make(tmp_path / "b" / "a", 3, 0, 0, seed=2)
    assert _content(again) == _content(fresh)
