"""Finding files whose names are written in another form than the file system's."""

import os
import unicodedata

import pytest

from keras_frcnn.data.paths import FileFinder

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.fixture
def folder(tmp_path):
    """Returns a function that makes empty files and returns their folder."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        (f"{DECOMPOSED}.jpg", f"{COMPOSED}.jpg"),
        (f"{COMPOSED}.jpg", f"{DECOMPOSED}.jpg"),
        (f"{DECOMPOSED}/a.jpg", f"{COMPOSED}/a.jpg"),
        ("a.Jpg", "a.jpg"),
        ("v1.2.txt", "v1.2.TXT"),
        (f"{DECOMPOSED}/{COMPOSED}.XML", f"{COMPOSED}/{DECOMPOSED}.xml"),
    ],
)
def test_a_file_is_found_by_another_form_of_its_name(folder, stored, written):
    root = folder(stored)
    assert FileFinder(root).find(root / written) == root / stored


def test_a_file_of_exactly_this_name_comes_first(folder):
    root = folder("a.jpg", "a.JPG", f"{COMPOSED}.png", f"{DECOMPOSED}.png")
    for name in ("a.jpg", "a.JPG", f"{COMPOSED}.png", f"{DECOMPOSED}.png"):
        assert FileFinder(root).find(root / name) == root / name


@pytest.mark.parametrize(
    "name", ["b.jpg", "A.jpg", "a", "a.jpg.jpg", "none/a.jpg", "x" * 300, "\0"]
)
def test_other_files_are_not_found(folder, name):
    root = folder("a.jpg")
    assert FileFinder(root).find(root / name) is None


def test_all_files_of_a_stem_in_the_order_of_their_suffixes(folder):
    root = folder("a.PNG", "a.jpg", "a.JPG", "a.txt", "ab.jpg", "A.jpg")
    found = FileFinder(root).of_stem(root / "a", (".jpg", ".png"))
    assert [path.name for path in found] == ["a.jpg", "a.JPG", "a.PNG"]


def test_names_that_nearly_fit_are_hints(folder):
    root = folder("P0.jpg", "p1.gif", "x.y.jpg")
    finder = FileFinder(root)
    assert finder.hint(root / "p0") == "; a file with a similar name is P0.jpg"
    assert finder.hint(root / "p0.jpg") == "; a file with a similar name is P0.jpg"
    assert finder.hint(root / "p1") == "; a file with a similar name is p1.gif"
    assert finder.hint(root / "X.y") == "; a file with a similar name is x.y.jpg"
    assert finder.hint(root / "p2") == ""


def test_each_folder_is_listed_once(folder, monkeypatch):
    root = folder("a.jpg", "sub/b.jpg")
    finder = FileFinder(root)
    listed, listdir = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or listdir(path))
    for name in ("a.jpg", "c.jpg", "sub/b.jpg", "sub/c.jpg", "none/c.jpg", "none/d.jpg") * 2:
        finder.find(root / name)
    assert sorted(listed) == [root, root / "none", root / "sub"]


def test_no_other_folder_is_looked_into(folder):
    root = folder("a.jpg", "sub/b.jpg") / "sub"
    finder = FileFinder(root)
    assert finder.find(root) == root and finder.find(root / "b.JPG") == root / "b.jpg"
    for path in (root.parent, root.parent / "a.jpg", root / ".." / "a.jpg", root / ".."):
        assert finder.find(path) is None
        assert finder.hint(path) == ""


def test_a_folder_that_must_not_be_read_is_named(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    root = folder("a.jpg")
    monkeypatch.setattr(os, "listdir", refuse)
    words = f"{root}: expected a folder that can be read. Received: Permission denied"
    with pytest.raises(ValueError, match=words):
        FileFinder(root).find(root / "a.jpg")
