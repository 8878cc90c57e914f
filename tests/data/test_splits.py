"""Splits of a plain folder: drawn by the seed alone, written down, and read again."""

import json

import pytest
from PIL import Image

from keras_frcnn.config import Config
from keras_frcnn.data import splits

NAMES = [f"{number:03d}.jpg" for number in range(100)]


def test_a_draw_depends_on_the_seed_alone_and_parts_all_images():
    first = splits.draw(NAMES, (0.8, 0.2), seed=0)
    assert first == splits.draw(NAMES[::-1], (0.8, 0.2), seed=0)
    assert [len(first[name]) for name in splits.SPLIT_NAMES] == [80, 20]
    assert sorted(first["trainval"] + first["test"]) == NAMES
    assert first["test"] == sorted(first["test"])
    assert first != splits.draw(NAMES, (0.8, 0.2), seed=1)
    assert first["test"][:5] == ["001.jpg", "005.jpg", "007.jpg", "009.jpg", "021.jpg"]  # for good


@pytest.mark.parametrize(
    ("count", "shares", "expected"),
    [
        (10, (0.5, 0.3), [5, 3]),
        (3, (0.8, 0.2), [2, 1]),
        (1, (0.8, 0.2), [1, 0]),
        (0, (1, 0), [0, 0]),
    ],
)
def test_shares_are_rounded_and_may_leave_images_unused(count, shares, expected):
    drawn = splits.draw(NAMES[:count], shares, seed=3)
    assert [len(drawn[name]) for name in splits.SPLIT_NAMES] == expected


def test_images_that_come_later_move_few_of_the_others():
    before = splits.draw(NAMES, (0.8, 0.2), seed=0)
    after = splits.draw([*NAMES, "new.jpg", "more.jpg"], (0.8, 0.2), seed=0)
    moved = set(before["test"]) ^ set(after["test"]) - {"new.jpg", "more.jpg"}
    assert len(moved) <= 2


@pytest.fixture
def folder(tmp_path):
    """Ten images."""
    (tmp_path / "images").mkdir()
    for number in range(10):
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / f"{number}.png")
    (tmp_path / "run").mkdir()
    return tmp_path / "images"


def config(folder, **settings):
    settings = {"split": (0.8, 0.2), "output_dir": str(folder.parent / "run")} | settings
    return Config(dataset="folder", data_dir=str(folder), **settings)


def source(*args, **settings):
    return config(*args, **settings).sources(("trainval",))[0]


def test_what_was_drawn_is_written_down_and_counts_from_then_on(folder):
    drawn = splits.splits_of(source(folder))
    path = splits.write(config(folder))
    assert path == folder.parent / "run" / "split.json"
    content = json.loads(path.read_text())
    assert content == {
        "seed": 0,
        "split": [0.8, 0.2],
        "folders": [{"data_dir": str(folder)} | drawn],
    }
    assert [entry.name for entry in path.parent.iterdir()] == ["split.json"]
    for number in range(10, 20):
        Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
    before = path.read_bytes()
    assert splits.write(config(folder)) == path and path.read_bytes() == before
    assert splits.splits_of(source(folder)) == drawn
    assert splits.splits_of(source(folder, output_dir="")) != drawn


def test_runs_with_other_seeds_can_have_the_same_splits(folder):
    own = config(folder, seed=3, split_seed=0)
    path = splits.write(own)
    assert json.loads(path.read_text())["seed"] == 0
    drawn = splits.splits_of(source(folder, output_dir=""))
    assert splits.splits_of(own.sources(("trainval",))[0]) == drawn


def test_data_that_have_moved_have_the_same_splits(folder):
    splits.write(config(folder))
    drawn = splits.splits_of(source(folder))
    assert splits.splits_of(source(folder.rename(folder.parent / "moved"))) == drawn


def test_each_of_two_folders_has_its_own_lists(folder):
    (folder.parent / "more").mkdir()
    Image.new("RGB", (8, 8)).save(folder.parent / "more" / "x.png")
    both = config(folder).replace(
        dataset=("folder", "folder"),
        data_dir=(str(folder), str(folder.parent / "more")),
        train_split=("trainval", "trainval"),
        eval_split=("test", "-"),
    )
    splits.write(both)
    one, two = both.sources(both.train_split)
    assert splits.splits_of(two) == {"trainval": ["x.png"], "test": []}
    assert len(splits.splits_of(one)["trainval"]) == 8


def test_without_shares_nothing_is_written(folder):
    assert splits.write(config(folder, split=())) is None
    assert list((folder.parent / "run").iterdir()) == []


@pytest.mark.parametrize("settings", [{"seed": 1}, {"split": (0.5, 0.5)}])
def test_other_settings_than_those_of_the_file_are_refused(folder, settings):
    splits.write(config(folder))
    words = (
        "split.json: the splits were drawn with seed=0 and split=0.8,0.2, but the settings are "
        "seed="
    )
    with pytest.raises(ValueError, match=words):
        splits.splits_of(source(folder, **settings))


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "null", "[" * 100_000, "\xff", '{"seed": 0, "split": 3, "folders": []}'),
        '{"seed": 0, "split": [0.8, 0.2], "folders": []}',
        '{"seed": 0, "split": [0.8, 0.2], "folders": [3]}',
        '{"seed": 0, "split": [0.8, 0.2], "folders": [{"data_dir": "x", "test": []}]}',
        '{"seed": 0, "split": [0.8, 0.2], "folders": [{"data_dir": "x", "test": [], '
        '"trainval": ["../secret.jpg"]}]}',
        '{"seed": 0, "split": [0.8, 0.2], "folders": [{"data_dir": "x", "test": [], '
        '"trainval": [3]}]}',
    ],
)
def test_a_broken_file_is_refused_by_name(folder, text):
    (folder.parent / "run" / "split.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match="run/split.json: expected the splits that a run has wri"):
        splits.splits_of(source(folder))
