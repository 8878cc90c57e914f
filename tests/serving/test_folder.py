"""The numbered folder of a SavedModel: which folders may be written to."""

import pytest

from keras_frcnn.serving.folder import version_folder


def test_places_that_can_be_taken(tmp_path):
    (tmp_path / "1").mkdir()  # empty
    assert version_folder(tmp_path, 1) == tmp_path / "1"
    assert version_folder(tmp_path / "new", 7) == tmp_path / "new" / "7"


def test_places_that_cannot_be_taken(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "1").touch()
    expected = r"must be a folder for the SavedModel\. Received: a file"
    with pytest.raises(ValueError, match=rf"/file {expected}"):
        version_folder(tmp_path / "file", 1)
    with pytest.raises(ValueError, match=rf"/1 {expected}"):
        version_folder(tmp_path, 1)
    for name in ("runs [1]", "a*", "b?", "c\\d"):  # TensorFlow would look for other files
        with pytest.raises(ValueError, match=r"must not contain \* \? \[ \\, because .*Received: "):
            version_folder(tmp_path / name, 1)
    with pytest.raises(ValueError, match="version must be at least 1. Received: 0"):
        version_folder(tmp_path, 0)
