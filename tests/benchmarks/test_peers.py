"""The comparison with torchvision, as far as it goes without torch."""

import ast
import dataclasses
import io
import json
import subprocess
import sys
import textwrap
import types
from contextlib import ExitStack, nullcontext

import numpy as np
import pytest
from PIL import Image

from benchmarks import timing
from benchmarks.environment import ROOT
from benchmarks.peers import __main__ as cli
from benchmarks.peers import comparison, worker, workload
from benchmarks.peers.comparison import OURS, PEER
from tests.fakes import SMALL_VGG16

SMALL = SMALL_VGG16.replace(backbone_weights="imagenet", frozen_blocks=2, roi_num_samples=16)


def job(**changes) -> workload.Job:
    """A job of a moment."""
    values = {"what": "inference", "precision": "float32", "sizes": [(64, 96)], "batch": 1}
    fixed = {"threads": 1, "keep_memory": True, "settings": SMALL.to_dict()}
    return workload.Job(**{**values, **fixed, **changes})


def script(folder, name, text) -> str:
    """Writes a program for this interpreter; returns its path."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{textwrap.dedent(text)}", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


# --- the command line


def test_without_torch_it_says_how_to_install_it_and_skips(tmp_path, capsys):
    python = script(tmp_path, "python", "raise ModuleNotFoundError(\"No module named 'torch'\")")
    file = tmp_path / "figures.json"
    assert cli.main([f"--torch_python={python}", f"--json={file}"]) == 0
    *text, line = capsys.readouterr().out.splitlines()
    assert "skipped: ModuleNotFoundError: No module named 'torch'" in text
    assert any("pip install torch torchvision --index-url" in row for row in text)
    assert json.loads(line)["skipped"] == "ModuleNotFoundError: No module named 'torch'"
    assert json.loads(file.read_text(encoding="utf-8")) == json.loads(line)


def test_an_interpreter_that_dies_silently_is_named(tmp_path):
    python = script(tmp_path, "python", "raise SystemExit(3)")
    assert cli.why_torch_is_missing(python) == f"{python} ended with status 3"


def test_an_interpreter_with_torch_misses_nothing(tmp_path):
    assert cli.why_torch_is_missing(script(tmp_path, "python", "")) == ""


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--what=export", "expected inference, train_step. Received: 'export'"),
        ("--precision=float32,float16", "expected float32, bfloat16. Received: 'float16'"),
        ("--size=600", "expected HEIGHTxWIDTH in pixels, such as 600x800. Received: '600'"),
        ("--size=600x-8", "expected HEIGHTxWIDTH in pixels, such as 600x800. Received: '600x-8'"),
        ("--batch=1,", "expected a positive integer. Received: ''"),
        ("--pairs=0", "expected a positive integer. Received: '0'"),
        ("--clip_norm=nan", "expected a number of at least 0. Received: 'nan'"),
        ("--clip_norm=much", "expected a number of at least 0. Received: 'much'"),
        ("--torch_python=/no/python", "expected a Python interpreter. Received: '/no/python'"),
        ("--frobnicate", "unrecognized arguments: --frobnicate"),
    ],
)
def test_wrong_arguments_are_named(argument, message, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main([argument])
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_every_combination_is_compared_and_a_failure_is_told(monkeypatch, capsys):
    asked = []

    def compare(job, pairs, torch_python):
        asked.append((job.what, job.precision, job.sizes, job.batch, pairs, torch_python))
        if len(asked) == 9:
            raise RuntimeError("the torchvision side ended with status 1")
        return made_comparison(job=job)

    monkeypatch.setattr(cli, "why_torch_is_missing", lambda python: "")
    monkeypatch.setattr(cli, "compare", compare)
    monkeypatch.setattr(cli, "check", lambda job, python: {"features": job.sizes[0][0] / 1e9})
    python = sys.executable
    arguments = ["--size=600x800,600x1000", "--batch=2", "--pairs=3", "--check"]
    assert cli.main(arguments) == 0
    assert asked == [
        (what, precision, ((600, width),), 2, 3, python)
        for what in ("inference", "train_step")
        for precision in ("float32", "bfloat16")
        for width in (800, 1000)
    ]
    text = capsys.readouterr().out
    assert "pair 2: torchvision 300 ms on 1.5 cores, keras_frcnn 100 ms on 1.9, ratio 3.00" in text
    document = json.loads(text.splitlines()[-1])
    assert [check["features"] for check in document["checks"]] == [6e-7, 6e-7]
    assert len(document["comparisons"]) == 8
    assert document["settings"]["frozen_blocks"] == 2

    assert cli.main(arguments) == 1
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["error"] == "the torchvision side ended with status 1"


def test_the_parent_imports_neither_framework():
    program = "import benchmarks.peers.__main__, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"torch", "tensorflow", "keras"} & set(done.stdout.split())


def test_torch_is_imported_where_its_files_are_read_or_it_is_compared():
    importing = set()
    for folder in ("keras_frcnn", "benchmarks", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            for node in ast.walk(ast.parse(source)) if "torch" in source else ():
                names = [alias.name for alias in getattr(node, "names", [])]
                if isinstance(node, ast.ImportFrom):
                    names = [node.module]
                elif not isinstance(node, ast.Import):
                    continue
                if any(name.split(".")[0] in ("torch", "torchvision") for name in names):
                    importing.add(path.name)
    reading = {"tensor_file.py", "golden_weights.py", "draw.py"}
    assert importing == {"torch_side.py", "torchvision_side.py", "detectron2_side.py", *reading}


# --- what a comparison says


def made_comparison(**changes) -> comparison.Comparison:
    """Three pairs with ratios 2, 3 and 2.5."""
    counts = {"regions": 300, "head_weights": 7, "detections": 4, "trained_weights": 9}
    values = {
        "job": job(),
        "timings": {
            PEER: timing.Timing((200.0, 300.0, 500.0)),
            OURS: timing.Timing((100.0, 100.0, 200.0)),
        },
        "counts": {PEER: {**counts, "detections": 5, "trained_weights": 8}, OURS: counts},
        "versions": {PEER: {"torch": "2"}, OURS: {"keras": "3"}},
        "busy_cores": {PEER: [2.0, 1.5, 2.0], OURS: [1.9, 1.9, 1.0]},
        "idle_cores": {PEER: 0.0, OURS: 0.001},
        "peak_rss_mib": {PEER: 10, OURS: 20},
    }
    return comparison.Comparison(**{**values, **changes})


def test_the_ratio_is_that_of_the_pairs():
    ratio = made_comparison().ratio
    assert dataclasses.astuple(ratio) == (2.5, 2.25, 2.75, 2.0, 3.0)
    assert made_comparison().ratio_of_fastest == 2.0


def test_other_work_is_named():
    assert made_comparison().differences == []
    counts = {name: dict(values) for name, values in made_comparison().counts.items()}
    counts[PEER]["regions"] = 299
    counts[OURS]["head_weights"] = 8
    assert made_comparison(counts=counts).differences == ["regions", "head_weights"]


def test_a_comparison_can_be_written_as_json():
    values = json.loads(json.dumps(made_comparison().to_dict()))
    assert values["ratio"]["median"] == 2.5
    assert values["milliseconds"] == {PEER: [200, 300, 500], OURS: [100, 100, 200]}
    assert (values["what"], values["sizes"]) == ("inference", [[64, 96]])
    # 3 images in 1.0 and in 0.4 seconds
    assert values["images_per_second"] == pytest.approx({PEER: 3.0, OURS: 7.5})
    assert "settings" not in values


# --- the same answers

ANSWER = {
    "features": np.ones((1, 2, 2, 25)),
    "objectness": np.arange(4.0)[np.newaxis],
    "proposals": np.array([[[0.0, 0, 8, 8], [1, 1, 9, 30], [5, 5, 60, 60], [0, 0, 0, 0]]]),
    "boxes": np.array([[[0.0, 0, 8, 8], [0, 0, 9, 9]]]),
    "scores": np.array([[0.9, 0.8]]),
    "labels": np.array([[3.0, 4.0]]),
}


def test_equal_answers_agree():
    assert comparison.agreement(ANSWER, ANSWER) == {
        "features": 0.0,
        "objectness": 0.0,
        "proposals": 1.0,
        "detections": 1.0,
    }


def test_the_order_of_boxes_does_not_matter():
    other = {**ANSWER, "proposals": ANSWER["proposals"][:, ::-1], "boxes": ANSWER["boxes"][:, ::-1]}
    other["labels"] = ANSWER["labels"][:, ::-1]
    found = comparison.agreement(ANSWER, other)
    assert (found["proposals"], found["detections"]) == (1.0, 1.0)


def test_what_differs_is_measured():
    other = {name: values.copy() for name, values in ANSWER.items()}
    other["features"][0, 0, 0, 0] = 2.0  # a norm of 1 beside sqrt(103)
    other["objectness"] *= 2.0
    other["proposals"][0, 1, 3] = 30.6
    other["proposals"][0, 2, 0] = 5.4
    other["labels"][0, 0] = 4.0
    found = comparison.agreement(ANSWER, other)
    assert found["features"] == pytest.approx(1 / np.sqrt(103))
    assert found["objectness"] == 0.5
    assert found["proposals"] == 0.75
    assert found["detections"] == 0.5


@pytest.mark.parametrize(("shift", "wrong"), [(0.4, None), (0.6, "proposals")])
def test_a_check_fails_where_answers_differ(monkeypatch, shift, wrong):
    answers = {PEER: ANSWER, OURS: {**ANSWER, "proposals": ANSWER["proposals"] + shift}}

    def sides(stack, job, torch_python):
        def write(name, command):
            np.savez(command.removeprefix("outputs "), **answers[name])

        return {
            name: types.SimpleNamespace(ask=lambda command, name=name: write(name, command))
            for name in answers
        }

    monkeypatch.setattr(comparison, "sides", sides)
    with pytest.raises(ValueError, match="their proposals differ") if wrong else nullcontext():
        assert comparison.check(job(), "python")["proposals"] == 1.0


# --- processes that take turns

SIDE = """
import sys, time
import numpy as np
from benchmarks.peers import worker

