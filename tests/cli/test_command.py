"""The command line and flagfiles: what is read, which word wins, and what is refused how."""

import errno
import importlib
import io
import os
import signal
import sys
from types import SimpleNamespace

import pytest
from absl import flags as absl_flags

from keras_frcnn.cli.command import (
    Command,
    checkpoint_settings,
    help_text,
    parse,
    user_errors,
)
from keras_frcnn.cli.main import COMMANDS, main
from keras_frcnn.config import Config
from keras_frcnn.config.flags import GROUPS, SETTINGS, write_flagfile
from keras_frcnn.config.setting import FRACTION, POSITIVE, Option
from keras_frcnn.console import Console, say

TRAIN = Command(
    "train",
    "Trains.\n\nExample:\n  keras-frcnn train --flagfile=voc.cfg",
    options=(Option("dry_run", bool, False, "Try everything on a few images."),),
)
DETECT = Command(
    "detect",
    "Detects.",
    options=(
        Option("checkpoint", str, "", "A trained model.", required=True),
        Option("images", tuple[str, ...], (), "Images."),
        Option("output_dir", str, "out", "Where the drawn images go."),
    ),
    settings=("data_dir", "score_threshold"),
)


def config_of(*argv) -> Config:
    return parse(TRAIN, list(argv))[0]


@pytest.fixture
def refusal(capsys):
    """Returns a function that gives the message with which a command line is refused."""

    def refuse(*argv, command=TRAIN, **kwargs) -> str:
        with pytest.raises(SystemExit) as caught:
            parse(command, list(argv), **kwargs)
        output = capsys.readouterr()
        assert caught.value.code == 2
        assert output.out == ""
        prefix = f"keras-frcnn {command.name}: "
        assert all(line.startswith(prefix) for line in output.err.splitlines())
        return output.err.replace(prefix, "").removesuffix("\n")

    return refuse


@pytest.fixture
def flagfile(tmp_path):
    """Returns a function that writes a flagfile of the given lines."""

    def write(*lines, name="a.cfg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


# --- forms of a flag -------------------------------------------------------------------------


def test_without_flags_the_defaults():
    config, options = parse(TRAIN, [])
    assert config == Config()
    assert options.dry_run is False


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (["--steps=90000"], "steps", 90000),
        (["--steps", "90000"], "steps", 90000),
        (["--frozen_blocks", "-1"], "frozen_blocks", -1),
        (["--learning_rate=1e-4"], "learning_rate", 1e-4),
        (["--learning_rate=1"], "learning_rate", 1.0),
        (["--deterministic"], "deterministic", True),
        (["--deterministic=true"], "deterministic", True),
        (["--noinclude_empty"], "include_empty", False),
        (["--include_empty=false"], "include_empty", False),
        (["--scales=64, 128"], "scales", (64.0, 128.0)),
        (["--lr_boundaries="], "lr_boundaries", ()),
        (["--data_dir=/a=b c"], "data_dir", ("/a=b c",)),
        (["--data_dir="], "data_dir", ()),
        (["--dataset=coco, voc"], "dataset", ("coco", "voc")),
        (["--seed=1", "--seed=1"], "seed", 1),
    ],
)
def test_forms_of_a_flag(argv, name, value):
    received = getattr(config_of(*argv), name)
    assert received == value
    assert type(received) is type(value)


def test_own_options_come_beside_the_config():
    _, options = parse(DETECT, ["--checkpoint=m.keras", "--images=a.jpg,b.jpg"])
    assert vars(options) == {
        "checkpoint": "m.keras",
        "images": ("a.jpg", "b.jpg"),
        "output_dir": "out",
    }


def test_an_option_may_take_over_the_name_of_a_setting_that_is_not_used():
    config, options = parse(DETECT, ["--checkpoint=m.keras", "--output_dir=images"])
    assert options.output_dir == "images"
    assert config.output_dir == ""


