"""The numbered folder of a SavedModel: its number, its place, and when it appears."""

import pytest

from keras_frcnn.serving.folder import publish, version_folder


def test_the_next_number_is_free(tmp_path):
    assert version_folder(tmp_path / "new") == tmp_path / "new" / "1"
    for name in ("2", "10", "unfinished_11", "models.config", "x3"):
        (tmp_path / name).mkdir()
    assert version_folder(tmp_path) == tmp_path / "11"
    (tmp_path / "0012").touch()  # the server reads it as a number, too
    assert version_folder(tmp_path) == tmp_path / "13"


def test_a_number_can_be_chosen_if_it_is_new(tmp_path):
    (tmp_path / "4").mkdir()  # empty
    assert version_folder(tmp_path, 4) == tmp_path / "4"
    assert version_folder(tmp_path / "new", 7) == tmp_path / "new" / "7"
    (tmp_path / "4" / "saved_model.pb").touch()
    with pytest.raises(ValueError) as caught:
        version_folder(tmp_path, 4)
    assert str(caught.value) == (
        f"{tmp_path}/4 exists already and is not replaced, because a running server would not "
        "notice. Without --version, the next free number is used: 5"
    )
    (tmp_path / "5").touch()
    with pytest.raises(ValueError, match=r"/5 exists already .* number is used: 6"):
        version_folder(tmp_path, 5)


def test_places_that_cannot_be_taken(tmp_path):
    (tmp_path / "file").touch()
    expected = r"must be a folder for SavedModels\. Received: a file"
    with pytest.raises(ValueError, match=rf"/file {expected}"):
        version_folder(tmp_path / "file", 1)
    for name in ("runs [1]", "a*", "b?", "c\\d"):  # TensorFlow would look for other files
        with pytest.raises(ValueError, match=r"must not contain \* \? \[ \\, because .*Received: "):
            version_folder(tmp_path / name, 1)
    with pytest.raises(ValueError, match="--version must be at least 1. Received: 0"):
        version_folder(tmp_path, 0)


def test_a_folder_appears_when_it_is_whole(tmp_path):
    base, seen = tmp_path / "a" / "b", []

    def write(folder):
        (folder / "saved_model.pb").touch()
        seen.append([path.name.startswith("unfinished_") for path in base.iterdir()])

    assert publish(write, base) == base / "1"
    assert seen == [[True]]
    assert [path.name for path in (base / "1").iterdir()] == ["saved_model.pb"]
    assert [path.name for path in base.iterdir()] == ["1"]
    assert oct((base / "1").stat().st_mode) == oct(base.stat().st_mode)  # a server may read it


def test_of_two_exports_at_once_each_gets_its_number(tmp_path):
    def write_slowly(folder):
        (folder / "slow").touch()
        assert publish(lambda folder: (folder / "fast").touch(), tmp_path) == tmp_path / "1"

    assert publish(write_slowly, tmp_path) == tmp_path / "2"
    assert (tmp_path / "1" / "fast").exists() and (tmp_path / "2" / "slow").exists()


def test_a_chosen_number_that_was_taken_meanwhile_is_an_error(tmp_path):
    def write(folder):
        (tmp_path / "3").mkdir()
        (tmp_path / "3" / "precious").touch()

    with pytest.raises(ValueError, match="/3 exists already"):
        publish(write, tmp_path, 3)
    assert [path.name for path in (tmp_path / "3").iterdir()] == ["precious"]
    assert [path.name for path in tmp_path.iterdir()] == ["3"]


def test_what_fails_leaves_nothing(tmp_path):
    def write(folder):
        (folder / "saved_model.pb").touch()
        raise ValueError("it differs")

    with pytest.raises(ValueError, match="it differs"):
        publish(write, tmp_path)
    assert list(tmp_path.iterdir()) == []
