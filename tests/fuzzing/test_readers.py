"""Whatever comes from elsewhere, damaged and hostile: each reader reads it or refuses it by name.

No other error, no hang, no memory spent on promises, no file opened outside the data's folder, no
network, no program started. ``pytest tests/fuzzing --fuzz=10000`` tries as many copies a reader as
it says; a copy that fails is named by its number, with which it comes again.
"""

import contextlib
import io
import json
import os
import random
import resource
import signal
import sys
import sysconfig
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_frcnn import data
from keras_frcnn.cli.command import Command, parse
from keras_frcnn.config import Config
from keras_frcnn.config.flags import SETTINGS, write_flagfile
from keras_frcnn.data import dataset as records
from keras_frcnn.data import proposals_file, splits
from keras_frcnn.data.images import graph_decoder
from keras_frcnn.data.images.files import to_image
from keras_frcnn.evaluation.metrics import detections, ground_truth
from keras_frcnn.evaluation.report import coco_files, voc_files
from keras_frcnn.weights import checkpoint
from tests import fakes
from tests.data import handmade
from tests.data.conftest import VocFolder, YoloFolder
from tests.data.images.image_forms import FORMS
from tests.fuzzing.mutations import MARKUP, PATHS, mutate, with_checksums
from tests.inspection.conftest import scene

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

_SECONDS = 20  # a copy takes milliseconds
_MEGABYTES = 900  # an image of records.MAX_PIXELS, twice
_NAMES = ("cat", "dog")
_CONFIG = Config(train_split=("train",), eval_split=("train",))


class Guard:
    """Notes what is opened, asked for or started, by Python's audit events, while it is on."""

    def __init__(self):
        self.inside, self.found = None, []
        root = Path(__file__).parents[2]
        places = [sys.prefix, sys.base_prefix, root / "keras_frcnn", root / "configs"]
        places += sysconfig.get_paths().values()
        self.own = tuple({os.path.realpath(place) + os.sep for place in places})
        sys.addaudithook(self._note)  # there is no way to take it off again

    @contextlib.contextmanager
    def watching(self, folder):
        self.inside, self.found = str(folder) + os.sep, []
        try:
            yield
        finally:
            self.inside = None

    def _note(self, event, args):
        if self.inside is None:
            return
        if event.startswith(
            ("socket.", "subprocess.", "urllib.", "os.system", "os.exec", "pickle")
        ):
            self.found.append((event, args))
        if event in ("open", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.mkdir"):
            place = "" if isinstance(args[0], int) else os.fsdecode(args[0] or ".")
            path = os.path.abspath(place) + os.sep
            if place and not path.startswith((self.inside, *self.own)):
                self.found.append((event, path))


@pytest.fixture(scope="session")
def guard():
    return Guard()


@contextlib.contextmanager
def limited_time():
    def stop(number, frame):
        raise TimeoutError(f"not done in {_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- the readers: each gives sound contents, and a function that reads a copy -------------------


def _voc(folder):
    voc = VocFolder(folder)
    for stem in ("a", "b"):
        voc.add(stem, [("cat", 1, 2, 30, 20), ("dog", 3, 4, 50, 40, 1)])
    return voc, _CONFIG.replace(data_dir=str(voc.root))


def _read_both_ways(config, read=data.load):
    """Reads with skipping, which must not fail for one bad record; and without."""
    with contextlib.suppress(ValueError):
        dataset = read(config.replace(on_bad_record="skip"), ("train",))
        for record in dataset.records:
            records.check(record, dataset.class_names)
    read(config, ("train",))


def annotation(folder):
    voc, config = _voc(folder)

    def read(content):
        voc.annotation("b").write_bytes(content)
        dataset = data.load(config.replace(on_bad_record="skip"), ("train",))
        assert "a" in [record.image_id for record in dataset.records]
        _read_both_ways(config)

    sound = voc.annotation("b").read_bytes()
    return [sound] + [part + sound.replace(b"cat", b"&x;") for part in MARKUP], read


def image_set(folder):
    voc, config = _voc(folder)
    (voc.root / "JPEGImages" / "loop.jpg").symlink_to("loop.jpg")

    def read(content):
        (voc.root / "ImageSets" / "Main" / "train.txt").write_bytes(content)
        _read_both_ways(config)

    lines = [b"a\nb\n", b"\xef\xbb\xbfa\r\nb\r\n", b"b\nloop\nsub/c\na 1\n"]
    return lines + [b"a\n%b\n" % path for path in PATHS], read


def classes_file(folder):
    voc, config = _voc(folder)
    path = folder / "classes.txt"

    def read(content):
        path.write_bytes(content)
        _read_both_ways(config.replace(classes_file=str(path)))

    return [b"cat\ndog\n", b"\xef\xbb\xbfdog\r\ncat\r\ng\xc3\xb6\xc3\xb6se\r\n"], read


def coco_file(folder):
    for name in ("a", "b"):
        Image.new("RGB", (60, 40)).save(folder / f"{name}.png")
    objects = [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 30.5, 20], "area": 610.0},
        {"id": 2, "image_id": 2, "category_id": 7, "bbox": [0, 0, 60, 40], "iscrowd": 1,
         "segmentation": {"counts": [0, 2400], "size": [40, 60]}},
    ]  # fmt: skip
    content = {
        "images": [
            {"id": n, "file_name": f"{'ab'[n - 1]}.png", "height": 40, "width": 60} for n in (1, 2)
        ],
        "annotations": objects,
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    }
    config = _CONFIG.replace(data_dir=str(folder), dataset="coco", train_split=("gt.json",))

    def read(content):
        (folder / "gt.json").write_bytes(content)
        _read_both_ways(config, lambda config, _: data.load(config, config.train_split))
        data.load(config, config.train_split, images=False)

    sound = json.dumps(content).encode()
    return [sound] + [sound.replace(b"b.png", path) for path in PATHS], read


