"""``import-detector``, ``describe`` and ``zoo``: what they write, say and refuse."""

import pytest

from keras_frcnn.cli import describe, import_detector, zoo
from keras_frcnn.weights import checkpoint
from keras_frcnn.weights.importers import detector as importer
from tests import fakes

ORIGIN = {
    "source": "torchvision",
    "model": "fasterrcnn_resnet50_fpn",
    "file": "mine.pth",
    "sha256": "0" * 64,
    "licence": "BSD-3-Clause",
}


@pytest.fixture
def calls(monkeypatch):
    """The import makes a small detector; this lists its arguments."""
    calls = []

    def make(*arguments):
        calls.append(arguments)
        model = fakes.detector()
        model.origin = ORIGIN
        return model

    monkeypatch.setattr(importer, "import_detector", make)
    return calls


@pytest.mark.parametrize("flag", ["output_file", "output"])
def test_an_imported_detector_is_written_and_described(flag, tmp_path, calls, capsys):
    target = tmp_path / "new" / "a.keras"
    weights = tmp_path / "mine.pth"
    weights.touch()
    # The flag was once called --output.
    flags = [f"--{flag}={target}", f"--weights={weights}", "--class_names=a,b"]
    assert import_detector.main(flags) == 0
    assert calls == [("torchvision", str(weights), "", ("a", "b"))]
    assert capsys.readouterr().out == (
        f"{target}: fasterrcnn_resnet50_fpn of torchvision, 4 classes\nLicence: BSD-3-Clause\n"
    )
    assert checkpoint.read_origin(target) == ORIGIN
    assert describe.main([f"--checkpoint={target}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"{target}: vgg16, 4 classes", "classes: circle, square, star, triangle"]
    assert "shorter_side: 64" in lines
    assert not [line for line in lines if line.startswith(("ratios", "roi_half_pixel"))]
    assert lines[-5:] == [f"origin, {name}: {text}" for name, text in ORIGIN.items()]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--output_file=a.h5", "--weights=b"],
            "--output_file must be the name of a .keras file. Received: 'a.h5'",
        ),
        (
            ["--output_file=a.keras", f"--weights={__file__}", "--model=x"],
            "--model must be one of fasterrcnn_",
        ),
    ],
)
def test_flags_that_do_not_fit_are_refused(flags, message, calls, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        import_detector.main(flags)
    assert message in capsys.readouterr().err
    assert calls == []


def test_the_zoo_lists_names_figures_and_the_cache(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_FRCNN_CACHE", str(tmp_path))
    assert zoo.main([]) == 0
    first, *_, voc, last = capsys.readouterr().out.splitlines()
    assert first == (
        "zoo:torchvision/fasterrcnn_resnet50_fpn_coco: COCO, 80 classes, published AP 37.0 on COCO "
        "val2017, 160 MiB, BSD-3-Clause, not fetched"
    )
    assert voc == (
        "zoo:detectron2/faster_rcnn_R_50_C4_voc: VOC, 20 classes, published AP50 80.3 on VOC 2007 "
        "test, CC-BY-SA-3.0, not fetched"
    )
    assert last == f"Cache: {tmp_path} (set KERAS_FRCNN_CACHE to use another folder)"
