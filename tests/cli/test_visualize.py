"""``keras-frcnn visualize``: the files it writes, their names, and the flags it refuses."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from keras_frcnn import data
from keras_frcnn.cli import visualize
from keras_frcnn.config import Config
from keras_frcnn.data import pipeline
from keras_frcnn.data.images.files import to_image
from keras_frcnn.data.splits import rank
from keras_frcnn.inspection.visualize import panels, stages, training_view
from keras_frcnn.weights import checkpoint
from tests import fakes
from tests.data.conftest import VocFolder

STAGES = ["1_ground_truth", "2_training", "3_anchors", "4_proposals", "5_regions", "6_detections"]


@pytest.fixture
def folder(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), np.uint8)
    folder = VocFolder(tmp_path / "own")
    for name, image in zip(("a", "b", "c"), noise, strict=True):
        objects = [("circle", 9, 9, 30, 30), ("star", 30, 20, 60, 45, 1)]
        folder.add(name, objects, image=image)
    return folder


@pytest.fixture
def model(monkeypatch):
    """A detector that is loaded from every checkpoint."""
    model = fakes.detector()
    monkeypatch.setattr(checkpoint, "read_settings", lambda path: (model.config, model.class_names))
    monkeypatch.setattr(checkpoint, "load", lambda path, config: model)
    return model


@pytest.fixture
def run(folder, tmp_path):
    """Returns a function that draws into ``out`` and returns the names of the files."""

    def run(*flags):
        data = f"--data_dir={folder.root}", "--train_split=train", "--eval_split=train"
        sides = "--shorter_side=64", "--longer_side=96"
        out = tmp_path / "out"
        assert visualize.main([f"--output_dir={out}", *data, *sides, *flags]) == 0
        return sorted(path.name for path in out.iterdir())

    return run


def names(*stems, stages):
    return sorted(f"{stem}_{stage}.jpg" for stem in stems for stage in [*stages, "stages"])


def size_of(path):
    with Image.open(path) as image:
        return image.size


def test_without_a_checkpoint_three_stages_are_drawn(run, tmp_path, capsys):
    assert run("--number=2") == names("a", "b", stages=STAGES[:3])
    assert capsys.readouterr().out.startswith("Images drawn: 2, ")
    assert size_of(tmp_path / "out" / "a_1_ground_truth.jpg") == (800, 600 + 2 * 28)
    assert size_of(tmp_path / "out" / "a_stages.jpg")[0] == 3 * 800 + 2 * 6


def test_with_a_checkpoint_six(run, model, tmp_path):
    assert run("--checkpoint=best.keras", "--image_ids=c") == names("c", stages=STAGES)
    # Detections stand beside the ground truth, and on the sheet in the second row.
    assert size_of(tmp_path / "out" / "c_6_detections.jpg")[0] == 2 * 800 + 6
    assert size_of(tmp_path / "out" / "c_stages.jpg")[1] > 2 * 600


def test_of_the_training_images_only_those_of_the_run_are_drawn(run, model, monkeypatch):
    settings = fakes.SMALL.replace(train_images=1, seed=2), fakes.CLASS_NAMES
    monkeypatch.setattr(checkpoint, "read_settings", lambda path: settings)
    first, *_ = sorted("abc", key=lambda name: rank(2, name))
    assert run("--checkpoint=best.keras") == names(first, stages=STAGES)


def test_images_are_chosen_by_id_or_number(run):
    assert run("--image_ids=c,a,c") == names("a", "c", stages=STAGES[:3])


def test_no_more_than_there_are(run):
    assert run("--number=99") == names("a", "b", "c", stages=STAGES[:3])


def test_the_split_is_chosen(run, folder, capsys):
    folder.line("val", "b")
    flags = f"--data_dir={folder.root}", "--train_split=train", "--eval_split=val"
    out = folder.root.parent / "out"
    assert visualize.main([f"--output_dir={out}", *flags, "--split=eval"]) == 0
    assert {path.name[0] for path in out.iterdir()} == {"b"}


def test_a_checkpoint_is_shown_on_data_with_classes_that_it_does_not_know(run, folder, model):
    folder.annotate("b", folder.object_xml("Circle", 9, 9, 30, 30) * 2, 48, 64)
    folder.annotate("c", folder.object_xml("cat", 9, 9, 30, 30), 48, 64)
    flags = "--checkpoint=x", "--image_ids=b,c"
    assert run(*flags) == names("b", "c", stages=STAGES)


def test_names_of_files_are_safe():
    ids = ["a/b", "../x", "A_B", "", "..", "é猫", "x" * 300, "a:b", "nul\0\n", "-rf", "\udce4"]
    stems = list(visualize.file_stems(ids))
    assert stems[:6] == ["a_b", "_x", "A_B_2", "image", "image_2", "é猫"]
    assert stems[6] == "x" * 50 and stems[7] == "a_b_3" and stems[9] == "rf"
    assert len({stem.casefold() for stem in stems}) == len(ids)
    for stem in stems:
        assert stem and stem[0] not in ".-" and not set(stem) & set('/\\:\0\n"*?<>|')
        assert len(f"{stem}_1_ground_truth.jpg".encode()) < 255


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--data_dir=/no/such", "--data_dir must be an existing folder"),
        ("--image_ids=d", "--image_ids must be among the 3 images of the split. Received: d."),
        ("--number=0", "--number must be at least 1. Received: 0"),
        ("--epoch=-1", "--epoch must be at least 0. Received: -1"),
        ("--num_proposals=0", "--num_proposals must be at least 1"),
        ("--draw_threshold=2", "--draw_threshold must be between 0 and 1. Received: 2"),
        ("--output_dir={root}/JPEGImages/a.jpg", "--output_dir must be a folder"),
        ("--checkpoint=/no/such.keras", "There is no checkpoint /no/such.keras"),
        ("--steps=3", "--steps is not used by this command"),
    ],
)
def test_a_wrong_command_line_gives_2(folder, tmp_path, capsys, flag, words):
    flags = [f"--data_dir={folder.root}", "--train_split=train", f"--output_dir={tmp_path}/out"]
    kept = [given for given in flags if not given.startswith(flag.partition("=")[0])]
    with pytest.raises(SystemExit) as error:
        visualize.main([*kept, flag.format(root=folder.root)])
    assert error.value.code == 2 and words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_image_that_cannot_be_read_is_named(run, folder, capsys):
    content = folder.image("a").read_bytes()
    folder.image("a").write_bytes(content[:300] + content[-20:])  # its header and end are whole
    with pytest.raises(SystemExit) as error:
        run()
    assert error.value.code == 2
    assert "a.jpg: unreadable image" in capsys.readouterr().err


@pytest.fixture
def dataset(folder):
    config = Config(data_dir=str(folder.root), train_split=("train",))
    return data.load(config, ("train",), fakes.CLASS_NAMES)


@pytest.fixture
def asked(monkeypatch):
    """Collects the arguments of the functions that draw, and draws nothing."""
    calls = {}
    for name in ("objects", "anchors", "proposals", "regions", "detections"):

        def draw(*args, name=name):
            calls.setdefault(name, []).append(args)
            return name

        monkeypatch.setattr(stages, f"draw_{name}", draw)
    return calls


@pytest.mark.parametrize(
    ("difficult", "words", "seen", "dashed"),
    [
        ("drop", "difficult, left out of training", 1, [False]),
        ("keep", "difficult, learned like the others", 2, [False, False]),
        ("ignore", "difficult, ignored in training", 2, [False, True]),
    ],
)
def test_difficult_objects_are_told_apart(dataset, asked, difficult, words, seen, dashed):
    config = fakes.SMALL.replace(difficult=difficult)
    with fakes.small_backbone():
        list(panels.draw(dataset, [0], config))
    truth, learned = asked["objects"]
    assert truth[1]["dashed"].tolist() == [False, True] and truth[4] == words
    assert len(learned[1]["boxes"]) == seen and learned[1]["dashed"].tolist() == dashed


def test_in_joined_data_each_image_has_the_default_of_its_form(dataset, asked):
    first = dataset.records[0]
    dataset.records[:] = [first, dataclasses.replace(first, form="coco")]
    with fakes.small_backbone():
        list(panels.draw(dataset, [0, 1], fakes.SMALL))
    words = [truth[4] for truth in asked["objects"][::2]]
    assert words == ["difficult, left out of training", "difficult, ignored in training"]


def test_stages_of_an_image_are_those_of_training(dataset, asked, model):
    config = model.config.replace(flip="horizontal", brightness=0.2)
    flipped = set()
    for epoch in range(6):
        if len(flipped) == 2:
            break
        asked.clear()
        (drawn,) = panels.draw(dataset, [1], config, model, epoch, 7, 0.3)
        assert list(drawn) == STAGES
        preprocessing = model.backbone.preprocessing
        ((inputs, targets),) = pipeline.training_examples(
            dataset, config, preprocessing, [1], epoch
        )
        (truth, learned), (anchors,) = asked["objects"], asked["anchors"]
        np.testing.assert_array_equal(truth[1]["boxes"], dataset.records[1].boxes)
        np.testing.assert_array_equal(learned[1]["boxes"], targets["boxes"][0, :1])
        assert learned[0].shape == (*inputs["image_shape"][0], 3)
        regions = training_view.sample_rois(model, inputs, targets)
        np.testing.assert_array_equal(asked["regions"][0][1], regions["rois"])
        np.testing.assert_array_equal(asked["regions"][0][2], regions["labels"])
        assert asked["proposals"][0][3] == 7
        expected = model.rpn.predict(model.rpn_levels(inputs)).anchors.boxes
        np.testing.assert_array_equal(anchors[3]["anchors"], expected)
        split = asked["detections"][0][1]
        assert split.score_threshold == 0.3
        flipped.add(bool(abs(learned[1]["boxes"][0, 1] - truth[1]["boxes"][0, 1] * 64 / 48) > 1))
    assert flipped == {False, True}


def test_detections_are_those_of_detect(dataset, asked, model):
    list(panels.draw(dataset, [2], model.config, model, draw_threshold=0.0))
    image, split, row, _ = asked["detections"][0]
    expected = model.detect([dataset.records[2].path])
    count = expected["num_detections"][0]
    assert row == 0 and len(split.boxes) == count > 0
    np.testing.assert_allclose(split.boxes, expected["boxes"][0, :count], atol=1e-3)
    np.testing.assert_array_equal(image, to_image(dataset.records[2].path))