def test_flags_are_laid_over_the_config_of_base():
    def base(options):
        assert options.checkpoint == "m.keras"
        return Config(shorter_side=300, longer_side=500, score_threshold=0.7, data_dir="/voc")

    config, _ = parse(DETECT, ["--checkpoint=m.keras", "--score_threshold=0.05"], base)
    assert config == Config(
        shorter_side=300, longer_side=500, score_threshold=0.05, data_dir="/voc"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~/a", "/home/me/a"),
        ("~", "/home/me"),
        ("a,~/b", "a,/home/me/b"),
        ("~/a.json+~/b.json:~/images", "/home/me/a.json+/home/me/b.json:/home/me/images"),
        ("a~b", "a~b"),
        ("./~/a", "./~/a"),
        ("~nobody-of-this-name/a", "~nobody-of-this-name/a"),
    ],
)
def test_a_path_may_begin_with_the_home_folder(text, expected, flagfile, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    expected = tuple(expected.split(","))
    for flag in (f"--train_split={text}", f"--flagfile={flagfile(f'--train_split={text}')}"):
        assert config_of("--dataset=coco", flag).train_split == expected
    _, options = parse(DETECT, ["--checkpoint=~/best.keras", f"--images={text}"])
    assert (options.checkpoint, options.images) == ("/home/me/best.keras", expected)


def test_settings_are_read_under_their_former_names():
    config = config_of("--num_pictures=3", "--nocheck_pictures")
    assert config == Config(num_images=3, check_images=False)


def test_a_flag_may_share_its_former_name_with_a_setting():
    subset = Option("subset", str, "train", "Images.", choices=("train", "eval"), former=("split",))
    command = Command("look", "Looks.", options=(subset,), settings=("dataset", "split"))
    argv = ["--split=0.8,0.2", "--dataset=folder", "--split=eval"]
    config, options = parse(command, argv)
    assert (config.split, options.subset) == ((0.8, 0.2), "eval")


def test_argv_defaults_to_the_process(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--seed=4"])
    assert parse(TRAIN)[0].seed == 4


def test_a_written_flagfile_gives_the_same_config_to_a_command(tmp_path):
    config = Config(data_dir="/my data", scales=(64.0, 1 / 9), steps=90000, decay_biases=True)
    path = tmp_path / "config.cfg"
    write_flagfile(config, path)
    assert config_of(f"--flagfile={path}") == config
    assert config_of("--flagfile", str(path), "--seed=5") == config.replace(seed=5)


def test_the_global_absl_flags_stay_untouched():
    before = set(absl_flags.FLAGS)
    config_of("--steps=90000")
    assert set(absl_flags.FLAGS) == before


# --- flagfiles: which word wins --------------------------------------------------------------


def test_comments_blank_lines_and_windows_line_ends(tmp_path):
    path = tmp_path / "a.cfg"
    path.write_bytes(
        b"\xef\xbb\xbf# A comment\r\n\r\n  --seed=3  \r\n\t# --seed=4\r\n--scales=8, 16\r\n"
    )
    config = config_of(f"--flagfile={path}")
    assert (config.seed, config.scales) == (3, (8.0, 16.0))


def test_the_command_line_wins_whatever_the_order(flagfile):
    path = flagfile("--seed=3", "--batch_size=2")
    for argv in (["--seed=9", f"--flagfile={path}"], [f"--flagfile={path}", "--seed=9"]):
        config = config_of(*argv)
        assert (config.seed, config.batch_size) == (9, 2)


def test_a_default_on_the_command_line_wins_too(flagfile):
    path = flagfile("--seed=3")
    assert config_of(f"--flagfile={path}", "--seed=0").seed == 0


def test_a_file_wins_over_what_it_includes_whatever_the_order(flagfile):
    flagfile("--seed=1", "--batch_size=2", name="base.cfg")
    for lines in (["--flagfile=base.cfg", "--seed=5"], ["--seed=5", "--flagfile=base.cfg"]):
        config = config_of(f"--flagfile={flagfile(*lines)}")
        assert (config.seed, config.batch_size) == (5, 2)


def test_of_two_files_the_later_wins(flagfile):
    first, second = flagfile("--seed=1", "--batch_size=2"), flagfile("--seed=2", name="b.cfg")
    config = config_of(f"--flagfile={first}", f"--flagfile={second}")
    assert (config.seed, config.batch_size) == (2, 2)


def test_an_included_file_is_found_beside_the_file_that_includes_it(
    flagfile, monkeypatch, tmp_path
):
    flagfile("--seed=8", name="common.cfg")
    path = flagfile("--flagfile=../common.cfg", name="paper/a.cfg")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert config_of(f"--flagfile={path}").seed == 8


def test_one_file_may_be_included_by_two(flagfile):
    flagfile("--seed=8", name="common.cfg")
    flagfile("--flagfile=common.cfg", "--batch_size=2", name="left.cfg")
    flagfile("--flagfile=common.cfg", "--momentum=0.5", name="right.cfg")
    config = config_of(f"--flagfile={flagfile('--flagfile=left.cfg', '--flagfile=right.cfg')}")
    assert (config.seed, config.batch_size, config.momentum) == (8, 2, 0.5)


def test_the_same_value_twice_is_no_contradiction(flagfile):
    path = flagfile(
        "--learning_rate=0.001", "--learning_rate=1e-3", "--noflag".replace("flag", "deterministic")
    )
    assert config_of(f"--flagfile={path}").learning_rate == 1e-3


def test_one_flagfile_serves_every_command(flagfile):
    path = flagfile("--learning_rate=0.5", "--data_dir=/voc")
    config, _ = parse(DETECT, ["--checkpoint=m.keras", f"--flagfile={path}"])
    assert config == Config(data_dir="/voc")  # detect has no use for a learning rate


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--shorter_sid=3"], "unknown flag --shorter_sid. Did you mean --shorter_side?"),
        (["--shorter-side=3"], "unknown flag --shorter-side. Did you mean --shorter_side?"),
        (["--flagfil=a"], "unknown flag --flagfil. Did you mean --flagfile?"),
        (["--xyzzy"], "unknown flag --xyzzy."),
        (["--undefok=xyzzy", "--xyzzy=1"], "unknown flag --undefok."),
        (["--noseed"], "unknown flag --noseed. Did you mean --seed?"),
        (
            ["--nodeterministic=true"],
            "unknown flag --nodeterministic. Did you mean --deterministic?",
        ),
        (["-seed=3"], "expected --name=value. Received: '-seed=3'"),
        (["--=3"], "expected --name=value. Received: '--=3'"),
        (["--"], "expected --name=value. Received: '--'"),
        (["seed=3"], "expected --name=value. Received: 'seed=3'"),
        (["--seed=3", "train"], "expected --name=value. Received: 'train'"),
        (["--deterministic", "false"], "expected --name=value. Received: 'false'"),
        (["--seed"], "--seed needs a value: --seed=..."),
        (["--data_dir", "--seed=3"], "--data_dir needs a value: --data_dir=..."),
        (["--steps=ten"], "--steps must be a positive integer. Received: 'ten'"),
        (["--steps=1e4"], "--steps must be a positive integer. Received: '1e4'"),
        (["--steps="], "--steps must be a positive integer. Received: ''"),
        (["--learning_rate=fast"], "--learning_rate must be a positive number. Received: 'fast'"),
        (["--learning_rate=nan"], "--learning_rate must be a positive number. Received: nan"),
        (
            ["--deterministic=maybe"],
            "--deterministic must be true or false. Received: 'maybe'",
        ),
        (["--roi_pooling=mean"], "--roi_pooling must be one of max, align. Received: 'mean'"),
        (
            ["--scales=[64]"],
            "--scales must be one or more positive numbers separated by commas. Received: '[64]'",
        ),
        (
            ["--train_split=a,,b"],
            "--train_split must be a list of strings separated by commas. Received: 'a,,b'",
        ),
        (["--dry_run=3"], "--dry_run must be true or false. Received: '3'"),
        (["--steps=40", "--steps=50"], "--steps=50 contradicts --steps=40"),
        (["--scales", "8,16", "--scales=16,8"], "--scales=16,8 contradicts --scales=8,16"),
        (
            ["--deterministic", "--nodeterministic"],
            "--deterministic=false contradicts --deterministic=true",
        ),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(argv, message, refusal):
    assert refusal(*argv) == message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seed=3", "expected --name=value. Received: 'seed=3'"),
        ("-seed=3", "expected --name=value. Received: '-seed=3'"),
        (
            "--seed 3",
            "expected --name=value without a space before =. Received: '--seed 3'",
        ),
        (
            "--seed = 3",
            "expected --name=value without a space before =. Received: '--seed = 3'",
        ),
        (
            "--deterministic false",
            "expected --name=value without a space before =. Received: '--deterministic false'",
        ),
        (
            "--deterministic # bit for bit",
            "expected --name=value without a space before =. "
            "Received: '--deterministic # bit for bit'",
        ),
        (
            "--data_dir=/voc  # here",
            "a comment needs a line of its own. Received: '--data_dir=/voc  # here'",
        ),
        (
            '--data_dir="/voc"',
            "quotes would become part of the value. Received: '--data_dir=\"/voc\"'",
        ),
        ("--seed", "--seed needs a value: --seed=..."),
        ("--seeed=3", "unknown flag --seeed. Did you mean --seed?"),
        ("--seed=x", "--seed must be an integer of at least 0. Received: 'x'"),
        ("--help", "unknown flag --help."),
        ("--batch_size=2", "--batch_size=2 contradicts {path}:2: --batch_size=1"),
        ("--num_pictures=2", "--num_pictures=2 contradicts {path}:3: --num_images=1"),
    ],
)
def test_a_wrong_line_is_refused_with_file_and_line(line, message, flagfile, refusal):
    path = flagfile("# A run", "--batch_size=1", "--num_images=1", line)
    assert refusal(f"--flagfile={path}") == f"{path}:4: {message.format(path=path)}"


