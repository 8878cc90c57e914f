"""keras-frcnn propose: files that training and evaluation take."""

import contextlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn.cli import propose
from keras_frcnn.config import Config
from keras_frcnn.data import load, proposals_file
from keras_frcnn.data.images import decoding
from keras_frcnn.data.writers import shapes
from keras_frcnn.inference import classic_proposals
from keras_frcnn.inference.over_dataset import detect_dataset
from keras_frcnn.weights import checkpoint
from tests import fakes
from tests.data.conftest import VocFolder
from tests.data.images import image_forms
from tests.data.images.image_forms import FORMS


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    shapes.make(folder, num_train=3, num_val=2, num_test=1)
    return folder


def run(data, path, *flags):
    return propose.main(
        [f"--data_dir={data}", "--train_split=train", "--eval_split=val", f"--output_file={path}"]
        + list(flags)
    )


def test_an_rpn_proposes_what_it_proposes_in_evaluation(data, tmp_path, monkeypatch):
    fakes.run_eagerly(monkeypatch)
    with fakes.small_backbone():
        model = fakes.detector(data_dir=str(data), train_split=("train",), eval_split=("val",))
        checkpoint.save(model, tmp_path / "a.keras")
        path = tmp_path / "rpn.npz"
        run(data, path, f"--checkpoint={tmp_path}/a.keras", "--split=eval_split")
        dataset = load(model.config, ("val",))
        _, expected = detect_dataset(model, dataset, model.config)
        found = proposals_file.read(path)
        assert list(found.image_ids) == [record.image_id for record in dataset.records]
        for boxes, image in zip(np.split(found.boxes, found.splits[1:-1]), expected, strict=True):
            assert len(boxes) > 5
            np.testing.assert_allclose(boxes, image["boxes"], atol=1e-3)
        few = ("--test_post_nms_top_k=3", "--split=eval_split")
        run(data, path, f"--checkpoint={tmp_path}/a.keras", *few)
        assert np.diff(proposals_file.read(path).splits).tolist() == [3, 3]


@pytest.mark.parametrize(("split", "count"), [("train_split", 3), ("eval_split", 2)])
def test_selective_search_over_two_processes(data, tmp_path, split, count, capsys):
    pytest.importorskip("cv2", reason="pip install 'keras-frcnn[proposals]'")
    path = tmp_path / "ss.npz"
    flags = ("--method=selective_search", "--workers=2", "--num_proposals=50", f"--split={split}")
    assert run(data, path, *flags) == 0
    found = proposals_file.read(path)
    name = split.removesuffix("_split").replace("eval", "val")
    assert [image_id.split("_")[0] for image_id in found.image_ids] == [name] * count
    assert (np.diff(found.splits) > 5).all() and (np.diff(found.splits) <= 50).all()
    assert f"Proposals of {count} images: {path}" in capsys.readouterr().out


def test_images_without_annotations_are_proposed_for(data, tmp_path):
    pytest.importorskip("cv2", reason="pip install 'keras-frcnn[proposals]'")
    bare, paths = tmp_path / "bare", (tmp_path / "one.npz", tmp_path / "other.json")
    shutil.copytree(data, bare, ignore=shutil.ignore_patterns("Annotations"))
    for folder, path in zip((data, bare), paths, strict=True):
        run(folder, path, "--method=selective_search", "--workers=1", "--split=eval_split")
    one, other = map(proposals_file.read, paths)
    assert list(one.image_ids) == list(other.image_ids) and len(one.boxes) > 5
    np.testing.assert_array_equal(one.boxes, other.boxes)


def test_the_images_are_those_that_training_sees(tmp_path, monkeypatch):
    """An orientation in XMP is ignored, one in EXIF is followed, and 16 bits are not clipped."""
    folder = VocFolder(tmp_path / "VOC")
    names = ["jpeg turned 6", "png grey of 16 bits, dark", "png turned 8"]
    contents = [FORMS[name].content for name in names]
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='6' tiff:Orientation=\"6\"/>"
    contents.append(image_forms.with_segment(FORMS["jpeg"].content, 0xE1, xmp))
    for number, content in enumerate(contents):
        folder.image(number).write_bytes(content)
        folder.line("train", number)
    seen = []

    @contextlib.contextmanager
    def processes(count, *arguments):
        def propose(images):
            for image in images:
                seen.append(image)
                yield np.zeros((1, 4), np.float32), np.ones(1, np.float32)

        yield propose

    monkeypatch.setattr(classic_proposals, "proposer", lambda *arguments: None)
    monkeypatch.setattr(classic_proposals, "processes", processes)
    run(folder.root, tmp_path / "a.npz", "--method=selective_search")
    dataset = load(Config(data_dir=str(folder.root)), ("train",), annotated=False)
    stream = tf.data.Dataset.range(len(contents)).map(decoding.image_reader(dataset.records))
    for image, expected in zip(seen, stream.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(image, expected)
    shapes = [image.shape for image in seen]
    assert shapes == [(36, 24, 3), (24, 36, 3), (36, 24, 3), (24, 36, 3)]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method=rpn"], "--checkpoint is missing: the .keras file of the run whose RPN is used"),
        (["--method=edge_boxes"], "edge_boxes needs the structured-edge model"),
        (["--method=sliding"], "rpn, selective_search, edge_boxes"),
    ],
)
def test_what_is_missing_is_said(data, tmp_path, flags, message, capsys):
    with pytest.raises(SystemExit) as caught:
        run(data, tmp_path / "a.npz", *flags)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.replace("<", "").replace("|", ", ")


def test_a_file_of_another_format_is_refused_before_the_work(data, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(data, tmp_path / "a.txt", "--method=selective_search")
    assert (
        f"--output_file must be the name of a .npz or .json file. Received: '{tmp_path}/a.txt'"
        in capsys.readouterr().err
    )
