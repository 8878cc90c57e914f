"""The documentation: its links lead somewhere, and the flags that it names exist."""

import importlib
import re
from pathlib import Path

import pytest

from keras_frcnn.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("configs/**/*.cfg")])
# Flags of other programs, former names, and "--no" forms of true-or-false flags.
OTHERS = {
    *("model_name", "model_base_path", "model_config_file", "port", "rest_api_port", "gpus"),
    *("enable_batching", "batching_parameters_file", "monitoring_config_file", "rm", "batch"),
    *("calls", "size", "quick", "json", "help"),
    *("torch_python", "detectron2", "pairs", "check", "fuzz", "logdir", "flagfile", "data"),
    *("check_pictures", "num_pictures", "nocheck_images", "noinclude_empty"),
    "nokeep_checkpoints",
    *("nodes", "ntasks", "cpus", "time", "signal"),  # Slurm's
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def known_flags() -> set[str]:
    """Returns the names of the flags of all commands."""
    names = set()
    for module, _ in COMMANDS.values():
        command = importlib.import_module(module).COMMAND
        names |= {option.name for option in command.options} | set(command.settings)
    return names


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_flags_exist(page):
    flags = re.findall(r"(?<![\w-])--([a-z]\w+)", page.read_text(encoding="utf-8"))
    assert set(flags) - known_flags() - OTHERS == set()


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_commands_exist(page):
    commands = re.findall(r"keras-frcnn ([a-z][a-z-]+) --", page.read_text(encoding="utf-8"))
    scripts = re.findall(r"python (\w+)\.py", page.read_text(encoding="utf-8"))
    assert set(commands) <= set(COMMANDS)
    assert all((ROOT / f"{script}.py").is_file() for script in scripts)