def test_the_command_line_does_not_hide_a_wrong_line(flagfile, refusal):
    path = flagfile("--seed=x")
    assert refusal(f"--flagfile={path}", "--seed=3").startswith(f"{path}:1: --seed must be")


def test_a_switch_contradicts_its_no_form(flagfile, refusal):
    path = flagfile("--deterministic", "--nodeterministic")
    assert "contradicts" in refusal(f"--flagfile={path}")


def test_an_unreadable_flagfile_is_named(flagfile, refusal, tmp_path):
    missing = tmp_path / "missing.cfg"
    assert refusal(f"--flagfile={missing}").startswith(f"cannot read the flagfile '{missing}': ")
    assert refusal(f"--flagfile={tmp_path}").startswith(f"cannot read the flagfile '{tmp_path}': ")
    assert refusal("--flagfile=").startswith("cannot read the flagfile '.': ")
    assert refusal("--flagfile") == "--flagfile needs a value: --flagfile=..."
    path = flagfile("--seed=1", "--flagfile=missing.cfg")
    start = f"{path}:2: cannot read the flagfile '{missing}': "
    assert refusal(f"--flagfile={path}").startswith(start)
    path.write_bytes(b"--data_dir=\xff\xfe")
    assert refusal(f"--flagfile={path}").startswith(f"cannot read the flagfile '{path}': ")