def _yolo(folder):
    yolo = YoloFolder(folder, train=["images/train", "train.txt"], val=None)
    for name in ("train/a", "train/b"):
        yolo.add(name, ["0 0.5 0.5 0.25 0.5", "1 0.1 0.1 0.9 0.1 0.5 0.75"])
    (folder / "train.txt").write_text("./images/train/b.jpg\n")
    return yolo, _CONFIG.replace(data_dir=str(folder), dataset="yolo")


def yolo_labels(folder):
    yolo, config = _yolo(folder)
    sound = yolo.label("train/b").read_bytes()

    def read(content):
        yolo.label("train/b").write_bytes(content)
        dataset = data.load(config.replace(on_bad_record="skip"), ("train",))
        assert "train/a" in [record.image_id for record in dataset.records]
        _read_both_ways(config)

    return [sound, b"\xef\xbb\xbf" + sound.replace(b"\n", b"\r\n")], read


def yolo_list(folder):
    _, config = _yolo(folder)

    def read(content):
        (folder / "train.txt").write_bytes(content)
        _read_both_ways(config)

    lines = [b"images/train/a.jpg\n", b"\xef\xbb\xbf./images/train/b.jpg\r\n"]
    return lines + [b"images/train/a.jpg\n%b\n" % path for path in PATHS], read


def yolo_data_file(folder):
    _yolo(folder)
    config = _CONFIG.replace(data_dir=str(folder), dataset="yolo")
    path = folder / "data.yaml"

    def read(content):
        path.write_bytes(content.replace(b"path", b"pith"))  # which alone may lead elsewhere
        _read_both_ways(config)

    sound = b"# ours\ntrain: images/train\nnames:\n  0: cat\n  1: 'dog'\n"
    tags = b"train: !!python/object/apply:os.system [id]\nnames: [cat, dog]\n"
    bomb = b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\ntrain: *c\nnames: *c\n"
    contents = [sound, path.read_bytes(), tags, bomb]
    return contents + [sound.replace(b"images/train", path) for path in PATHS], read


def split_file(folder):
    yolo, _ = _yolo(folder / "data")
    (folder / "data" / "classes.txt").write_text("cat\ndog\n")
    for name in ("a", "b"):
        image = yolo.image(f"train/{name}")
        image.with_suffix(".txt").write_bytes(yolo.label(f"train/{name}").read_bytes())
    config = Config(
        dataset="folder", data_dir=str(yolo.root), split=(0.5, 0.5), output_dir=str(folder)
    )
    path = splits.write(config)

    def read(content):
        path.write_bytes(content)
        _read_both_ways(config, lambda config, _: data.load(config, ("all", "trainval")))

    sound = path.read_bytes()
    return [sound] + [sound.replace(b"images/train/a.jpg", path) for path in PATHS], read


