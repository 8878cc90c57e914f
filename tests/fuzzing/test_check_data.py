"""Hundreds of damaged annotations and images: every one is survived, nothing else is touched."""

import io
import random
import time
import tracemalloc

import pytest
from PIL import Image

from keras_frcnn.config import Config
from keras_frcnn.inspection.check_data import checks, fix, page
from keras_frcnn.inspection.check_data import report as check_report
from tests.data.conftest import VocFolder
from tests.fuzzing.mutations import HOSTILE, mutate
from tests.inspection.conftest import scene

_NUMBER = 300


def _image(rng, seed):
    buffer = io.BytesIO()
    image = Image.fromarray(scene(seed, 24, 32))
    exif = Image.Exif()
    exif[0x112] = rng.randrange(1, 9)
    kind = rng.choice(("JPEG", "PNG", "P", "LA", "CMYK", "I;16"))
    if kind == "JPEG":
        image.save(buffer, "JPEG", exif=exif, progressive=rng.random() < 0.5)
    elif kind == "CMYK":
        image.convert("CMYK").save(buffer, "JPEG", exif=exif)
    elif kind == "I;16":
        image.convert("I;16").save(buffer, "PNG")
    else:
        (image if kind == "PNG" else image.convert(kind)).save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    """A folder of damaged data, and the number of bytes of everything in its parent."""
    rng, folder = random.Random(0), VocFolder(tmp_path_factory.mktemp("fuzz") / "data")
    for number in range(_NUMBER):
        stem = f"{number:04d}"
        boxes = [(f"c{n}", *(rng.randrange(-2, 36) for _ in range(4))) for n in range(4)]
        folder.annotate(stem, "".join(folder.object_xml(*box) for box in boxes), 24, 32)
        content, image = folder.annotation(stem).read_bytes(), _image(rng, number)
        if number % 3:
            folder.annotation(stem).write_bytes(mutate(content, rng))
        folder.image(stem).write_bytes(mutate(image, rng) if number % 3 != 1 else image)
        folder.line(rng.choice(("train", "val")), stem)
    for _ in range(30):
        name = rng.choice(HOSTILE).decode("utf-8", "replace").replace("\n", "") or "x"
        folder.line("val", name)
    return folder


def test_damaged_data_is_checked_shown_and_corrected(fuzzed, tmp_path):
    outside = fuzzed.root.parent
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    config = Config(data_dir=str(fuzzed.root), train_split=("train",), eval_split=("val",))
    tracemalloc.start()
    begin = time.perf_counter()
    report = checks.check(config)
    check_report.write_json(report, tmp_path / "check.json")
    page.write(report, tmp_path / "check.html")
    fix.write(report, str(tmp_path / "fixed"))
    seconds, (_, peak) = time.perf_counter() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 60 and peak < 100e6
    assert {p: p.read_bytes() for p in outside.rglob("*") if p.is_file()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"check.json", "check.html", "fixed"}
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    counts = report.counts
    for kind in ("broken_image", "broken_annotation", "degenerate_box", "outside_box"):
        assert counts[kind] > 20, kind
    assert len(report.source.samples) >= _NUMBER

    again = checks.check(config.replace(data_dir=str(tmp_path / "fixed")))
    left = {kind for kind, count in again.counts.items() if count}
    assert left <= {*("unknown_class", "overlap", "near_overlap", "duplicate_image", "empty_image")}
