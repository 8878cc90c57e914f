"""A detector with a feature pyramid goes through every scheme and every command."""

import json

import pytest

from keras_frcnn.cli import anchor_fit, explain, export, visualize
from keras_frcnn.console import Console
from keras_frcnn.data.writers import shapes
from keras_frcnn.training import trainer
from keras_frcnn.weights import checkpoint
from tests import fakes


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Settings of runs of a step or two on small images; without their ``output_dir``."""
    folder = tmp_path_factory.mktemp("shapes")
    data_dir = shapes.make(folder, 5, 2, 1, shorter_side=(64, 72), longer_side=(80, 96))
    return fakes.SMALL_FPN.replace(
        data_dir=str(data_dir),
        train_split=("train",),
        eval_split=("val",),
        check_images=False,
        num_images=0,
        steps=2,
        batch_size=1,
        eval_every=2,
        log_every=1,
        learning_rate=1e-4,
    )


@pytest.fixture(scope="module")
def runs(settings, tmp_path_factory):
    """The folders of a run of each scheme."""
    folders = {}
    with pytest.MonkeyPatch.context() as patch, fakes.small_backbone():
        fakes.run_eagerly(patch)
        for scheme in ("alternating", "non_approximate"):
            folder = folders[scheme] = tmp_path_factory.mktemp(scheme)
            config = settings.replace(
                output_dir=str(folder), scheme=scheme, alternating_steps=(1, 1, 1, 1)
            )
            trainer.train(config, Console(quiet=True))
    return folders


@pytest.mark.parametrize(
    ("scheme", "steps"),
    [
        ("alternating", {"step1": 1, "unshared": 2, "step3": 3, "last": 4}),
        ("non_approximate", {"last": 2}),
    ],
)
def test_every_scheme_trains_it(runs, scheme, steps):
    with fakes.small_backbone():
        for name, step in steps.items():
            model = checkpoint.load(runs[scheme] / f"{name}.keras")
            assert int(model.step) == step
            assert model.backbone.strides == (4, 8, 16, 32, 64)
            assert (model.rpn_backbone is not None) == (name in ("step1", "unshared"))


def test_the_commands_take_it(runs, settings, tmp_path, capsys):
    best = f"--checkpoint={runs['non_approximate'] / 'last.keras'}"
    out = {name: tmp_path / name for name in ("served", "explained", "drawn", "anchors")}
    with fakes.small_backbone():
        assert export.main([best, f"--output_dir={out['served']}"]) == 0
        assert explain.main([best, "--subset=train", f"--output_dir={out['explained']}"]) == 0
        assert visualize.main([best, "--number=1", f"--output_dir={out['drawn']}"]) == 0
        data = f"--data_dir={settings.data_dir[0]}", "--train_split=train"
        flags = "--backbone=vgg16_fpn", f"--output_dir={out['anchors']}"
        assert anchor_fit.main([*data, *flags]) == 0
    assert (out["served"] / "1" / "saved_model.pb").is_file()
    images = json.loads((out["explained"] / "explanations.json").read_text(encoding="utf-8"))
    assert len(images["images"]) == 5
    assert len(list(out["drawn"].glob("*_stages.jpg"))) == 1
    found = json.loads((out["anchors"] / "anchors.json").read_text(encoding="utf-8"))
    assert found["chosen"]["scales"] == [[32], [64], [128], [256], [512]]
    assert found["chosen"]["strides"] == [4, 8, 16, 32, 64]
    scales = found["flags"].split()[0].removeprefix("--scales=").split(",")
    assert len(scales) == 5 and found["flags"] in capsys.readouterr().out
