"""Writing files: whole or not at all, and what is said about places that cannot be written to."""

import errno
import os

import pytest

from keras_frcnn import files


@pytest.fixture
def occupied(tmp_path):
    """A file where a folder is needed; it stands for read-only folders, since root may do all."""
    path = tmp_path / "file"
    path.write_text("mine")
    return path


def test_a_text_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write_text(path, "ä\n")
    assert path.read_bytes() == b"\xc3\xa4\n"
    with pytest.raises(UnicodeEncodeError):
        files.write_text(path, "new \udc80")
    assert path.read_text(encoding="utf-8") == "ä\n"
    files.write_text(path, "new \udc80", errors="backslashreplace")
    assert path.read_text() == "new \\udc80"

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_text(path, "newer")
    assert path.read_text() == "new \\udc80"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_file_that_fails_half_way_keeps_what_was_there(tmp_path):
    path = tmp_path / ("ä" * 125 + ".png")  # the longest name that file systems allow, nearly
    for content in (b"old", b"new"):
        with files.replacing(path) as part:
            part.write_bytes(content)
    with pytest.raises(OSError, match="No space left") as caught, files.replacing(path) as part:
        part.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("name", ["", "new", "new/a/b"])
def test_folders_that_are_there_or_can_be_made_are_fine(name, tmp_path):
    assert files.unwritable(tmp_path / name) == ""
    assert files.unwritable(tmp_path / name / "a.json", is_folder=False) == ""
    assert os.listdir(tmp_path) == []


def test_an_error_in_writing_names_the_file_that_was_meant(tmp_path, monkeypatch):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        files.write_text(tmp_path / "a.json", "new")
    assert caught.value.filename == str(tmp_path / "a.json")
    assert os.listdir(tmp_path) == ["a.json"]

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.Path, "write_text", full)
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_text(tmp_path / "b.json", "new")
    message = f"{tmp_path / 'b.json'} cannot be read or written: No space left on device"
    assert files.fault(caught.value, "elsewhere") == message


def test_a_file_in_the_way_is_named(occupied, tmp_path):
    reason = f"{occupied}: Not a directory"
    assert files.unwritable(occupied) == reason
    assert files.unwritable(occupied / "a" / "b") == reason
    assert files.unwritable(occupied / "a.json", is_folder=False) == reason
    assert files.unwritable(occupied, is_folder=False) == ""  # it is replaced
    assert files.unwritable(tmp_path, is_folder=False) == f"{tmp_path}: is not a file"
    assert files.unwritable("/dev/null", is_folder=False) == "/dev/null: is not a file"
    assert occupied.read_text() == "mine"


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_name_that_is_too_long_is_named(is_folder, tmp_path):
    path = tmp_path / ("ä" * 128)
    assert files.unwritable(path, is_folder) == f"{path}: File name too long"


def test_a_folder_in_which_nothing_can_be_created_is_named(tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(errno.EACCES, "", str(dir))

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    assert files.unwritable(tmp_path / "new") == f"{tmp_path}: Permission denied"


H5PY = (
    "Can't decrement id ref count (file write failed: time = Mon, filename = "
    "'a/model.weights.h5', file descriptor = 3, errno = 28, error message = 'No space left on "
    "device', buf = 0x5, total write size = 2048)"
)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "x"), "runs/a cannot be read or written: No space left on device"),
        (PermissionError(13, "x", "a/b"), "a/b cannot be read or written: Permission denied"),
        (OSError(errno.EROFS, "x", "b"), "b cannot be read or written: Read-only file system"),
        (FileExistsError(17, "x", "b"), "b cannot be read or written: File exists"),
        (FileNotFoundError(2, "x", "b"), "b cannot be read or written: No such file or directory"),
        (
            IsADirectoryError(21, "x", "a/new.keras", None, "a/best.keras"),
            "a/best.keras cannot be read or written: Is a directory",
        ),
        (OSError(errno.EFBIG, "x"), "runs/a cannot be read or written: File too large"),
        (RuntimeError(H5PY), "runs/a cannot be read or written: No space left on device"),
        (
            RuntimeError("{{node}} a/part-0; Permission denied [Op:SaveV2]"),
            "runs/a cannot be read or written: Permission denied",
        ),
        (RuntimeError("a is not a directory"), "runs/a cannot be read or written: Not a directory"),
        (OSError(errno.ENOENT, "without a name"), ""),
        (ConnectionResetError(errno.ECONNRESET, "x"), ""),
        (OSError("no number"), ""),
        (RuntimeError("a bug"), ""),
        (KeyError("a"), ""),
    ],
)
def test_what_is_wrong_with_a_place_is_one_sentence(error, message):
    assert files.fault(error, "runs/a") == message


def test_without_any_place_it_is_a_file():
    message = "A file cannot be read or written: No space left on device"
    assert files.fault(OSError(errno.ENOSPC, "x")) == message


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_gets_a_second_name_or_is_copied(has_links, tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EPERM, "Operation not permitted")

    if not has_links:
        monkeypatch.setattr("os.link", refuse)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("new")
    target.write_text("old")
    files.link_or_copy(source, target)
    assert target.read_text() == "new" and target.samefile(source) == has_links
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_copy_that_fails_leaves_the_file_before_it(tmp_path, monkeypatch):
    def fill_the_disk(source, part):
        part.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def refuse(*args):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    monkeypatch.setattr("shutil.copyfile", fill_the_disk)
    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("old")
    with pytest.raises(OSError, match="No space left"):
        files.link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
