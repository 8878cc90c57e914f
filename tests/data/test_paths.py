"""Finding files whose names are written in another form than the file system's."""

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
    assert FileFinder().find(root / written) == root / stored


def test_a_file_of_exactly_this_name_comes_first(folder):
    root = folder("a.jpg", "a.JPG", f"{COMPOSED}.png", f"{DECOMPOSED}.png")
    for name in ("a.jpg", "a.JPG", f"{COMPOSED}.png", f"{DECOMPOSED}.png"):
        assert FileFinder().find(root / name) == root / name


@pytest.mark.parametrize("name", ["b.jpg", "A.jpg", "a", "a.jpg.jpg", "none/a.jpg", "x" * 300, "\0"])
def test_other_names_stay_as_they_are(folder, name):
    root = folder("a.jpg")
    assert FileFinder().find(root / name) == root / name


def test_all_files_of_a_stem_in_the_order_of_their_suffixes(folder):
    root = folder("a.PNG", "a.jpg", "a.JPG", "a.txt", "ab.jpg", "A.jpg")
    found = FileFinder().of_stem(root / "a", (".jpg", ".png"))
    assert [path.name for path in found] == ["a.jpg", "a.JPG", "a.PNG"]


def test_names_that_nearly_fit_are_hints(folder):
    finder = FileFinder()
    root = folder("P0.jpg", "p1.gif", "x.y.jpg")
    assert finder.hint(root / "p0") == "; a file of nearly this name is P0.jpg"
    assert finder.hint(root / "p0.jpg") == "; a file of nearly this name is P0.jpg"
    assert finder.hint(root / "p1") == "; a file of nearly this name is p1.gif"
    assert finder.hint(root / "X.y") == "; a file of nearly this name is x.y.jpg"
    assert finder.hint(root / "p2") == ""