def test_a_flagfile_that_includes_itself_is_refused(flagfile, refusal):
    path = flagfile("--flagfile=b.cfg")
    other = flagfile("--seed=1", "--flagfile=a.cfg", name="b.cfg")
    assert refusal(f"--flagfile={path}") == (
        f"{other}:2: a flagfile must not include itself. Received: {path} -> {other} -> {path}"
    )


def test_all_contradictions_are_shown_as_flags(refusal):
    message = refusal("--batch_size=0", "--longer_side=10", "--split=0.5,0.5")
    assert message.splitlines() == [
        "--batch_size must be a positive integer. Received: 0",
        "--split needs --dataset=folder",
        "--longer_side (10) is below --shorter_side (600)",
    ]
    assert refusal("--backbone_weights=none", "--frozen_blocks=1") == (
        "--frozen_blocks=1 with --backbone_weights=none would freeze random weights: "
        "use --frozen_blocks=-1 or 0"
    )


def test_a_setting_that_a_command_does_not_use_is_refused_on_its_command_line(refusal):
    message = refusal("--checkpoint=m.keras", "--learning_rate=0.1", command=DETECT)
    assert message == "--learning_rate is not used by this command"


def test_all_options_of_a_command_that_are_out_of_range_are_named(refusal):
    options = (
        Option("number", int, 4, "Images.", limits=POSITIVE),
        Option("threshold", float, 0.5, "A score.", limits=FRACTION),
        Option("out", str, "", "A folder.", required=True),
    )
    command = Command("look", "Looks.", options=options, settings=())
    assert refusal("--number=0", "--threshold=2", command=command).splitlines() == [
        "--number must be a positive integer. Received: 0",
        "--threshold must be a number between 0 and 1. Received: 2.0",
        "--out is missing: A folder.",
    ]


