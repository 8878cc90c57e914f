"""The house rules: which room may import which, files of a readable length, sound flagfiles."""

import ast
import itertools
import re
import sys
from pathlib import Path

import pytest

import keras_frcnn
from keras_frcnn.cli.command import Command, parse

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "keras_frcnn"
SOURCES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(ROOT.glob("*.py"))
FLAGFILES = sorted((ROOT / "configs").rglob("*.cfg"))

# What a room (a folder of the package) may import from the others; "*" is all of them.
DATA = {"config", "ops.boxes", "data"}
MODELS = {"config", "ops", "layers", "backbones", "models", "data.images"}
WEIGHTS = MODELS | {"weights", "data.class_names", "data.categories"}
TOOLS = WEIGHTS | DATA | {"evaluation", "drawing", "inference", "inspection"}
MAY_IMPORT = {
    "console": set(),
    "files": set(),
    "signals": set(),
    "config": set(),
    "ops": set(),
    "layers": {"ops"},
    "backbones": {"config", "ops", "layers", "data.images"},
    "models": MODELS | {"drawing"},
    "weights": WEIGHTS,
    "data": DATA,
    "drawing": {"data.images"},
    "evaluation": {"config", "data", "drawing"},
    "inference": WEIGHTS | DATA | {"evaluation.metrics"},
    "inspection": TOOLS,
    "training": TOOLS | {"serving", "signals"},
    "serving": WEIGHTS | DATA,
    "tasks": {"config", "signals"},
    "learning_curve": {"config", "data", "evaluation", "drawing", "tasks"},
    "paper": {"config", "data", "evaluation", "drawing", "tasks"},
    "cli": {"*"},
    "__init__": {"*"},
}
# Folders that compute with NumPy alone: all that they may import beside the standard library.
NUMPY_ROOMS = {
    "evaluation/metrics": {
        "numpy",
        "faster_coco_eval",
        "keras_frcnn.data.dataset",
        "keras_frcnn.evaluation.metrics",
    },
    "evaluation/analysis": {
        "numpy",
        "keras_frcnn.data.dataset",
        "keras_frcnn.evaluation.metrics",
        "keras_frcnn.evaluation.analysis",
    },
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room_of(path: Path) -> str:
    """Returns the file or folder of the package that a source belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(source: str) -> set[str]:
    """Returns the names that a source imports anywhere in it: "a.b.c" for "from a.b import c"."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"expected absolute imports. Received: {ast.unparse(node)}")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def forbidden_imports(room: str, source: str) -> list[str]:
    """Returns the imports of a source that its room may not have, without "keras_frcnn."."""
    allowed = MAY_IMPORT[room] | {room, "console", "files"}
    inner = sorted(
        name.removeprefix("keras_frcnn.")
        for name in imports_of(source)
        if name.startswith("keras_frcnn.")
    )
    return [
        name
        for name in inner
        if not any(name == a or name.startswith(f"{a}.") or a == "*" for a in allowed)
    ]


def test_the_reader_of_imports_sees_every_form():
    source = "import a.b\nfrom c import d as e\ndef f():\n    from g.h import (i, j)\n"
    assert imports_of(source) == {"a.b", "c.d", "g.h.i", "g.h.j"}
    with pytest.raises(ValueError, match="absolute imports"):
        imports_of("from . import a")


@pytest.mark.parametrize(
    ("room", "source", "expected"),
    [
        ("layers", "from keras_frcnn import models", ["models"]),
        ("layers", "from keras_frcnn.models.rpn import x", ["models.rpn.x"]),
        ("layers", "from keras_frcnn.ops import boxes", []),
        ("ops", "def f():\n    import keras_frcnn.layers", ["layers"]),
        ("data", "from keras_frcnn.ops.boxes import iou", []),
        ("data", "from keras_frcnn.ops.boxes_more import iou", ["ops.boxes_more.iou"]),
        ("data", "from keras_frcnn import layers", ["layers"]),
        ("config", "import math", []),
        ("config", "from keras_frcnn import ops", ["ops"]),
        ("training", "from keras_frcnn import cli", ["cli"]),
        ("cli", "from keras_frcnn import models", []),
    ],
)
def test_forbidden_imports_are_found(room, source, expected):
    assert forbidden_imports(room, source) == expected


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_imports_run_one_way(path):
    assert forbidden_imports(room_of(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("folder", NUMPY_ROOMS)
def test_metrics_and_analysis_need_numpy_alone(folder):
    paths = sorted((PACKAGE / folder).glob("*.py"))
    assert len(paths) > 3
    imported = set().union(*(imports_of(path.read_text(encoding="utf-8")) for path in paths))
    allowed = NUMPY_ROOMS[folder] | sys.stdlib_module_names
    assert [
        name
        for name in sorted(imported)
        if not any(f"{name}.".startswith(f"{prefix}.") for prefix in allowed)
    ] == []


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_only_flags_and_cli_know_absl(path):
    roots = {name.split(".")[0] for name in imports_of(path.read_text(encoding="utf-8"))}
    assert "absl" not in roots or room_of(path) == "cli" or path.stem == "flags"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_only_the_console_prints(path):
    """Anywhere else, a class name or a path could be read as markup or reach the terminal raw."""
    source = path.read_text(encoding="utf-8")
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    prints = [call for call in calls if isinstance(call, ast.Name) and call.id == "print"]
    modules = {name.rpartition(".")[0] for name in imports_of(source)} & {
        "rich.console",
        "rich.text",
    }
    assert room_of(path) == "console" or not prints and not modules


@pytest.mark.parametrize("path", SOURCES + SCRIPTS, ids=relative)
def test_no_bare_assert(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Assert)] == []


@pytest.mark.parametrize("path", SOURCES + SCRIPTS, ids=relative)
def test_no_file_holds_more_than_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_no_room_but_the_commands_holds_more_than_12_files():
    names = [path.parent for path in SOURCES if path.stem != "__init__"]
    crowded = {relative(room) for room in names if names.count(room) > 12}
    assert crowded == {"keras_frcnn/cli"}


@pytest.mark.parametrize("path", SOURCES + SCRIPTS, ids=relative)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_every_folder_of_sources_is_a_package():
    folders = {path.parent for path in SOURCES}
    assert [relative(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_main_commands_have_a_script():
    scripts = {path.stem for path in SCRIPTS} - {"setup"}
    assert scripts == {"train", "evaluate", "detect", "export"}
    for path in SCRIPTS:
        if path.stem != "setup":
            assert f"from keras_frcnn.cli.{path.stem} import main" in path.read_text()


def test_the_version_is_the_one_of_setup_py():
    (version,) = re.findall(r'version="(.*)"', (ROOT / "setup.py").read_text(encoding="utf-8"))
    assert keras_frcnn.__version__ == version


def test_there_are_flagfiles():
    assert ROOT / "configs" / "quickstart.cfg" in FLAGFILES


@pytest.mark.parametrize("path", FLAGFILES, ids=relative)
def test_every_flagfile_parses_and_validates(path):
    parse(Command("train", "Trains."), [f"--flagfile={path}"])


@pytest.mark.parametrize("path", FLAGFILES, ids=relative)
def test_every_flagfile_says_its_command_and_what_to_expect(path):
    text = path.read_text(encoding="utf-8")
    header = list(itertools.takewhile(lambda line: line.startswith("#"), text.splitlines()))
    assert header[0].startswith("# ")  # what it is
    assert header[1] == "#"
    own = f"#   python train.py --flagfile={relative(path)} "
    assert header[2].startswith((own, "#   make "))
    for word in ("Expect", "Time"):
        assert any(line.startswith(f"# {word}: ") for line in header), word
