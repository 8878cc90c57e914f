"""The flagfiles that come with the package: they are found by name, in a checkout and installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from keras_frcnn.config import package_flagfiles

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"


def test_all_flagfiles_have_names():
    paths = [path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.cfg")]
    names = package_flagfiles.names()
    assert sorted(names) == sorted(str(path).removesuffix(".cfg") for path in paths)
    assert names.index("voc07") < names.index("paper/zf_shared")
    in_paper = sum(name.startswith("paper/") for name in names)
    assert package_flagfiles.summary().endswith(f"voc07_two_cores_more, and {in_paper} in paper/")


@pytest.mark.parametrize("text", ["voc07", "voc07.cfg", "configs/voc07.cfg", "configs/voc07"])
def test_a_flagfile_is_found_by_its_name(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "voc07").mkdir()  # such as a folder of data
    assert package_flagfiles.find(text) == CONFIGS / "voc07.cfg"
    assert package_flagfiles.find(text, tmp_path) == CONFIGS / "voc07.cfg"


def test_a_file_of_the_user_comes_first(tmp_path, monkeypatch):
    (tmp_path / "voc07.cfg").write_text("--seed=1\n")
    assert package_flagfiles.find("voc07.cfg", tmp_path) == tmp_path / "voc07.cfg"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert package_flagfiles.find("~/voc07.cfg") == tmp_path / "voc07.cfg"


@pytest.mark.parametrize("text", ["nonsense", "/voc07", "../configs/voc07", "", "paper"])
def test_what_is_no_name_stays_a_path(text, tmp_path):
    assert package_flagfiles.find(text, tmp_path) == tmp_path / text


def test_an_installed_package_has_the_flagfiles(tmp_path):
    """``build_py`` copies what a wheel contains."""
    build = ["setup.py", "--quiet", "build_py", "--build-lib", tmp_path / "site"]
    subprocess.run([sys.executable, "-W", "ignore", *build], cwd=ROOT, check=True)
    program = (
        f"import sys; sys.path[:1] = [{str(tmp_path / 'site')!r}]\n"
        "from keras_frcnn.cli import train\n"
        "from keras_frcnn.cli.command import parse\n"
        "from keras_frcnn.config import package_flagfiles\n"
        "print(package_flagfiles.folder(), len(package_flagfiles.names()))\n"
        "print(parse(train.COMMAND, ['--flagfile=configs/paper/zf_shared.cfg'])[0].scheme)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    folder, scheme = run.stdout.splitlines()
    count = len(list(CONFIGS.rglob("*.cfg")))
    assert folder == f"{tmp_path / 'site/keras_frcnn/configs'} {count}"
    assert scheme == "alternating"
