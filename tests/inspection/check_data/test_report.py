"""The report of a check for the console and as JSON."""

import io
import json
import re

from keras_frcnn.console import Console
from keras_frcnn.inspection.check_data import report as check_report
from tests.inspection.conftest import scene


def test_the_console_shows_counts_and_the_first_findings(folder, check, monkeypatch):
    monkeypatch.setattr(check_report, "_SHOWN", 1)
    folder.add("a", [("[b]at", 1, 1, 20, 20), ("[b]at", 5, 5, 5, 9)], image=scene(0))
    folder.add("b", [("[b]at", 5, 5, 5, 9)], image=scene(1))
    report, stream = check(), io.StringIO()
    check_report.print_report(report, Console(file=stream, width=120))
    text = stream.getvalue()
    assert re.search(r"\[b\]at +│ +3 │ +2 │", text)
    assert "Boxes without area: 2" in text and "... and 1 more" in text
    assert "Annotations/a.xml: object 2 ([b]at): box has no area" in text
    assert "0.0% of the boxes have a side below 16 pixels" in text
    assert text.endswith("2 problems in 2 images.\n")


def test_the_json_is_written_as_it_is(folder, check, tmp_path):
    folder.add("a", image=scene(0))
    report = check()
    check_report.write_json(report, tmp_path / "check.json")
    assert json.loads((tmp_path / "check.json").read_text()) == report.to_dict()


def test_bins_are_named():
    assert check_report.bin_names([0, 0.5, 2]) == ["below 0.5", "0.5 - 2", "2 and more"]
