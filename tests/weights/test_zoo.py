"""Detectors of the zoo by name: the index, the cache, fetching, and what is refused."""

import hashlib
import io
import urllib.error

import pytest

import keras_frcnn
from keras_frcnn.weights import checkpoint, shipped, zoo
from keras_frcnn.weights.importers import detector as importer
from tests import fakes

NAME = "zoo:torchvision/fasterrcnn_resnet50_fpn_coco"
CONTENT = b"weights" * 1000


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no network."""
    monkeypatch.setenv(zoo.CACHE_VARIABLE, str(tmp_path / "cache"))

    def offline(url, timeout):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(zoo.urllib.request, "urlopen", offline)
    return tmp_path / "cache" / "torchvision"


@pytest.fixture
def published(monkeypatch):
    """The index names a small file; the import makes a small detector of it."""
    entry = zoo.entries()[NAME.removeprefix(zoo.PREFIX)]
    digest = hashlib.sha256(CONTENT).hexdigest()[:8]
    entry = entry._replace(digest=f"sha256:{digest}", mebibytes=len(CONTENT) / 2**20)
    monkeypatch.setattr(zoo, "entries", lambda: {NAME.removeprefix(zoo.PREFIX): entry})
    imports = []

    def make(source, path, model):
        imports.append((source, path, model))
        with fakes.small_backbone():
            model = fakes.detector()
        model.origin = {"source": source, "file": path.name}
        return model

    monkeypatch.setattr(importer, "import_detector", make)
    return entry, imports


def serve(monkeypatch, content):
    monkeypatch.setattr(zoo.urllib.request, "urlopen", lambda url, timeout: io.BytesIO(content))


def test_every_entry_can_be_imported_and_carries_its_digest():
    for name, entry in zoo.entries().items():
        assert entry.model in importer.MODELS[entry.source]
        assert name.partition("/")[0] == entry.source
        assert entry.url.startswith("https://")
        kind, _, digits = entry.digest.partition(":")
        end, count = {"sha256": (f"-{digits}.pth", 8), "md5": (f"_{digits}.pkl", 6)}[kind]
        assert entry.url.endswith(end)
        assert len(digits) == count


def test_a_file_is_fetched_checked_and_imported_once(cache, published, monkeypatch):
    entry, imports = published
    serve(monkeypatch, CONTENT)
    path = shipped.find(NAME)
    assert path == cache / "fasterrcnn_resnet50_fpn_coco.format2.keras"
    assert imports == [("torchvision", entry.file, "fasterrcnn_resnet50_fpn")]
    assert entry.file.read_bytes() == CONTENT
    monkeypatch.setattr(zoo.urllib.request, "urlopen", None)
    with fakes.small_backbone():
        assert checkpoint.read_settings(NAME)[1] == fakes.CLASS_NAMES
        assert keras_frcnn.load(NAME).origin == checkpoint.read_origin(NAME)
    assert checkpoint.read_origin(NAME) == {"source": "torchvision", "file": entry.file.name}
    assert len(imports) == 1


def test_a_file_that_was_put_there_is_used(cache, published):
    entry, imports = published
    cache.mkdir(parents=True)
    entry.file.write_bytes(CONTENT)
    assert shipped.find(NAME).is_file()
    assert len(imports) == 1


def test_without_a_network_the_message_says_what_to_do(cache, published):
    with pytest.raises(ValueError) as caught:
        shipped.find(NAME)
    assert str(caught.value) == (
        f"{published[0].url} cannot be fetched (<urlopen error no network>): fetch it on another "
        f"machine and put it into {cache}"
    )
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("content", [b"another file", CONTENT[:-1]])
def test_another_file_is_refused_before_it_is_read(cache, published, monkeypatch, content):
    serve(monkeypatch, content)
    digits = published[0].digest.removeprefix("sha256:")
    with pytest.raises(ValueError, match=f"whose SHA-256 starts with {digits}"):
        shipped.find(NAME)
    assert published[1] == []


def test_no_more_is_fetched_than_the_file_has(published, monkeypatch):
    entry, _ = published
    serve(monkeypatch, bytes(10 * 2**20))
    with pytest.raises(ValueError, match="must be the file of"):
        shipped.find(NAME)
    assert entry.file.stat().st_size <= 2 * 2**20


def test_a_file_of_unknown_size_is_fetched_to_its_end_and_checked_by_its_md5(
    cache, published, monkeypatch
):
    digest = hashlib.md5(CONTENT).hexdigest()[:6]
    entry = published[0]._replace(digest=f"md5:{digest}", mebibytes=None)
    monkeypatch.setattr(zoo, "entries", lambda: {NAME.removeprefix(zoo.PREFIX): entry})
    serve(monkeypatch, CONTENT)
    shipped.find(NAME)
    assert entry.file.read_bytes() == CONTENT
    other = entry._replace(url=f"{entry.url}b")
    monkeypatch.setattr(zoo, "entries", lambda: {"torchvision/b": other})
    monkeypatch.setattr(zoo, "_MOST_BLOCKS", 2)
    serve(monkeypatch, bytes(10 * 2**20))
    with pytest.raises(ValueError, match=f"whose MD5 starts with {digest}"):
        shipped.find("zoo:torchvision/b")
    assert other.file.stat().st_size == 2 * 2**20


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(ValueError) as caught:
        keras_frcnn.load("zoo:torchvision/fasterrcnn_resnet50_fpn_coca")
    assert "There is no detector zoo:torchvision/fasterrcnn_resnet50_fpn_coca." in str(caught.value)
    assert "keras-frcnn zoo lists them" in str(caught.value)


def test_the_cache_has_a_usual_place(monkeypatch, tmp_path):
    monkeypatch.delenv(zoo.CACHE_VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert zoo.cache_folder() == tmp_path / ".cache" / "keras_frcnn"
