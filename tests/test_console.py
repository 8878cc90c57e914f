"""The console: texts of users are printed as they are, and never control the terminal."""

import io
import os

import pytest
from rich.table import Table

from keras_frcnn import console
from keras_frcnn.console import Console, plain, say, with_progress

NAMES = ("[/]", "[unk]", "runs/[a]b", "[bold]x", ":smile:", "cat 1.5 'x' /a/b http://c", "[link=a]")
ATTACK = "a\x1b[31m\x1b]0;title\x07\rb\x08\x9b2J\u202ec"
SAFE = "a\\x1b[31m\\x1b]0;title\\x07\\rb\\x08\\x9b2J\\u202ec"


def printed(print_to, **kwargs) -> str:
    output = io.StringIO()
    print_to(Console(file=output, **kwargs))
    return output.getvalue()


def as_table(name: str) -> Table:
    table = Table(name, title=name, caption=name)
    table.add_row(name)
    return table


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("terminal", [True, False])
def test_texts_are_printed_as_they_are(name, terminal):
    kwargs = {"force_terminal": terminal, "width": 80, "color_system": "truecolor"}
    assert printed(lambda c: c.print(name), **kwargs) == f"{name}\n"
    assert printed(lambda c: c.print(as_table(name)), **kwargs).count(name) == 4
    assert printed(lambda c: c.print(name, style="bold"), **kwargs).count(name) == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_control_characters_are_escaped(terminal, capsys):
    kwargs = {"force_terminal": terminal, "width": 80, "color_system": None}
    assert printed(lambda c: c.print(ATTACK), **kwargs) == f"{SAFE}\n"
    assert printed(lambda c: c.print(as_table(ATTACK)), **kwargs).count(SAFE) == 4
    say(ATTACK)
    say(f"{ATTACK}\nnext", error=True)
    assert capsys.readouterr() == (f"{SAFE}\n", f"{SAFE}\nnext\n")


def test_what_scripts_and_emojis_need_is_kept():
    kept = "é 日本　語\u00a0میc\u200cد 👩\u200d🚒"
    assert plain(kept) == kept
    assert plain("\udc80\n\ufeff") == "\\udc80\\n\\ufeff"


def test_long_lines_stay_whole():
    path = "/data/" + "folder/" * 40 + "a b c.jpg"
    for kwargs in ({"width": 40, "force_terminal": True}, {}):
        assert printed(lambda c: c.print(path), **kwargs) == f"{path}\n"


def test_outside_a_terminal_tables_and_sentences_stay_whole():
    sentence = "word " * 60 + "end"
    assert sentence in printed(lambda c: c.print(as_table(sentence)))
    assert printed(lambda c: c.print(sentence, soft_wrap=False)) == f"{sentence}\n"


def test_on_a_terminal_sentences_below_tables_are_broken():
    output = printed(
        lambda c: c.print("word " * 20, soft_wrap=False), width=40, force_terminal=True
    )
    assert max(map(len, output.splitlines())) <= 40


def test_a_progress_bar_shows_its_title_as_it_is(monkeypatch):
    output = io.StringIO()
    kwargs = {"file": output, "force_terminal": True, "width": 120, "color_system": None}
    monkeypatch.setattr(console, "Console", lambda stderr: Console(**kwargs))
    assert list(with_progress("abc", f"Reading [/] :smile: {ATTACK}", 3)) == ["a", "b", "c"]
    assert f"Reading [/] :smile: {SAFE}" in output.getvalue()


def test_without_a_terminal_there_is_no_progress_bar(capsys):
    assert list(with_progress("abc", "Reading", 3)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_left_is_an_error_as_for_any_output():
    reading, writing = os.pipe()
    os.close(reading)
    with open(os.dup(writing), "w") as pipe:
        with pytest.raises(BrokenPipeError):
            Console(file=pipe).print("a")
        with open(os.devnull, "w") as nowhere:  # what the pipe still holds goes nowhere
            os.dup2(nowhere.fileno(), pipe.fileno())
    os.close(writing)