class Side:
    versions = {"fake": "1"}
    calls = 0

    def call(self):
        self.calls += 1
        with open(sys.argv[2], "a") as file:
            file.write(sys.argv[1])
        if sys.argv[1] == "c" and self.calls > worker.WARMUP + 1:
            raise OSError("no more")

    def counts(self):
        return {"regions": self.calls}

    def outputs(self):
        return {"features": np.full(2, self.calls)}

worker.serve(Side(), sys.stdin, sys.stdout)
"""


def child(stack, folder, name):
    """Starts a side that writes its name whenever it is called."""
    command = [sys.executable, "-c", SIDE, name, str(folder / "log")]
    return stack.enter_context(comparison.started(name, command, threads=1))


def test_children_are_called_in_turn(tmp_path):
    with ExitStack() as stack:
        a, b = (child(stack, tmp_path, name) for name in "ab")
        timings = timing.interleaved({"a": a.call, "b": b.call}, 2, warmup=1)
        b.ask(f"outputs {tmp_path / 'b.npz'}")
    warmup = worker.WARMUP
    assert (tmp_path / "log").read_text() == "a" * warmup + "b" * warmup + "ababab"
    assert a.start == {"counts": {"regions": warmup}, "versions": {"fake": "1"}}
    assert len(timings["a"].samples) == 2
    for answer in a.answers:
        assert 0 <= answer["idle_cpu"] <= answer["waited"]
        assert answer["peak_rss_mib"] > 1
    assert np.load(tmp_path / "b.npz")["features"].tolist() == [warmup + 3] * 2


@pytest.mark.parametrize(("keep", "expected"), [(True, "0"), (False, "")])
def test_a_side_keeps_its_memory_where_it_may(keep, expected, monkeypatch):
    monkeypatch.delenv("MALLOC_MMAP_MAX_", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    with comparison.started("a", [sys.executable, "-c", program], 3, keep) as child:
        assert child.start.get("MALLOC_MMAP_MAX_", "") == expected
        assert (child.start["OMP_NUM_THREADS"], child.start["CUDA_VISIBLE_DEVICES"]) == ("3", "")


def test_a_side_that_fails_is_named_with_what_it_said(tmp_path):
    with ExitStack() as stack:
        c = child(stack, tmp_path, "c")
        c.call()
        with pytest.raises(RuntimeError, match="(?s)the c side ended with status 1:.*no more"):
            c.call()
        with pytest.raises(RuntimeError, match="the c side ended"):  # and not a broken pipe
            c.call()
    with (
        pytest.raises(RuntimeError, match="(?s)the d side ended with status 1:.*no start"),
        comparison.started("d", [sys.executable, "-c", "raise OSError('no start')"], threads=1),
    ):
        pass


def test_a_side_says_how_busy_it_was_while_waiting():
    side = types.SimpleNamespace(call=lambda: None, counts=dict, versions={})

    def commands():
        sum(range(2_000_000))  # a side that goes on working
        yield "call\n"

    answers = io.StringIO()
    worker.serve(side, commands(), answers)
    answer = json.loads(answers.getvalue().splitlines()[1])
    assert answer["idle_cpu"] > 0.005


# --- the work


def test_images_and_objects_fit():
    asked = job(sizes=[(64, 80), (48, 96)], batch=3)
    images, (boxes, labels) = workload.images(asked), workload.objects(asked, (64, 96))
    assert images.shape == (3, 64, 96, 3)  # the largest height and width
    assert (images.mean(), images.std()) == pytest.approx((0, 1), abs=0.02)
    assert boxes.shape == (3, workload.NUM_OBJECTS, 4)
    assert boxes.dtype == np.float32
    assert np.all(boxes[..., :2] >= 0) and np.all(boxes[..., 2:] <= (64, 96))
    assert np.all(boxes[..., 2:] - boxes[..., :2] > (6, 9))
    assert set(labels.ravel()) <= set(range(workload.NUM_CLASSES))


def test_weights_are_those_of_the_detector():
    drawn = list(workload.weights({**SMALL.to_dict(), "head_units": [16, 8]}))
    shapes = [kernel.shape for kernel, _ in drawn]
    assert shapes[:3] == [(3, 3, 3, 64), (3, 3, 64, 64), (3, 3, 64, 128)]
    assert shapes[12:] == [
        (3, 3, 512, 512),
        (3, 3, 512, 512),
        (1, 1, 512, 12),  # 2 scales, 3 ratios
        (1, 1, 512, 24),
        (25088, 16),
        (16, 8),
        (8, 21),
        (8, 84),
    ]
    assert [bias.shape for _, bias in drawn] == [(shape[-1],) for shape in shapes]
    assert drawn[1][0].std() == pytest.approx(np.sqrt(2 / 576), rel=0.02)
    assert drawn[13][0].std() == pytest.approx(0.01, rel=0.02)
    again = list(workload.weights({**SMALL.to_dict(), "head_units": [16, 8]}))
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(drawn, again, strict=True))


def test_real_sizes_are_those_of_a_folder_as_the_detector_sees_them(tmp_path):
    for number, size in enumerate([(500, 375), (375, 500), (1000, 250)]):
        Image.new("RGB", size).save(tmp_path / f"{number}.jpg")
    sizes = cli.real_sizes(str(tmp_path), 3)
    assert sorted(sizes) == [[250, 1000], [600, 800], [800, 600]]
    assert len(cli.real_sizes(str(tmp_path), 7)) == 7
    assert job(sizes=sizes).label == "inference, float32, real sizes, batch 1"


@pytest.mark.slow
@pytest.mark.parametrize("what", ["inference", "train_step"])
def test_our_side_takes_images_of_many_sizes(what):
    arguments = json.dumps(dataclasses.asdict(job(what=what, sizes=[(64, 96), (96, 64), (80, 80)])))
    command = [sys.executable, "-m", "benchmarks.peers.worker", "keras_side", arguments]
    with comparison.started(OURS, command, threads=1) as ours:
        ours.call()
        assert ours.start["counts"]["regions"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("what", ["inference", "train_step"])
def test_our_side_does_the_work(what, tmp_path):
    arguments = json.dumps(dataclasses.asdict(job(what=what, batch=2)))
    command = [sys.executable, "-m", "benchmarks.peers.worker", "keras_side", arguments]
    with comparison.started(OURS, command, threads=1) as ours:
        ours.call()
        counts = ours.start["counts"]
        drawn = list(workload.weights(SMALL.to_dict()))
        assert counts["head_weights"] == sum(kernel.size for kernel, _ in drawn[16:])
        trained = drawn[4:]  # blocks 1 and 2 are frozen
        assert counts["trained_weights"] == sum(k.size + b.size for k, b in trained)
        if what == "train_step":
            assert counts["regions"] == 2 * SMALL.roi_num_samples
            return
        ours.ask(f"outputs {tmp_path / 'ours.npz'}")
    outputs = np.load(tmp_path / "ours.npz")
    assert outputs["features"].shape == (2, 4, 6, 512)
    assert outputs["objectness"].shape == (2, 4 * 6 * 6)
    drawn = np.any(outputs["proposals"] != 0, axis=-1)
    assert drawn.sum() == counts["proposals"] == counts["regions"]
    assert np.sum(outputs["labels"] >= 0) == counts["detections"]
