"""Pages: filled-in text is never markup, missing values are errors, only our own script may run."""

import base64
import hashlib
from pathlib import Path

import jinja2
import pytest

import keras_frcnn
from keras_frcnn.drawing import page
from tests.inspection import markup

PACKAGE = Path(keras_frcnn.__file__).parent
EVIL = "</title><script>alert(1)</script>\"'&\ud800\x00\n"


def test_the_frame_is_a_page(tmp_path):
    path = tmp_path / "page.html"
    page.write(path, "drawing/templates/page.html", title="a <b>")
    root = markup.parse(path)
    assert root.find("head/title").text == root.find("body/h1").text == "a <b>"
    policy = root.find("head/meta[@http-equiv]").get("content").split("; ")
    assert policy[0] == "default-src 'none'" and policy[1].startswith("script-src 'sha256-")
    assert policy[2:] == ["img-src data:", "style-src 'unsafe-inline'"]
    assert not any(element.get("src") or element.get("href") for element in root.iter())


def test_text_is_never_markup(tmp_path):
    path = tmp_path / "page.html"
    page.write(path, "drawing/templates/page.html", title=EVIL)
    root = markup.parse(path)
    shown = r"""</title><script>alert(1)</script>"'&\ud800\x00\n"""
    assert root.find("head/title").text == root.find("body/h1").text == shown
    (script,) = root.iter("script")
    assert "alert" not in script.text


def test_a_missing_value_is_an_error(tmp_path):
    path = tmp_path / "page.html"
    with pytest.raises(jinja2.UndefinedError, match="'title' is undefined"):
        page.write(path, "drawing/templates/page.html")
    assert not path.exists()


def test_only_the_script_of_the_page_may_run(tmp_path):
    path = tmp_path / "page.html"
    template = "evaluation/report/pages/templates/results.html"
    page.write(path, template, title="results", colors={})
    root = markup.parse(path)
    (script,) = root.iter("script")
    assert script.text == (PACKAGE / "drawing/templates/page.js").read_text().rstrip("\n")
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    policy = root.find("head/meta[@http-equiv]").get("content")
    assert f"script-src 'sha256-{digest}';" in policy


def test_macros_give_markup():
    numbers = page.macros("drawing/templates/tables.html").numbers(["<1>", "0"])
    assert numbers.split("\n")[:2] == [
        '<td class="number">&lt;1&gt;</td>',
        '<td class="number dim">0</td>',
    ]


def test_templates_lie_where_setup_ships_them():
    others = [p for p in PACKAGE.rglob("*") if p.suffix in (".html", ".css", ".js")]
    assert len(others) > 8
    for path in others:
        assert path.parent.name == "templates"
        assert (path.parents[1] / "__init__.py").exists()
