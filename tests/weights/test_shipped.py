"""The package's detectors by name. Their figures are in docs/results.md."""

import shutil

import pytest

import keras_frcnn
from keras_frcnn.data.categories import VOC_CLASSES
from keras_frcnn.weights import checkpoint, shipped


def test_the_default_is_one_of_the_names():
    assert shipped.DEFAULT in shipped.names()


@pytest.mark.parametrize("name", shipped.names())
def test_each_detector_has_a_card_and_no_path_of_its_author(name):
    config, class_names = checkpoint.read_settings(name)
    assert class_names == VOC_CLASSES
    assert config.precision == "auto"
    assert (config.output_dir, config.data_dir, config.train_proposals) == ("", (), "rpn")
    file = shipped.find(name)
    assert file.stat().st_size <= 64e6
    card = file.with_suffix(".md").read_text(encoding="utf-8")
    for heading in ("Data", "Recipe", "Accuracy", "Start weights", "Licence"):
        assert f"## {heading}\n" in card


def test_a_file_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shipped.find("voc07") == shipped.FOLDER / "voc07.keras"
    (tmp_path / "voc07").mkdir()  # a folder is not a checkpoint
    assert shipped.find("voc07") == shipped.FOLDER / "voc07.keras"
    (tmp_path / "voc07").rmdir()
    shutil.copy(shipped.find("voc07"), tmp_path / "voc07")
    assert str(shipped.find("voc07")) == "voc07"
    assert checkpoint.read_settings("voc07")[1] == VOC_CLASSES


@pytest.mark.parametrize("name", ["voc7", "../detectors/voc07", "*", "voc07.keras", "VOC07"])
def test_no_other_text_is_a_name(name):
    assert not shipped.is_name(name)
    with pytest.raises(ValueError, match="There is no checkpoint"):
        keras_frcnn.load(name)


def test_a_name_with_a_typing_error_is_told_the_names():
    with pytest.raises(ValueError) as caught:
        keras_frcnn.load("voc7")
    expected = f"There is no checkpoint voc7. Detectors of the package: {shipped.DEFAULT}"
    assert str(caught.value) == expected