def _examples(folder):
    """A config to read ``gt.tfrecord``, and an example with all keys."""
    handmade.write_label_map(folder, "cat", "dog")
    annotations = [{"bbox": [7.5, 10, 37.5, 10], "category_id": 1, "area": 3, "iscrowd": 0}]
    values = handmade.features(
        object__is_crowd=[0, 1],
        object__area=[1.0, 2.0],
        object__coco=json.dumps(annotations),
        graph_decoder=handmade.image(8, 12),
        height=None,
        width=None,
    )
    config = _CONFIG.replace(data_dir=str(folder), dataset="tfrecord", train_split=("gt",))
    return config, handmade.example(values)


def _read_splits(config):
    _read_both_ways(config, lambda config, _: data.load(config, config.train_split))


def tfrecord_file(folder):
    config, example = _examples(folder)
    path = folder / "gt.tfrecord"
    handmade.write(path, example, example[:100], b"", example)

    def read(content):
        path.write_bytes(content)
        _read_splits(config)

    handmade.write(folder / "sound", example)
    return [(folder / "sound").read_bytes(), path.read_bytes()], read


def tf_example(folder):
    config, example = _examples(folder)

    def read(content):
        handmade.write(folder / "gt.tfrecord", content)
        _read_splits(config)

    return [example], read


def label_map(folder):
    config, example = _examples(folder)
    handmade.write(folder / "gt.tfrecord", example)
    path = folder / "label_map.pbtxt"
    sound = path.read_bytes()

    def read(content):
        path.write_bytes(content)
        _read_splits(config)

    return [sound, sound.replace(b"name", b"display_name") + b"item {" * 500], read


def results_file(folder):
    rows = [
        {"image_id": image_id, "category_id": 1 + n, "bbox": [1.5, 2, 3, 4], "score": 0.5}
        for n, image_id in enumerate((17, "a/b"))
    ]

    images = [SimpleNamespace(image_id=i, boxes=[], labels=[], difficult=[]) for i in (17, "a/b")]
    truth = ground_truth.of_records(SimpleNamespace(class_names=_NAMES, records=images))

    def read(content):
        (folder / "found.json").write_bytes(content)
        table = coco_files.read(folder / "found.json", truth)
        assert np.isfinite(table.bboxes).all() and np.isfinite(table.scores).all()

    return [json.dumps(rows).encode()], read


def proposals(folder):
    path = folder / "found.json"
    rows = [(name, [[1.5, 2, 3, 4], [0, 0, 7, 9]], [0.75, 0.5]) for name in ("a/b", "2007_000027")]
    proposals_file.write(path, rows)

    def read(content):
        path.write_bytes(content)
        proposals_file.read(path)

    return [path.read_bytes()], read


def voc_results(folder):
    rng = np.random.default_rng(0)
    found = {
        name: {
            "boxes": np.cumsum(rng.uniform(1, 9, (3, 4)), axis=1).astype(np.float32)[
                :, [0, 1, 2, 3]
            ],
            "scores": rng.uniform(size=3).astype(np.float32),
            "labels": np.zeros(3, np.int32),
        }
        for name in ("a", "2007_000027")
    }
    for image in found.values():
        image["boxes"] = np.concatenate([image["boxes"][:, :2], 9 + image["boxes"][:, 2:]], 1)
    voc_files.write_voc(folder, found, _NAMES, "test")
    path = folder / "comp4_det_test_cat.txt"

    def read(content):
        path.write_bytes(content)
        detections.check_detections(voc_files.read_voc(folder, _NAMES, "test"), len(_NAMES))

    return [path.read_bytes()], read


