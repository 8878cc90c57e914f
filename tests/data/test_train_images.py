"""The images that a run trains on: nested, with every class, stored, and in every format."""

import json

import numpy as np
import pytest

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.data import train_images
from keras_frcnn.data.dataset import Dataset, GroundTruth, Record
from keras_frcnn.data.splits import rank
from keras_frcnn.data.writers import tfrecord
from tests.data.conftest import CocoFolder, VocFolder, YoloFolder

NAMES = ("common", "rare", "rarer")


def record(image_id, *labels, difficult=False):
    count = len(labels)
    boxes = np.tile(np.array([0, 0, 4, 4], np.float32), (count, 1))
    marks = np.full(count, difficult)
    return Record(image_id, f"{image_id}.jpg", 8, 8, boxes, np.array(labels, np.int32), marks)


def records(count=200):
    """Every image shows a common object, every 20th a rare one; one shows the rarest."""
    return [
        record(f"{row:03d}", 0, *([1] if row % 20 == 3 else []), *([2] if row == 111 else []))
        for row in range(count)
    ]


def drawn(count, seed=0, of=None, **settings):
    of = records() if of is None else of
    rows = train_images.draw(of, Config(train_images=count, seed=seed, **settings))
    return [of[row].image_id for row in rows]


@pytest.mark.parametrize("seed", range(5))
def test_smaller_sets_are_part_of_larger_ones_and_show_every_class(seed):
    sets = [drawn(count, seed) for count in (1, 2, 10, 50, 200)]
    for smaller, larger in zip(sets, sets[1:], strict=False):
        assert smaller == larger[: len(smaller)]
    assert sets[0] == ["111"]  # of two images, these show most classes
    assert int(sets[1][1]) % 20 == 3
    assert len(set(sets[-1])) == 200


def test_all_but_the_first_images_are_in_the_order_of_the_hash():
    order = sorted((f"{row:03d}" for row in range(200)), key=lambda name: rank(7, name))
    first, *rest = drawn(60, 7)
    assert first == "111" and int(rest[0]) % 20 == 3
    assert rest[0] == next(name for name in order if int(name) % 20 == 3)
    others = [name for name in order if name not in ("111", rest[0])]
    assert rest[1:] == others[:58]
    assert drawn(60, 7, records()[::-1]) == [first, *rest]  # whatever the order of the split
    assert drawn(60, 8) != [first, *rest]


def test_only_objects_that_training_learns_show_a_class():
    some = [record("easy", 0), *(record(f"hard{n}", 1, difficult=True) for n in range(9))]
    some.append(record("one", 1))
    assert set(drawn(2, of=some)) == {"easy", "one"}
    assert drawn(1, of=[record("none"), record("easy", 0)]) == ["easy"]
    kept = {drawn(2, seed, some, difficult="keep")[1] for seed in range(20)}
    assert len(kept) > 3


def test_images_that_are_not_trained_on_do_not_count():
    some = [record("a", 0), *(record(f"empty{n}") for n in range(5))]
    assert len(drawn(6, of=some)) == 6
    with pytest.raises(ValueError) as caught:
        drawn(2, of=some, include_empty=False, train_split=("mine", "more"))
    assert str(caught.value) == (
        "train_images must be at most 1, the number of images to train on in mine, more. "
        "Received: 2"
    )


def test_what_a_run_has_stored_counts_from_then_on(tmp_path):
    config = Config(train_images=3, output_dir=str(tmp_path))
    whole = Dataset(NAMES, [*records(40), record(7, 2)])
    first = train_images.choose(whole, config)
    assert [r.image_id for r in first.records] == sorted(
        drawn(3, of=whole.records), key=[r.image_id for r in whole.records].index
    )
    assert first.remarks == ["3 of 41 images, drawn with seed 0"] and whole.remarks == []
    train_images.write(first, config)
    content = json.loads((tmp_path / "train_images.json").read_text())
    assert content == {"seed": 0, "train_images": 3, "images": [r.image_id for r in first.records]}
    assert 7 in content["images"]  # numbers stay numbers
    more = Dataset(NAMES, [*(record(f"new{n}", 1, 2) for n in range(50)), *whole.records])
    assert train_images.choose(more, config).records == first.records
    assert train_images.choose(more, config.replace(output_dir="")).records != first.records


