"""Settings of the data: what they refuse, and which sources they name."""

import importlib.util

import pytest

from keras_frcnn.config import DATASETS, Config, DataConfig, DataSource

FORMATS = "one or more of voc, coco, tfrecord, tfds, yolo, folder"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"dataset": ()},
            f"dataset must be {FORMATS}. Received: ()",
        ),
        (
            {"dataset": ("voc", "sun")},
            f"dataset must be {FORMATS}. Received: ('voc', 'sun')",
        ),
        ({"include_empty": 1}, "include_empty must be true or false. Received: 1"),
        (
            {"train_split": ("trainval", 7)},
            "train_split must be a list of strings. Received: ('trainval', 7)",
        ),
        ({"data_dir": None}, "data_dir must be a list of strings. Received: None"),
        (
            {"dataset": ["voc"]},
            f"dataset must be {FORMATS}. Received: ['voc']",
        ),
        ({"train_split": ()}, "train_split must name image sets. Received: ()"),
        ({"train_split": ("a+",)}, "train_split must name image sets. Received: ('a+',)"),
        ({"eval_split": ("a++b",)}, "eval_split must name image sets. Received: ('a++b',)"),
        (
            {"data_dir": ("/a", "/b")},
            "data_dir must be one folder for all, or one for each of the 1 datasets (voc). "
            "Received: ('/a', '/b')",
        ),
        (
            {"dataset": ("voc", "coco"), "data_dir": ("/a", "/b", "/c")},
            "data_dir must be one folder for all, or one for each of the 2 datasets (voc, coco). "
            "Received: ('/a', '/b', '/c')",
        ),
        ({"split": (0.8, 0.2)}, "split needs dataset=folder"),
        (
            {"dataset": "folder", "split": (0.8,)},
            "split must be two positive numbers, or empty. Received: (0.8,)",
        ),
        (
            {"dataset": "folder", "split": (1.0, 0.0)},
            "split must be two positive numbers, or empty. Received: (1.0, 0.0)",
        ),
        (
            {"dataset": "folder", "split": (0.8, 0.21)},
            "split must be fractions that sum to at most 1. Received: (0.8, 0.21)",
        ),
    ],
)
def test_problems(changes, message, problems):
    assert problems(DataConfig, **changes) == [message]


def test_the_seed_of_a_folders_split_may_differ_from_the_runs():
    config = Config(dataset="folder", split=(0.8, 0.2), seed=5)
    seeds = [config.replace(split_seed=seed).sources(("all",))[0].seed for seed in (-1, 0, 7)]
    assert seeds == [5, 0, 7]


@pytest.mark.parametrize("split", [(), (0.8, 0.2), (0.7, 0.3), (0.1, 0.1), (1 / 3, 2 / 3)])
def test_shares_of_a_folder(split):
    config = Config(dataset=("voc", "folder"), split=split, seed=5).validate()
    voc, folder = config.sources(("train", "trainval"))
    assert folder == DataSource("folder", "", ("trainval",), "error", split=split, seed=5)
    assert voc.split == ()


@pytest.mark.parametrize(
    ("form", "difficult", "resolved"),
    [
        ("voc", "auto", "drop"),
        ("coco", "auto", "ignore"),
        ("voc", "keep", "keep"),
        ("coco", "drop", "drop"),
    ],
)
def test_the_format_of_the_data_decides_how_difficult_objects_are_treated(
    form, difficult, resolved
):
    assert Config(difficult=difficult).validate().resolve_difficult(form) == resolved


@pytest.mark.parametrize("split", ["labels/val.json", "val.json:images"])
def test_a_coco_file_as_split_needs_coco_as_dataset(split):
    Config(dataset="coco", eval_split=(split,)).validate()
    with pytest.raises(
        ValueError, match=f"eval_split={split} is a COCO file and needs dataset=coco"
    ):
        Config(eval_split=("test", split)).validate()
    Config(dataset=("voc", "coco"), eval_split=("test", f"train+{split}")).validate()


# --- joined data ---------------------------------------------------------------------------------


def sources(dataset, splits, **settings):
    """Returns (form, folder, image sets) for each source that entries of image sets ask for."""
    config = Config(dataset=dataset, **settings).validate()
    return [(s.dataset, s.data_dir, s.splits) for s in config.sources(splits)]


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (("trainval",), ("trainval",)),
        (("VOC2007/trainval", "VOC2012/trainval"), ("VOC2007/trainval", "VOC2012/trainval")),
        (("VOC2007/trainval+VOC2012/trainval",), ("VOC2007/trainval", "VOC2012/trainval")),
        (("a+b", "c"), ("a", "b", "c")),
        (("a", "-"), ("a",)),
        (("cat_train-2",), ("cat_train-2",)),
    ],
)
def test_a_lone_dataset_joins_its_image_sets_by_commas_or_plus(splits, expected):
    assert sources("voc", splits, data_dir="/voc") == [("voc", "/voc", expected)]


def test_of_several_datasets_each_has_its_entry():
    both = {"dataset": ("voc", "coco"), "data_dir": ("/voc", "/coco")}
    assert sources(splits=("VOC2007/trainval+VOC2012/trainval", "train2017:a+b.json"), **both) == [
        ("voc", "/voc", ("VOC2007/trainval", "VOC2012/trainval")),
        ("coco", "/coco", ("train2017:a", "b.json")),
    ]
    assert sources(splits=("VOC2007/test", "-"), **both) == [("voc", "/voc", ("VOC2007/test",))]
    assert sources(splits=("-", "val2017"), **both) == [("coco", "/coco", ("val2017",))]


@pytest.mark.parametrize(
    ("data_dir", "expected"),
    [
        ((), ["", ""]),
        (("/data",), ["/data", "/data"]),
        (("/a", "/b"), ["/a", "/b"]),
        (("-", "/b"), ["", "/b"]),
    ],
)
def test_one_folder_for_all_or_one_each(data_dir, expected):
    found = sources(("voc", "voc"), ("train", "val"), data_dir=data_dir)
    assert [folder for _, folder, _ in found] == expected


@pytest.mark.parametrize(
    ("dataset", "splits", "received"),
    [
        (("voc", "coco"), ("train",), "voc, coco, with .*Received: train$"),
        (("voc", "coco"), ("train", "val", "test"), "Received: train,val,test$"),
        (("voc", "coco"), ("-", "-"), "Received: -,-$"),
        (("voc",), ("-",), "Received: -$"),
        (("voc",), (), "Received: none$"),
    ],
)
def test_entries_that_do_not_fit_the_datasets(dataset, splits, received):
    with pytest.raises(ValueError, match=received):
        Config(dataset=dataset).sources(splits)


def test_a_source_names_itself():
    assert str(DataSource("voc", "/data", ("train",), "error")) == "voc in /data"
    assert str(DataSource("tfds", "", ("voc:train",), "error")) == "tfds"


def test_readers_are_modules_of_their_own():
    assert len(set(DATASETS.values())) == len(DATASETS)
    for module in DATASETS.values():
        assert module.startswith("keras_frcnn.data.readers.")
    assert importlib.util.find_spec(DATASETS["voc"])
