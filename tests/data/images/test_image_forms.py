"""Images in every form: read as Pillow shows them, or refused by name, on every way there is."""

import io
import os
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_frcnn.config import Config
from keras_frcnn.data import load, load_images
from keras_frcnn.data.images import decoding, graph_decoder, headers
from keras_frcnn.data.images.files import to_image
from tests.data.conftest import VocFolder
from tests.data.images import image_forms
from tests.data.images.image_forms import BROKEN, FORMS, READ, SKIPPED

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

NAMES = list(FORMS)
_TOLERANCE = 2  # of CMYK's and chroma's rounding


def chosen(*outcomes):
    return [name for name, form in FORMS.items() if form.outcome in outcomes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set that has each form once."""
    made = VocFolder(tmp_path_factory.mktemp("forms") / "VOC")
    for number, form in enumerate(FORMS.values()):
        made.image(number, form.suffix).write_bytes(form.content)
        made.annotation(number).write_text("<annotation><object><name>cat</name><bndbox>"
            "<xmin>1</xmin><ymin>1</ymin><xmax>1.5</xmax><ymax>1.5</ymax></bndbox></object>"
            "</annotation>")  # fmt: skip
        made.line("train", number)
    return made


def path_of(folder, name):
    return folder.image(NAMES.index(name), FORMS[name].suffix)


@pytest.fixture(scope="module")
def config(folder):
    return Config(data_dir=str(folder.root), on_bad_record="skip")


@pytest.fixture(scope="module")
def read(config):
    """What ``load`` gives, that is by the headers alone."""
    return load(config, ("train",))


@pytest.fixture(scope="module")
def decoded(config):
    """What a run trains on."""
    return load_images(config, ("train",))


@pytest.fixture(scope="module")
def images(decoded):
    """What training makes of each form."""
    read_image = decoding.image_reader(decoded.records)
    stream = tf.data.Dataset.range(len(decoded.records)).map(read_image)
    names = [NAMES[int(record.image_id)] for record in decoded.records]
    return dict(zip(names, stream.as_numpy_iterator(), strict=True))


@pytest.fixture(scope="module")
def serve():
    spec = [tf.TensorSpec([], tf.string)]
    return tf.function(graph_decoder.decode_upright, input_signature=spec)


def assert_shows(image, name):
    expected = image_forms.shown(FORMS[name].content)
    assert image.shape == expected.shape and image.dtype == np.uint8
    assert np.abs(image.astype(int) - expected).max() <= _TOLERANCE


def test_the_reader_keeps_the_headers_that_are_sound(read):
    kept = {NAMES[int(record.image_id)] for record in read.records}
    assert kept == set(chosen(READ, BROKEN))


@pytest.mark.parametrize("name", chosen(READ))
def test_training_sees_what_pillow_shows(images, name):
    assert_shows(images[name], name)


@pytest.mark.parametrize("name", chosen(READ))
def test_detect_sees_what_pillow_shows(folder, name):
    assert_shows(to_image(path_of(folder, name)), name)


@pytest.mark.parametrize("name", chosen(READ))
def test_a_served_model_sees_what_pillow_shows(serve, name):
    image, problem = serve(FORMS[name].content)
    assert_shows(image.numpy(), name)
    assert problem == b""


def test_training_goes_without_what_cannot_be_read(decoded):
    kept = {NAMES[int(record.image_id)] for record in decoded.records}
    assert kept == set(chosen(READ))
    assert len(decoded.skipped) == len(chosen(SKIPPED, BROKEN))


@pytest.mark.parametrize("name", chosen(SKIPPED, BROKEN))
def test_what_cannot_be_read_is_named_on_every_way(folder, read, decoded, serve, name):
    path, form = path_of(folder, name), FORMS[name]
    (line,) = (line for line in decoded.skipped if line.startswith(f"{path}: unreadable image"))
    assert form.words in line and line.endswith("; image left out")
    assert (line in read.skipped) == (form.outcome == SKIPPED)
    with pytest.raises(ValueError, match="unreadable image") as caught:
        to_image(path)
    assert str(path) in str(caught.value)
    if not form.served:
        image, problem = serve(form.content)
        assert problem.numpy().startswith(b"unreadable image: ")
        assert image.shape == (0, 0, 3)


@pytest.mark.parametrize("name", ["jpeg", "jpeg progressive", "png", "png interlaced"])
def test_a_file_cut_anywhere_is_refused_or_shows_the_same(tmp_path, name):
    content, path = FORMS[name].content, tmp_path / "cut.jpg"
    # Of JPEG, the header is the same as any other's.
    start = content.index(b"\xff\xda") if name.startswith("jpeg") else 0
    refused = 0
    for length in [*range(0, start, 7), *range(start, len(content))]:
        path.write_bytes(content[:length])
        try:
            assert_shows(to_image(path), name)
        except ValueError as error:
            assert str(error).startswith(f"{path}: unreadable image: ")
            refused += 1
    assert refused >= length - start - 2


def with_scans(content, count):
    """Repeats the last scan of a JPEG."""
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * count + content[-2:]


def test_a_file_that_takes_too_long_for_its_size_is_refused(serve, tmp_path, monkeypatch):
    """The limit on the scans' pixels is 12 times that of an image's."""
    pixels = 24 * 36
    content = with_scans(FORMS["jpeg progressive"].content, 3)
    assert content.count(b"\xff\xda\0") == 12
    jpeg, texts = tmp_path / "a.jpg", tmp_path / "a.png"
    jpeg.write_bytes(content)

    def refusals(path):
        problem = serve_anew(path.read_bytes())[1].numpy().decode()
        try:
            to_image(path)
        except ValueError as error:
            words = str(error).removeprefix(f"{path}: ")
            assert words.replace("22 texts, more than 20 are", "more than 20 texts are") == problem
        else:
            assert not problem
        return problem

    def serve_anew(content):
        return tf.function(graph_decoder.decode_upright)(tf.constant(content))

    assert refusals(jpeg) == ""
    monkeypatch.setattr(headers, "MAX_SCANNED_PIXELS", 12 * pixels - 1)
    assert refusals(jpeg) == "unreadable image: 12 scans of 36 x 24 pixels are refused"
    jpeg.write_bytes(content[:-2] + b"more" * 20)  # as if it were cut off
    with pytest.raises(ValueError, match="12 scans of 36 x 24 pixels are refused"):
        to_image(jpeg)
    chunks = [(b"zTXt", b"a\0\0" + zlib.compress(b"text")), (b"iTXt", b"a\0\0\0\0\0text")]
    for count in (10, 11):
        texts.write_bytes(image_forms.png(image_forms.pixels(3), 8, 2, chunks=chunks * count))
        expected = {10: "", 11: "unreadable image: more than 20 texts are refused"}
        assert refusals(texts) == expected[count]


def test_many_scans_of_a_large_image_are_refused_at_once(serve):
    file = io.BytesIO()
    Image.new("L", (8900, 8900), 90).save(file, "JPEG", progressive=True)
    content = with_scans(file.getvalue(), 295)
    started = time.process_time()
    image, problem = serve(content)
    assert time.process_time() - started < 1
    assert problem == b"unreadable image: 300 scans of 8900 x 8900 pixels are refused"


def test_an_orientation_in_xmp_alone_is_not_followed(serve, tmp_path):
    """Browsers pass over it; Pillow does not, and neither over EXIF behind PNG's pixels."""
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='6' tiff:Orientation=\"6\"/>"
    late = [(b"eXIf", image_forms.exif_of(6)[6:])]
    for content in (
        image_forms.with_segment(FORMS["jpeg"].content, 0xE1, xmp),
        image_forms.png(image_forms.pixels(3), 8, 2, late=late),
    ):
        assert image_forms.shown(content).shape == (36, 24, 3)
        (tmp_path / "a").write_bytes(content)
        assert to_image(tmp_path / "a").shape == serve(content)[0].shape == (24, 36, 3)


@pytest.mark.parametrize("kind", ["missing", "folder", "loop", "dangling link", "pipe"])
def test_what_is_no_file_is_named_and_not_waited_for(voc_folder, kind):
    folder = voc_folder().add("a").add("b")
    path = folder.image("b")
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "missing":
        path.symlink_to(path if kind == "loop" else "nowhere.jpg")
    with pytest.raises(ValueError, match="unreadable image: there is no such file") as caught:
        to_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    dataset = load(Config(data_dir=str(folder.root), on_bad_record="skip"), ("train",))
    (line,) = dataset.skipped
    assert "JPEGImages/b: the image is missing" in line
    assert [record.image_id for record in dataset.records] == ["a"]


def test_a_link_to_an_image_is_followed(voc_folder, tmp_path):
    """Many data sets are kept as links: those of DVC, Git annex, Hugging Face's cache."""
    folder = voc_folder().add("a")
    moved = folder.image("a").rename(tmp_path / "elsewhere.jpg")
    folder.image("a").symlink_to(moved)
    dataset = load_images(Config(data_dir=str(folder.root)), ("train",))
    assert [record.path for record in dataset.records] == [str(folder.image("a"))]


def test_without_skipping_all_are_named_before_training(folder, config):
    strict = config.replace(on_bad_record="error")
    with pytest.raises(ValueError, match=f"{len(chosen(SKIPPED))} problem") as caught:
        load(strict, ("train",))
    assert "--on_bad_record=skip" in str(caught.value)
    sound = [folder.image(NAMES.index(name)).stem for name in chosen(READ, BROKEN)]
    (folder.root / "ImageSets" / "Main" / "sound.txt").write_text("\n".join(sound))
    load(strict, ("sound",))
    with pytest.raises(ValueError, match=f"{len(chosen(BROKEN))} problem") as caught:
        load_images(strict, ("sound",))
    assert all(str(path_of(folder, name)) in str(caught.value) for name in chosen(BROKEN))
    load_images(strict.replace(check_images=False), ("sound",))


def test_nothing_in_a_served_graph_is_sliced_backwards():
    """Where it is, TensorFlow's layout optimizer gives up the whole graph, the network too."""
    spec = tf.TensorSpec([], tf.string)
    graph = (
        tf.function(graph_decoder.decode_upright).get_concrete_function(spec).graph.as_graph_def()
    )
    steps = []
    for nodes in (graph.node, *(body.node_def for body in graph.library.function)):
        values = {node.name: node.attr["value"].tensor for node in nodes if node.op == "Const"}
        names = [node.input[3].partition(":")[0] for node in nodes if node.op == "StridedSlice"]
        arrays = [tf.make_ndarray(values[name]) for name in names if name in values]
        steps += [array.min() for array in arrays if array.size]
    assert len(steps) > 5 and min(steps) > 0
