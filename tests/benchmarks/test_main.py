import json

import pytest

from benchmarks import __main__ as entry
from benchmarks import child
from benchmarks.cases import SUITES

SPREAD = {
    "median": 20.0,
    "lower_quartile": 19.0,
    "upper_quartile": 22.0,
    "fastest": 18.5,
    "slowest": 30.0,
}
ROW = {
    "what": "prediction",
    "calls": 3,
    "milliseconds": SPREAD,
    "facts": {"images_per_s": 50.0},
    "gflop": 374.08,
    "gflop_per_s": 18704.0,
    "ratio": {"to": "backbone forward", **SPREAD, "median": 1.37},
}
PAPER = [
    {**ROW, "what": what, "milliseconds": {**SPREAD, "median": ms}, "facts": {"paper_k40_ms": k40}}
    for what, ms, k40 in (("convolutions", 4.0, 141), ("total", 5.48, 198))
]
DEVICE = {"gpu": "GPU of a test", "intra_op_threads": 3}


@pytest.fixture
def outcomes(monkeypatch):
    """What the processes of a run answer, in turn; errors are raised."""
    answers = []

    def call(target, case):
        assert target == "benchmarks.cases:run"
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(child, "call", call)
    return answers


def ok(rows, **more):
    return {"rows": rows, "facts": {}, "device": DEVICE, "peak_rss_mib": 1234, **more}


def run(capsys, *argv):
    code = entry.main(list(argv))
    out, err = capsys.readouterr()
    return code, out, err, json.loads(out.splitlines()[-1])


def test_a_run_ends_in_a_table_and_one_json_line(outcomes, capsys, tmp_path):
    outcomes += [ok([ROW], facts={"proposals": [300]}), ok([ROW])]
    argv = ("inference", "--precision=float32", "--size=600x800", "--batch=1,2", "--calls=3")
    code, out, err, document = run(capsys, *argv, f"--json={tmp_path / 'out.json'}")
    assert code == 0
    assert "inference: float32, 600x800, batch 1, vgg16" in out
    assert "peak 1234 MiB; proposals [300]" in out
    line = next(line for line in out.splitlines() if "prediction" in line)
    cells = [cell.strip() for cell in line.split("│")[1:-1]]
    assert cells[:8] == [
        "prediction", "20.0", "19.0 - 22.0", "18.5", "30.0", "374.1", "18704", "1.37",
    ]  # fmt: skip
    assert cells[8].startswith("ratio to backbone forward")
    assert "1/2 inference float32, 600x800, batch 1, vgg16: ok" in err
    assert [case["batch"] for case in document["cases"]] == [1, 2]
    assert document["cases"][0]["rows"] == [ROW]
    assert document["cases"][0]["calls"] == 3
    assert document["environment"]["gpu"] == "GPU of a test"
    assert {"processor", "cores", "python", "tensorflow", "git_commit"} <= set(
        document["environment"]
    )
    assert json.loads((tmp_path / "out.json").read_text()) == document


def test_a_case_that_fails_does_not_end_the_run(outcomes, capsys):
    outcomes += [
        child.ChildError("killed", True, "its log"),
        child.ChildError("ValueError: [wrong]", False, "Traceback\nValueError: [wrong]"),
        ok([ROW]),
    ]
    argv = ("inference", "--precision=float32", "--size=600x800", "--batch=1,2,4")
    code, out, err, document = run(capsys, *argv)
    assert code == 1
    assert [case["status"] for case in document["cases"]] == ["out of memory", "failed", "ok"]
    assert document["cases"][1]["error"] == "ValueError: [wrong]"
    assert "out of memory" in out
    assert "ValueError: [wrong]" in out
    assert "    Traceback" in err
    assert "its log" not in err


def test_a_lack_of_memory_is_a_result(outcomes, capsys):
    outcomes.append(child.ChildError("killed", True, ""))
    assert run(capsys, "startup")[0] == 0


def test_an_interrupted_run_shows_what_it_has(outcomes, capsys, monkeypatch):
    outcomes += [ok([ROW]), KeyboardInterrupt()]

    def call(target, case):
        answer = outcomes.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(child, "call", call)
    _, _, err, document = run(capsys, "inference", "--quick")
    assert len(document["cases"]) == 1
    assert "Stopped" in err


def test_the_paper_s_table_stands_beside_the_paper_s_figures(outcomes, capsys):
    outcomes += [ok(PAPER), ok(PAPER)]
    _, out, _, _ = run(capsys, "paper", "--precision=float32", "--size=600x800")
    table = out[out.index("As the paper's table 5") :]
    lines = [line for line in table.splitlines() if line.startswith("│")]
    assert len(lines) == 4
    assert [cell.strip() for cell in lines[0].split("│")[1:-1]] == [
        "vgg16, RPN, the paper's, NVIDIA K40", "141", "198", "5.1", "1.40",
    ]  # fmt: skip
    assert [cell.strip() for cell in lines[1].split("│")[1:-1]] == [
        "float32, 600x800, vgg16", "4.0", "5.5", "182.5", "1.37",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["foo"], "unknown suite: foo. There are layers, backbone,"),
        (["--size=600"], "expected HEIGHTxWIDTH in pixels, such as 600x800. Received: '600'"),
        (["--size=8x800"], "Received: '8x800'"),
        (["--batch=1,0"], "expected a positive integer. Received: '0'"),
        (["--precision=float64"], "mixed_bfloat16"),
        (
            ["--backbone=resnet"],
            "zf, resnet50, resnet101, mobilenet_v3_large, vgg16_fpn, resnet50_fpn, "
            "resnet101_fpn, mobilenet_v3_large_fpn, mobilenet_v3_large_fpn32. Received: 'resnet'",
        ),
        (["train_step", "--precision=bfloat16"], "train_step trains, which bfloat16 is not for"),
        (["--json=/no/such/folder/x"], "No such file or directory: '/no/such/folder/x'"),
    ],
)
def test_wrong_command_lines_are_refused_with_words(argv, message, capsys):
    with pytest.raises(SystemExit) as caught:
        entry.main(argv)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help_names_every_suite(capsys):
    with pytest.raises(SystemExit):
        entry.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"  {name}" in text and suite.about in text for name, suite in SUITES.items())


def test_quick_is_one_size_and_batch_unless_asked_for():
    made, _ = entry.parse(["inference", "--quick"])
    assert {(case.size, case.batch, case.calls) for case in made} == {((600, 800), 1, 3)}
    made, _ = entry.parse(["inference", "--quick", "--batch=2", "--calls=5"])
    assert {(case.size, case.batch, case.calls) for case in made} == {((600, 800), 2, 5)}
    made, _ = entry.parse([])
    assert {case.suite for case in made} == set(SUITES)
    assert {case.batch for case in made if case.suite == "inference"} == {1, 2, 4}