def flagfile(folder):
    # A command tries to write to its outputs, wherever they are. This one has none.
    settings = [name for name, option in SETTINGS.items() if not option.output]
    command = Command("train", "Trains.", settings=tuple(settings))
    path = folder / "own.cfg"
    write_flagfile(Config(data_dir="x", output_dir="y"), path)
    (folder / "other.cfg").write_text("--seed=3\n")
    short = (
        b"# a run\n--flagfile=other.cfg\n--data_dir=VOCdevkit\n--scales=64,128.5\n--deterministic\n"
    )

    def read(content):
        content = content.replace(b"--flagfile=", b"--flagfile=./")
        content = content.replace(b"..", b".").replace(b"~", b"")
        path.write_bytes(content)  # a flagfile may name any other; here it names those beside it
        try:
            with contextlib.redirect_stderr(io.StringIO()) as said:
                parse(command, [f"--flagfile={path}"])
        except SystemExit as error:
            if error.code != 2 or not said.getvalue().startswith("keras-frcnn train: "):
                raise AssertionError(said.getvalue()) from error
            raise ValueError(said.getvalue()) from error

    return [path.read_bytes(), *[short] * 3], read


def checkpoint_settings(folder):
    path = folder / "best.keras"
    settings = {"config": fakes.SMALL.to_dict(), "class_names": list(_NAMES)}
    sound = {"registered_name": "keras_frcnn>FasterRCNN", "config": settings, "module": "builtins"}

    def read(content):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", content)
        checkpoint.read_settings(path)

    return [json.dumps(sound).encode()], read


def checkpoint_file(folder):
    path = folder / "best.keras"
    settings = {"config": {}, "class_names": list(_NAMES)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", "{}")
        text = json.dumps({"registered_name": "keras_frcnn>FasterRCNN", "config": settings})
        archive.writestr("config.json", text)

    def read(content):
        path.write_bytes(content)
        checkpoint.read_settings(path)

    return [path.read_bytes()], read


def _images(folder, start, name):
    """Files as the tools and as a served model read them: what both read, they read alike."""
    contents = [form.content for form in FORMS.values() if form.content.startswith(start)]
    image = Image.fromarray(scene(0, 24, 32))
    for options in ({}, {"exif": Image.Exif()}):
        if options:
            options["exif"][0x112] = 6
        file = io.BytesIO()
        image.save(file, name, **options)
        contents += [file.getvalue()] * 10
    path = folder / "a.jpg"
    serve = tf.function(
        graph_decoder.decode_upright, input_signature=[tf.TensorSpec([], tf.string)]
    )  # fmt: skip

    def read(content):
        if name == "PNG" and len(content) % 4:
            content = with_checksums(content)
        path.write_bytes(content)
        served, problem = serve(content)
        pixels = to_image(path)
        assert problem == b"", "it is read, but not served"
        np.testing.assert_array_equal(served, pixels)

    return contents, read


def jpeg(folder):
    return _images(folder, b"\xff\xd8", "JPEG")


def png(folder):
    return _images(folder, b"\x89PNG", "PNG")


READERS = (
    *(annotation, image_set, classes_file, coco_file, tfrecord_file, tf_example, label_map),
    *(yolo_labels, yolo_list, yolo_data_file, split_file),
    *(results_file, proposals, voc_results, flagfile),
    *(checkpoint_settings, checkpoint_file, jpeg, png),
)


def _peak_memory():
    """Returns the most memory that the process has had, in MB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


@pytest.mark.parametrize("make", READERS, ids=lambda make: make.__name__)
def test_a_reader_reads_or_refuses(make, guard, tmp_path, request):
    inside = tmp_path / "inside"
    inside.mkdir()
    for suffix, form in (("", "JPEG"), (".jpg", "JPEG"), (".png", "PNG")):
        Image.new("RGB", (60, 40)).save(tmp_path / f"secret{suffix}", form)
    (tmp_path / "secret.xml").write_text("<annotation/>")
    contents, read = make(inside)
    read(contents[0])  # loads what is loaded on first use
    refused, before = 0, _peak_memory()
    for number in range(request.config.getoption("fuzz")):
        rng = random.Random(f"{make.__name__} {number}")
        content = mutate(rng.choice((contents[0], rng.choice(contents))), rng)
        if number < len(contents):
            content = contents[number]
        try:
            with guard.watching(inside), limited_time():
                read(content)
        except ValueError as error:
            assert str(error).strip()
            refused += 1
        except (Exception, SystemExit) as error:
            raise AssertionError(f"copy {number}: {content[:2000]!r}") from error
        assert not guard.found, f"copy {number}: {guard.found}"
    used = _peak_memory() - before
    assert used < _MEGABYTES
    share = refused / max(1, number + 1)
    print(f"{make.__name__}: {number + 1} copies, {share:.0%} refused, {used:.0f} MB more")
    assert 0 < share < 1
