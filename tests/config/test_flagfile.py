"""Former names on command lines and in flagfiles; all else is in tests/cli/test_command.py."""

import pytest

from keras_frcnn.config.flagfile import Given, Reader, UsageError

READER = Reader(
    {"number": int, "check": {"true": True, "false": False}.__getitem__},
    switches=["check"],
    former={"count": "number", "look": "check"},
)


@pytest.fixture
def read(tmp_path):
    """Returns a function that reads a flagfile of some lines."""

    def values(*lines):
        path = tmp_path / "old.cfg"
        path.write_text("\n".join(lines))
        return {name: given.value for name, given in READER.read_flagfile(path).items()}

    return values


@pytest.mark.parametrize(
    ("token", "name", "value"),
    [
        ("--count=3", "number", 3),
        ("--number=3", "number", 3),
        ("--look", "check", True),
        ("--nolook", "check", False),
        ("--nocheck", "check", False),
        ("--look=false", "check", False),
    ],
)
def test_a_former_name_is_read_as_the_present_one(token, name, value, read):
    (given,) = READER.read_argv([token]).values()
    assert (given.name, given.value, given.where) == (name, value, "")
    assert read(token) == {name: value}


def test_a_former_name_takes_a_value_after_a_space():
    assert READER.read_argv(["--count", "3"]) == {"number": Given("number", 3, "--count=3", "")}
    assert READER.read_argv(["--count=3"])["number"].text == "3"


def test_both_names_on_the_command_line_must_agree():
    assert READER.read_argv(["--count=3", "--number=3"])["number"].value == 3
    with pytest.raises(UsageError, match="^--number=4 contradicts --count=3$"):
        READER.read_argv(["--count=3", "--number=4"])


def test_both_names_in_a_flagfile_must_agree(read, tmp_path):
    assert read("--count=3", "--number=3") == {"number": 3}
    path = tmp_path / "old.cfg"
    with pytest.raises(UsageError) as caught:
        read("--count=3", "", "--number=4")
    assert str(caught.value) == f"{path}:3: --number=4 contradicts {path}:1: --count=3"
    with pytest.raises(UsageError, match="--look=true contradicts .*:1: --check=false"):
        read("--nocheck", "--look")


def test_messages_name_the_flag_as_it_was_written(read):
    with pytest.raises(UsageError, match="--count needs a value: --count=...$"):
        read("--count")
    with pytest.raises(UsageError, match="^unknown flag --nocount.$"):
        READER.read_argv(["--nocount"])


def test_the_text_decides_between_a_flag_and_the_former_name_of_another():
    reader = Reader({"split": float, "subset": ("train", "eval").index}, former={"split": "subset"})
    given = reader.read_argv(["--split=0.5", "--split=eval"])
    assert {name: one.value for name, one in given.items()} == {"split": 0.5, "subset": 1}
    assert given["subset"].written == "--split=eval"
    with pytest.raises(UsageError, match="^--split must be .*float.* or .*in tuple. Received: 'x'"):
        reader.read_argv(["--split=x"])