@pytest.mark.parametrize("argv", [[], ["--checkpoint="]])
def test_a_missing_required_option_is_named(argv, refusal):
    assert refusal(*argv, command=DETECT) == "--checkpoint is missing: A trained model."


def test_what_base_refuses_is_shown(refusal):
    def base(options):
        raise ValueError(f"No checkpoint at {options.checkpoint}")

    message = refusal("--checkpoint=m.keras", command=DETECT, base=base)
    assert message == "No checkpoint at m.keras"


# --- places --------------------------------------------------------------------------------------


ALL_COMMANDS = [importlib.import_module(module).COMMAND for module, _ in COMMANDS.values()]
WITHOUT_OUTPUT_DIR = (
    *("propose", "compact", "status", "replay"),
    *("import-detector", "describe", "zoo"),
)
OUTPUTS = [
    (command, option)
    for command in ALL_COMMANDS
    for option in command.flags.values()
    if option.output
]


def test_every_flag_for_an_output_is_known():
    assert {(command.name, option.name) for command, option in OUTPUTS} == {
        *((name, "output_dir") for name in COMMANDS if name not in WITHOUT_OUTPUT_DIR),
        ("train", "dry_run_file"),
        ("evaluate", "tensorboard"),
        ("check-data", "fix"),
        ("propose", "output_file"),
        ("compact", "output_file"),
        ("import-detector", "output_file"),
        ("replay", "tensors_file"),
    }


@pytest.mark.parametrize(
    ("command", "option"), OUTPUTS, ids=[f"{c.name}-{o.name}" for c, o in OUTPUTS]
)
def test_an_output_that_cannot_be_written_is_refused_before_anything_else(
    command, option, refusal, tmp_path
):
    def base(options):
        raise AssertionError("too late")

    (tmp_path / "file").touch()
    path = tmp_path / "file" / f"a{''.join(option.suffixes[:1])}"
    required = [f"--{o.name}=1" for o in command.options if o.required and o is not option]
    assert refusal(*required, f"--{option.name}={path}", command=command, base=base) == (
        f"--{option.name} must be a {option.output} that can be written to. "
        f"Received: {path} ({tmp_path}/file: Not a directory)"
    )


def _opened(path, buffering):
    return io.TextIOWrapper(open(path, "wb", buffering=buffering), write_through=not buffering)


def _raised(error, command=TRAIN):
    with pytest.raises(SystemExit) as caught, user_errors(command, "runs/a"):
        raise error
    return caught.value.code


def test_a_place_that_fails_later_is_one_sentence(capsys):
    assert _raised(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) == 2
    assert capsys.readouterr().err == (
        "keras-frcnn train: runs/a cannot be read or written: No space left on device\n"
    )
    assert _raised(PermissionError(errno.EACCES, "", "a.jpg")) == 2
    assert capsys.readouterr().err == (
        "keras-frcnn train: a.jpg cannot be read or written: Permission denied\n"
    )
    assert _raised(ValueError("a.xml: Permission denied: give another")) == 2
    assert capsys.readouterr().err == "keras-frcnn train: a.xml: Permission denied: give another\n"