def test_without_a_number_all_images_are_used_and_nothing_is_written(tmp_path):
    whole = Dataset(NAMES, records(5))
    assert train_images.choose(whole, Config(output_dir=str(tmp_path))) is whole
    train_images.write(whole, Config(output_dir=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *((text, "expected the images that a run has stored") for text in ("", "[]", "3", "[" * 9)),
        ('{"seed": 0, "train_images": 2, "images": [[]]}', "expected the images that a run has"),
        (
            '{"seed": 1, "train_images": 2, "images": []}',
            "the images were drawn with {'seed': 1, 'train_images': 2}, but the settings are "
            "{'seed': 0, 'train_images': 2}. Delete the file",
        ),
        (
            '{"seed": 0, "train_images": 2, "images": ["000", "gone"]}',
            "'gone' is no longer among the images to train on",
        ),
    ],
)
def test_a_stored_list_that_cannot_be_used_is_named(tmp_path, text, words):
    (tmp_path / "train_images.json").write_text(text)
    with pytest.raises(ValueError) as caught:
        train_images.choose(
            Dataset(NAMES, records(9)), Config(train_images=2, output_dir=str(tmp_path))
        )
    assert words in str(caught.value) and "train_images.json" in str(caught.value)


def test_objects_for_cocos_evaluation_are_those_of_the_chosen_images():
    columns = [np.zeros((3, 4)), np.ones(3), np.zeros(3, bool)]
    labels = np.array([0, 1, 2])
    truth = GroundTruth(NAMES, (1, 2, 3), ("a", "b", "c"), np.array([0, 1, 2]), labels, *columns)
    whole = Dataset(NAMES, [record("a", 0), record("b", 1), record("c", 2)], truth=truth)
    chosen = train_images.choose(whole, Config(train_images=2))
    assert chosen.truth.image_ids == tuple(r.image_id for r in chosen.records)
    assert chosen.truth.labels.tolist() == [r.labels[0] for r in chosen.records]


def write_voc(root):
    folder = VocFolder(root)
    for number in range(6):
        folder.add(f"i{number}", [("car" if number else "dog", 1, 1, 20, 20)])
    return Config(data_dir=str(root), train_split=("train",))


def write_coco(root):
    folder = CocoFolder(root)
    for number in range(6):
        folder.add(number + 1, ([1, 1, 20, 20], 3 if number else 18))
    return Config(dataset="coco", data_dir=str(root), train_split="train")


def write_yolo(root):
    folder = YoloFolder(root, names=["car", "dog"])
    for number in range(6):
        folder.add(f"train/i{number}", [f"{int(not number)} 0.5 0.5 0.4 0.4"])
    return Config(dataset="yolo", data_dir=str(root), train_split="train")


def write_folder(root):
    write_yolo(root)
    (root / "labels" / "train").rename(root / "images" / "labels")
    for label in sorted((root / "images" / "labels").iterdir()):
        label.rename(root / "images" / "train" / label.name)
    (root / "images" / "classes.txt").write_text("car\ndog\n")
    return Config(dataset="folder", data_dir=str(root / "images"), train_split="all")


def write_tfrecord(root):
    whole = data.load(write_voc(root / "voc"), ("train",))
    tfrecord.write({"train": whole}, str(root / "records"))
    return Config(dataset="tfrecord", data_dir=str(root / "records"), train_split="train")


def write_joined(root):
    (root / "coco").mkdir(parents=True)
    one, two = write_voc(root / "voc"), write_coco(root / "coco")
    return Config(
        dataset=("voc", "coco"),
        data_dir=(*one.data_dir, *two.data_dir),
        train_split=("train", "train"),
    )


@pytest.mark.parametrize(
    "write_data",
    [write_voc, write_coco, write_yolo, write_folder, write_tfrecord, write_joined],
)
def test_every_format_can_be_drawn_from(write_data, tmp_path):
    config = write_data(tmp_path / "data").replace(train_images=2, output_dir=str(tmp_path))
    chosen = data.load_train(config)
    assert sorted(chosen.class_names) == ["car", "dog"]
    assert sorted(label for r in chosen.records for label in r.labels) == [0, 1]
    train_images.write(chosen, config)
    again = data.load_train(config)
    assert [r.image_id for r in again.records] == [r.image_id for r in chosen.records]
