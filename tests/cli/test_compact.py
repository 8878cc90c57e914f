"""``keras-frcnn compact``: its file, its line, and what it refuses."""

import pytest

from keras_frcnn.cli.compact import main
from keras_frcnn.weights import checkpoint
from tests import fakes


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "best.keras"
    with fakes.small_backbone():
        checkpoint.save(fakes.detector(), path)
    return path


def test_a_copy_is_written_and_its_size_is_said(saved, tmp_path, capsys):
    target = tmp_path / "new" / "small.keras"
    assert main([f"--checkpoint={saved}", f"--output_file={target}"]) == 0
    before, after = (path.stat().st_size / 1e6 for path in (saved, target))
    assert after < before
    assert capsys.readouterr().out == f"{target}: {after:.1f} MB, from {before:.1f} MB\n"
    assert checkpoint.read_settings(target)[1] == checkpoint.read_settings(saved)[1]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("best.keras", "must not be the checkpoint itself"),
        ("small.h5", "--output_file must be the name of a .keras file"),
        ("", "--output_file must be the name of a .keras file"),
    ],
)
def test_a_wrong_target_is_refused(target, message, saved, capsys):
    before = saved.read_bytes()
    with pytest.raises(SystemExit) as caught:
        main([f"--checkpoint={saved}", f"--output_file={saved.parent / target}"])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert saved.read_bytes() == before