@pytest.mark.parametrize(
    ("buffering", "write"),
    [
        (-1, print),
        (-1, say),
        (0, say),  # as with PYTHONUNBUFFERED=1
        (0, lambda text: Console().print(text)),
    ],
)
def test_a_full_disk_under_the_output_is_not_blamed_on_the_folder(
    buffering, write, monkeypatch, capsys
):
    with _opened("/dev/full", buffering) as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as caught, user_errors(TRAIN, "runs/a"):
            write("results")
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "keras-frcnn train: standard output cannot be read or written: No space left on device\n"
    )


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("a bug"), OSError("a bug")])
def test_a_bug_keeps_its_traceback(error):
    with pytest.raises(type(error)) as caught, user_errors(TRAIN):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_a_command_tidy_up(number, capsys):
    tidied = []
    with pytest.raises(SystemExit) as caught, user_errors(TRAIN):
        try:
            os.kill(os.getpid(), number)
        finally:
            tidied.append(number)
    assert caught.value.code == 128 + number
    assert tidied == [number]
    assert capsys.readouterr().err == "keras-frcnn train: stopped\n"


def test_a_reader_that_left_ends_a_command_in_silence(monkeypatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(SystemExit) as caught, user_errors(TRAIN):
            print("a line that is written when the command ends")
        assert caught.value.code == 128 + signal.SIGPIPE
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "show"), [("train", lambda: parse(TRAIN, ["--help"])), ("help", lambda: main([]))]
)
def test_help_that_cannot_be_printed_ends_without_a_traceback(name, show, monkeypatch, capsys):
    for number, code in ((errno.EPIPE, 128 + signal.SIGPIPE), (errno.ENOSPC, 2)):
        with open(os.devnull, "w") as stream:
            error = OSError(number, os.strerror(number))

            def fail(error=error):
                raise error

            broken = SimpleNamespace(write=stream.write, fileno=stream.fileno, flush=fail)
            monkeypatch.setattr(sys, "stdout", broken)
            with pytest.raises(SystemExit) as caught:
                show()
            assert caught.value.code == code
    assert capsys.readouterr().err == (
        f"keras-frcnn {name}: standard output cannot be read or written: No space left on device\n"
    )


def test_a_command_needs_no_output(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)  # as after >&-
    with user_errors(TRAIN):
        print("nobody reads this")


@pytest.fixture
def moved_run(tmp_path, monkeypatch):
    """Returns a function that gives the data settings of a run as seen from another folder."""
    (tmp_path / "runs" / "a").mkdir(parents=True)
    for name in ("voc", "rpn"):
        (tmp_path / name).mkdir()
    for name in ("classes.txt", "found.npz"):
        (tmp_path / name).touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    def read(checkpoint=tmp_path / "runs" / "a" / "best.keras", **settings):
        config = Config(**{"output_dir": "runs/a"} | settings)
        path = "keras_frcnn.weights.checkpoint.read_settings"
        monkeypatch.setattr(path, lambda path: (config, ("cat",)))
        return checkpoint_settings(SimpleNamespace(checkpoint=str(checkpoint)))

    return read


def test_the_data_of_a_run_are_found_from_any_folder(moved_run, tmp_path):
    config = moved_run(data_dir="voc", classes_file="classes.txt", test_proposals="found.npz")
    assert config.data_dir == (f"{tmp_path}/voc",)
    assert config.classes_file == f"{tmp_path}/classes.txt"
    assert config.test_proposals == f"{tmp_path}/found.npz"
    config = moved_run(checkpoint="../runs/a/best.keras", data_dir="voc")
    assert [os.path.samefile(one, tmp_path / "voc") for one in config.data_dir] == [True]


def test_data_that_are_here_or_lost_keep_their_path(moved_run, tmp_path):
    (tmp_path / "elsewhere" / "voc").mkdir()
    assert moved_run(data_dir="voc").data_dir == ("voc",)
    assert moved_run(data_dir=("lost", "-")).data_dir == ("lost", "-")
    assert moved_run(data_dir="/voc").data_dir == ("/voc",)
    config = moved_run(output_dir="runs/b", classes_file="classes.txt")  # the run was renamed
    assert (config.classes_file, config.test_proposals) == ("classes.txt", "rpn")
    assert moved_run(output_dir="/".join("abcdefghijklmnop"), data_dir="lost").data_dir == ("lost",)


@pytest.mark.parametrize(
    ("content", "is_folder", "reason"),
    [
        ("a.json", True, "a.json: is not a file"),
        ("a.json", False, ""),
        ("charts", True, ""),
        ("charts", False, "charts: Not a directory"),
    ],
)
def test_what_is_in_the_way_of_an_output_is_named_first(
    content, is_folder, reason, tmp_path, refusal
):
    option = Option("output_dir", str, "", "Results.", output="folder")
    command = Command("draw", "", (option,), writes=("a.json", "charts/"), settings=())
    path = tmp_path / content
    path.mkdir() if is_folder else path.touch()
    flag = f"--output_dir={tmp_path}"
    if not reason:
        parse(command, [flag])
        return
    assert refusal(flag, command=command) == (
        "--output_dir must be a folder that can be written to. "
        f"Received: {tmp_path} ({tmp_path / reason})"
    )


# --- help ------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["--helpfull"], ["--xyzzy", "--help"]])
def test_help_goes_to_stdout_with_exit_code_0(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(TRAIN, argv)
    assert caught.value.code == 0
    output = capsys.readouterr()
    assert output.out.startswith("Usage: keras-frcnn train [--flagfile=FILE] [--name=value ...]\n")
    assert output.err == ""


def test_help_shows_every_flag_with_type_default_and_choices():
    text = help_text(TRAIN)
    lines = text.splitlines()
    for name in (*SETTINGS, "dry_run"):
        assert sum(line.startswith(f"  --{name}  (") for line in lines) == 1, name
    assert "  --dry_run  (true or false; default false)" in lines
    assert "  --pool_size  (a positive integer; default 7)" in lines
    choices = "one of max, align; default max; align with a feature pyramid"
    assert f"  --roi_pooling  ({choices})" in lines
    assert "  --classes_file  (a string; default empty)" in lines
    forms = "one or more of voc, coco, tfrecord, tfds, yolo, folder, separated by commas"
    assert f"  --dataset  ({forms}; default voc)" in lines
    assert "  --rpn_fg_fraction  (a number between 0 and 1; default 0.5, from the paper, " in text
    assert "pictures" not in text  # former names
    assert "  keras-frcnn train --flagfile=voc.cfg" in lines
    assert "  --flagfile=FILE" in lines
    assert not any("undefok" in line or "absl" in line for line in lines)


def test_help_goes_by_groups_in_the_order_of_the_settings():
    assert list(GROUPS) == list(dict.fromkeys(option.group for option in SETTINGS.values()))
    titles = [
        line
        for line in help_text(TRAIN).splitlines()
        if line and line[0] != " " and line[-1] == ":"
    ]
    groups = [f"{title}:" for title in GROUPS.values()]
    assert titles == ["Example:", "General:", "Flags of train:", *groups]


def test_help_of_a_command_leaves_out_what_it_does_not_use():
    text = help_text(DETECT)
    assert "--checkpoint  (a string; required)" in text
    assert "--score_threshold" in text
    assert "--learning_rate" not in text
    assert "Training:" not in text


def test_a_loaded_model_is_not_for_xla(monkeypatch):
    from keras_frcnn.weights import checkpoint

    saved = Config(jit_compile=True, shorter_side=64, longer_side=96)
    monkeypatch.setattr(checkpoint, "read_settings", lambda path: (saved, ("a",)))
    settings = checkpoint_settings(SimpleNamespace(checkpoint="a.keras"))
    assert settings == saved.replace(jit_compile=False)
