"""The train command: what it records, when it goes on, and how it says what is wrong."""

import json
import os
import re
import shlex
import shutil
import signal
import sys
import time
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_frcnn.cli import detect, evaluate, export, status
from keras_frcnn.cli.command import parse
from keras_frcnn.cli.train import COMMAND, main
from keras_frcnn.config.flags import write_flagfile
from keras_frcnn.data import proposals_file
from keras_frcnn.data.writers import shapes
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training import dry_run, run_lock, trainer
from keras_frcnn.weights import checkpoint
from tests import fakes
from tests.command_line import overriding


@pytest.fixture(autouse=True)
def small_and_eager(monkeypatch):
    fakes.run_eagerly(monkeypatch)
    with fakes.small_backbone():
        yield


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return shapes.make(
        tmp_path_factory.mktemp("shapes"), 3, 1, 1, shorter_side=(64, 72), longer_side=(80, 96)
    )


@pytest.fixture(scope="module")
def flagfile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flags")
    classes = folder / "classes.txt"
    classes.write_text("\n".join(fakes.CLASS_NAMES))
    settings = fakes.SMALL.replace(
        steps=2,
        eval_every=1,
        batch_size=1,
        num_images=1,
        check_images=False,  # a second a run; the test of a cut image asks for it
        train_split=("train",),
        eval_split=("val",),
        classes_file=str(classes),
    )
    write_flagfile(settings, folder / "small.cfg")
    return folder / "small.cfg"


@pytest.fixture
def train(flagfile, data_dir, tmp_path):
    """Returns a function that runs the command with small settings."""

    def train(*argv):
        folders = [f"--data_dir={data_dir}", f"--output_dir={tmp_path / 'run'}"]
        return main(overriding(f"--flagfile={flagfile}", *folders, *argv))

    return train


@pytest.fixture
def refusal(train, capsys, monkeypatch):
    """Returns a function that gives the message of a command that ends before it builds a model."""

    def refuse(*argv, may_build=False):
        if not may_build:
            monkeypatch.setattr(trainer, "build_phase_model", None)
        with pytest.raises(SystemExit) as caught:
            train(*argv)
        assert caught.value.code == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        lines = [line for line in error.splitlines() if not re.match(r"[WIE]\d{4} |WARNING", line)]
        assert lines
        assert all(line.startswith("keras-frcnn train: ") for line in lines)
        return "\n".join(line.removeprefix("keras-frcnn train: ") for line in lines)

    return refuse


# --- a run --------------------------------------------------------------------------------------


def test_a_run_records_every_setting_and_says_what_to_do_next(
    train, tmp_path, data_dir, flagfile, capsys
):
    run = tmp_path / "run"
    assert train("--seed=7", "--scales=20,40.5") == 0
    config, _ = parse(COMMAND, [f"--flagfile={run / 'config.cfg'}"])
    given, _ = parse(COMMAND, [f"--flagfile={flagfile}"])
    folders = {"data_dir": str(data_dir), "output_dir": str(run)}
    expected = given.replace(seed=7, scales=(20.0, 40.5), **folders)
    assert config == expected
    assert checkpoint.read_settings(run / "best.keras") == (expected, fakes.CLASS_NAMES)
    lines = capsys.readouterr().out.splitlines()[-5:]
    best = f"--checkpoint={run}/best.keras"
    assert [line.partition(":")[2].strip() for line in lines] == [
        f"{run}/best.keras",
        f"tensorboard --logdir={run}",
        f"keras-frcnn evaluate {best}",
        f"keras-frcnn detect {best} --images=IMAGE --output_dir=found",
        f"keras-frcnn export {best} --output_dir=saved_model",
    ]


def test_the_next_commands_can_be_pasted(train, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "orig_argv", ["python3", "train.py"])
    monkeypatch.setattr(sys, "argv", ["train.py"])
    run = tmp_path / "my $run"
    assert train("--eval_split=-", f"--output_dir={run}") == 0
    lines = capsys.readouterr().out.splitlines()[-4:]
    board, *commands = (shlex.split(line.partition(":")[2]) for line in lines)
    assert board == ["tensorboard", f"--logdir={run}"]
    assert commands[0][-1] == "--eval_split=SPLIT"  # the run has none
    for command, words in zip((evaluate, detect, export), commands, strict=True):
        name = command.COMMAND.name
        assert words[:3] == ["python3", f"{name}.py", f"--checkpoint={run}/last.keras"]
        given = {word.partition("=")[0].removeprefix("--") for word in words[2:]}
        assert {o.name for o in command.COMMAND.options if o.required} <= given


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_later(
    train, refusal, tmp_path, monkeypatch, capsys
):
    save, run = FasterRCNN.save, tmp_path / "run"

    def fail(self, *args, **kwargs):
        if int(self.step) == 2:
            raise RuntimeError("file write failed: error message = 'No space left on device'")
        save(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(FasterRCNN, "save", fail)
        message = refusal(may_build=True)
    assert message == f"{run} cannot be read or written: No space left on device"
    assert int(checkpoint.load(run / "last.keras").step) == 1
    assert train() == 0
    assert "Resuming from step 1" in capsys.readouterr().out


def test_a_run_that_was_moved_goes_on(train, tmp_path):
    train("--steps=1")
    (tmp_path / "run").rename(tmp_path / "moved")
    (tmp_path / "run").touch()  # the recorded folder is none any more
    train("--steps=2", f"--output_dir={tmp_path / 'moved'}")
    assert int(checkpoint.load(tmp_path / "moved" / "last.keras").step) == 2


def test_auto_precision_is_recorded_as_what_it_became(train, tmp_path, monkeypatch):
    from keras_frcnn.models import precision

    monkeypatch.setattr(precision, "_read_cpu_flags", lambda: {"amx_bf16"})
    assert train("--precision=auto", "--steps=1", "--eval_every=0") == 0
    config, _ = parse(COMMAND, [f"--flagfile={tmp_path / 'run' / 'config.cfg'}"])
    assert config.precision == "mixed_bfloat16"
    assert train("--precision=auto", "--steps=1", "--eval_every=0") == 0  # goes on as it began


def test_the_same_command_goes_on_and_only_what_is_watched_may_change(
    train, refusal, tmp_path, capsys
):
    run = tmp_path / "run"
    train("--steps=1")
    train("--steps=2", "--log_every=1", "--num_images=0")
    assert "Resuming from step 1" in capsys.readouterr().out
    assert int(checkpoint.load(run / "last.keras").step) == 2
    before = {name: (run / name).read_bytes() for name in ("config.cfg", "last.keras")}
    message = refusal("--pool_size=5", "--optimizer=adam", "--steps=3", "--learning_rate=0.5")
    assert message.splitlines() == [
        f"{run} holds a run with other settings. "
        "Use another --output_dir, or the settings of the run:",
        "--pool_size was 3, is 5",
        "--optimizer was sgd, is adam",
    ]
    assert {name: (run / name).read_bytes() for name in before} == before


def test_a_run_that_diverged_goes_on_as_its_message_says(train, refusal, tmp_path, capsys):
    run = tmp_path / "run"
    train("--steps=1")
    flags = ("--steps=3", "--eval_every=0")
    rate = ("--learning_rate=1e30", "--continue_with=learning_rate")
    message = refusal(*rate, *flags, may_build=True)
    assert message.startswith("Training stopped: ") and message.endswith(
        "Try a lower --learning_rate, more --warmup_steps or a lower --gradient_clip_norm above 0: "
        "the same command with another value, and --continue_with= its name, continues from "
        f"{run}/last.keras"
    )
    assert int(checkpoint.load(run / "last.keras").step) == 1
    changes = ["--learning_rate=0.001", "--gradient_clip_norm=1", "--warmup_steps=1"]
    changes += ["--continue_with=learning_rate,gradient_clip_norm,warmup_steps"]
    assert train(*changes, *flags) == 0
    output = capsys.readouterr().out
    line = "Changed since the run began: --learning_rate was 1e+30, is 0.001, from step 1 on\n"
    assert line in output
    assert "Resuming from step 1 of" in output
    assert int(checkpoint.load(run / "last.keras").step) == 3
    lines = (run / "config.cfg").read_text(encoding="utf-8").splitlines()
    assert lines[1:7] == [
        "# Changed since the run began: --steps was 1, is 3, from step 1 on",
        "# Changed since the run began: --learning_rate was 0.01, is 1e+30, from step 1 on",
        "# Changed since the run began: --learning_rate was 1e+30, is 0.001, from step 1 on",
        "# Changed since the run began: --warmup_steps was 0, is 1, from step 1 on",
        "# Changed since the run began: --gradient_clip_norm was 10.0, is 1.0, from step 1 on",
        "",
    ]
    config, _ = parse(COMMAND, [f"--flagfile={run / 'config.cfg'}"])
    assert (config.learning_rate, config.gradient_clip_norm, config.warmup_steps) == (0.001, 1, 1)
    assert checkpoint.read_settings(run / "last.keras")[0] == config
    assert train(*changes, *flags) == 0  # nothing is changed now
    assert "Changed since" not in capsys.readouterr().out
    assert (run / "config.cfg").read_text(encoding="utf-8").splitlines() == lines


def test_another_rate_or_schedule_has_to_be_meant(train, refusal, monkeypatch, capsys, tmp_path):
    build, run = trainer.build_phase_model, tmp_path / "run"
    train("--steps=1")
    flags = ("--lr_boundaries=1", "--lr_decay_factor=0.5", "--lr_schedule=linear", "--steps=2")
    before = (run / "config.cfg").read_bytes()
    assert refusal(*flags, "--continue_with=lr_boundaries").splitlines() == [
        f"{run} holds a run that began with other settings. To continue it with the new ones, add "
        "--continue_with=steps,lr_schedule,lr_decay_factor:",
        "--steps was 1, is 2",
        "--lr_schedule was piecewise, is linear",
        "--lr_decay_factor was 0.1, is 0.5",
    ]
    assert (run / "config.cfg").read_bytes() == before
    monkeypatch.setattr(trainer, "build_phase_model", build)
    names = "steps,lr_boundaries,lr_schedule,lr_decay_factor"
    assert train(*flags, f"--continue_with={names}") == 0
    output = capsys.readouterr().out
    assert (
        "Changed since the run began: --lr_boundaries was (), is (1,), from step 1 on\n" in output
    )
    assert "Changed since the run began: --lr_decay_factor was 0.1, is 0.5, from step 1" in output
    assert train(*flags) == 0  # which is now how the run goes on


def test_a_run_may_be_as_long_as_so_many_epochs(train, tmp_path, capsys):
    flags = ("--batch_size=2", "--eval_every=0", "--steps=70000")
    assert train(*flags, "--epochs=1.5") == 0  # 4.5 of 3 images, in batches of 2
    run = tmp_path / "run"
    assert int(checkpoint.load(run / "last.keras").step) == 3
    config, _ = parse(COMMAND, [f"--flagfile={run / 'config.cfg'}"])
    assert (config.epochs, config.steps) == (1.5, 3)
    capsys.readouterr()
    assert train(*flags, "--epochs=1.5") == 0
    assert "has finished all 3 steps" in capsys.readouterr().out
    assert train(*flags, "--epochs=2.5") == 0
    output = capsys.readouterr().out
    assert "Changed since the run began: --epochs was 1.5, is 2.5, from step 3 on\n" in output
    assert int(checkpoint.load(run / "last.keras").step) == 4


def test_a_second_run_in_the_folder_is_refused(train, refusal, tmp_path, capsys):
    train("--steps=1")
    run = tmp_path / "run"
    before = {path: path.read_bytes() for path in run.glob("*.*")}
    with run_lock.held(run):
        before[run / "runner.json"] = (run / "runner.json").read_bytes()
        message = refusal("--steps=2")
        capsys.readouterr()
        assert status.main([str(run)]) == 0
    assert re.fullmatch(
        rf"{run} is in use by another run: host \S+, process {os.getpid()}, since .*\. Stop it, or "
        "use another --output_dir",
        message,
    )
    assert {path: path.read_bytes() for path in before} == before
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "step 1 of 1 (100.0%)"
    assert any(line.startswith("mAP_area: ") for line in lines)
    assert any(line.startswith(f"{run}/last.keras: step 1, written ") for line in lines)


def test_a_start_checkpoint_supplies_the_settings_of_the_model(
    train, flagfile, data_dir, tmp_path, refusal, capsys
):
    train("--roi_pooling=align", "--min_size=3", "--steps=1", f"--output_dir={tmp_path / 'first'}")
    start = tmp_path / "first" / "last.keras"
    needed = ("train_split", "eval_split", "batch_size", "check_images", "eval_every", "num_images")
    lines = [
        line
        for line in flagfile.read_text().splitlines()
        if line.removeprefix("--").partition("=")[0] in needed
    ]
    short = tmp_path / "short.cfg"
    short.write_text("\n".join([*lines, f"--start_checkpoint={start}", f"--data_dir={data_dir}"]))
    command = [f"--flagfile={short}", "--steps=1", "--min_size=5", f"--output_dir={tmp_path / 'b'}"]
    main(command)
    expected, _ = checkpoint.read_settings(start)
    config, _ = checkpoint.read_settings(tmp_path / "b" / "last.keras")
    assert (config.roi_pooling, config.scales) == ("align", expected.scales)
    assert (config.min_size, config.weight_decay) == (5, 0.0005)
    # The settings stay those of the run when the start checkpoint has gone.
    start.unlink()
    main(command)
    assert "Nothing to do" in capsys.readouterr().out


def test_alternating_training_by_command(train, refusal, tmp_path, capsys):
    run, flags = tmp_path / "run", ("--scheme=alternating", "--alternating_steps=1,1,1,1")
    assert train(*flags) == 0
    names = {path.name for path in run.glob("*.keras")}
    assert names == {f"{n}.keras" for n in ("step1", "unshared", "step3", "last", "best")}
    config, _ = parse(COMMAND, [f"--flagfile={run / 'config.cfg'}"])
    for name, scheme in (("unshared", "unshared"), ("best", "alternating")):
        found, _ = checkpoint.read_settings(run / f"{name}.keras")
        assert found == config.replace(scheme=scheme)
    assert "best.keras" in capsys.readouterr().out
    # The phases that are done would have ended elsewhere.
    (run / "last.keras").unlink()
    message = refusal(*flags, "--steps=4")
    assert message.splitlines()[1:] == ["--steps was 2, is 4"]


def test_a_mistake_in_the_first_command_does_not_bind_the_second(
    train, refusal, monkeypatch, tmp_path
):
    build = trainer.build_phase_model
    assert "'nope'" in refusal("--train_split=nope")
    # The model does not take the weights: nothing is left that would look like a run.
    nested = tmp_path / "new" / "run"
    wrong = f"--backbone_weights={__file__}"
    monkeypatch.setattr(trainer, "build_phase_model", build)
    for folder in (tmp_path / "run", nested):
        refusal(wrong, f"--output_dir={folder}", may_build=True)
    assert not (tmp_path / "run").exists() and not (tmp_path / "new").exists()
    with monkeypatch.context() as patch:  # TensorBoard's folder for evaluations exists by then
        patch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))
        assert "must have" in refusal(may_build=True)
    assert not (tmp_path / "run").exists()
    nested.mkdir(parents=True)
    (nested / "notes.txt").touch()
    refusal(wrong, f"--output_dir={nested}", may_build=True)
    assert [path.name for path in nested.iterdir()] == ["notes.txt"]
    assert train("--steps=1") == 0


def test_a_signal_ends_the_command_with_its_exit_code(train, tmp_path, monkeypatch):
    step = FasterRCNN.compute_gradients

    def compute_gradients(self, data):
        os.kill(os.getpid(), signal.SIGTERM)
        return step(self, data)

    monkeypatch.setattr(FasterRCNN, "compute_gradients", compute_gradients)
    with pytest.raises(SystemExit) as caught:
        train("--steps=2")
    assert caught.value.code == 143
    assert int(checkpoint.load(tmp_path / "run" / "last.keras").step) == 1


# --- what is wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "words"),
    [("data_dir", "the folder of the data to train on"), ("output_dir", "the folder for the run")],
)
def test_a_missing_folder_is_named_at_once(flag, words, refusal, monkeypatch):
    monkeypatch.setattr("keras_frcnn.models.precision.for_training", None)
    assert refusal(f"--{flag}=") == f"--{flag} is missing: {words}"


def test_data_with_a_folder_of_their_own_need_none(refusal, monkeypatch):
    def read(source):
        raise ValueError(f"asked for {source.splits} in {source.data_dir!r}")

    monkeypatch.setattr("keras_frcnn.data.readers.tfds.read", read)
    flags = ("--data_dir=", "--dataset=tfds", "--train_split=voc/2007:train")
    assert refusal(*flags) == "asked for ('voc/2007:train',) in ''"


def test_what_the_settings_contradict_is_named(refusal):
    assert refusal("--longer_side=10") == "--longer_side (10) is below --shorter_side (64)"


def test_a_loss_that_is_not_finite_ends_the_command(refusal):
    message = refusal("--learning_rate=1e30", may_build=True)
    assert message.startswith("Training stopped: ")


@pytest.fixture
def copy(data_dir, tmp_path):
    """A copy of the data to spoil, and the stem of its first training image."""
    folder = tmp_path / "data"
    for path in sorted(data_dir.rglob("*")):
        if path.is_file():
            target = folder / path.relative_to(data_dir)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    stems = (folder / "ImageSets/Main/train.txt").read_text().split()
    stem = next(s for s in stems if "<object>" in (folder / f"Annotations/{s}.xml").read_text())
    return folder, stem


def spoil(folder, stem, pattern, replacement):
    path = folder / "Annotations" / f"{stem}.xml"
    text, count = re.subn(pattern, replacement, path.read_text(), count=1, flags=re.DOTALL)
    assert count == 1
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("pattern", "replacement", "words"),
    [
        (r"</annotation>", "", "broken annotation"),
        (r"<xmin>.*?</xmin>", "<xmin>9999</xmin>", "box has no area"),
        (r"<xmax>.*?</xmax>", "<xmax>9999</xmax>", "box leaves the image"),
        (r"<ymin>.*?</ymin>", "<ymin>nan</ymin>", "box is not finite"),
        (r"<bndbox>.*?</bndbox>", "", "<bndbox> needs the numbers"),
        (r"<width>.*?</width>", "<width>7</width>", "the annotation says"),
    ],
)
def test_a_wrong_annotation_is_named(pattern, replacement, words, copy, refusal):
    folder, stem = copy
    path = spoil(folder, stem, pattern, replacement)
    message = refusal(f"--data_dir={folder}")
    assert words.lower() in message.lower()
    assert str(path) in message
    assert "--on_bad_record=skip" in message


def test_an_unknown_class_is_named_with_its_image(copy, refusal):
    folder, stem = copy
    spoil(folder, stem, r"<name>\w+</name>", "<name>blob</name>")
    message = refusal(f"--data_dir={folder}")
    assert f"{folder}/JPEGImages/{stem}.jpg: object of class blob: unknown class" in message
    assert "--on_bad_record=skip" in message


def test_a_cut_image_is_named(copy, refusal):
    folder, stem = copy
    path = folder / "JPEGImages" / f"{stem}.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    assert f"{path}: unreadable image" in refusal(f"--data_dir={folder}", "--check_images")


def test_what_is_bad_may_be_left_out(copy, train, capsys):
    folder, stem = copy
    (folder / "JPEGImages" / f"{stem}.jpg").unlink()
    flags = ("--on_bad_record=skip", "--steps=1", "--eval_every=0")
    assert train(f"--data_dir={folder}", *flags) == 0
    output = capsys.readouterr().out.replace("\n", "")
    assert "train: 2 images" in output
    assert f"{stem}: the image is missing" in output


def test_missing_folders_and_splits_are_named(copy, refusal, tmp_path):
    folder, _ = copy
    missing = tmp_path / "none"
    assert str(missing) in refusal(f"--data_dir={missing}")
    assert "'nope'" in refusal("--train_split=nope")
    assert "'nope'" in refusal("--eval_split=nope")
    (folder / "ImageSets/Main/train.txt").write_text("\n")
    assert refusal(f"--data_dir={folder}").endswith("train.txt: the split is empty")


@pytest.mark.parametrize("flags", [(), ("--noinclude_empty",), ("--dry_run",)])
def test_images_without_any_object_to_learn_are_refused(copy, refusal, flags):
    folder, _ = copy
    for path in (folder / "Annotations").iterdir():
        path.write_text(re.sub(r"<object>.*</object>", "", path.read_text(), flags=re.DOTALL))
    message = refusal(f"--data_dir={folder}", *flags)
    assert "there is no object to learn from in train (3 images)" in message


@pytest.mark.parametrize("flags", [(), ("--dry_run",)])
def test_anchors_that_match_no_object_are_refused(refusal, flags):
    message = refusal("--scales=128,256,512", "--norpn_border_anchors", *flags)
    assert "the RPN has nothing to learn from" in message and "--scales=128,256,512" in message


def test_pretrained_weights_that_are_missing_are_named(refusal, tmp_path):
    path = tmp_path / "missing.h5"
    assert str(path) in refusal(f"--backbone_weights={path}", may_build=True)


def test_a_damaged_checkpoint_is_named(train, refusal, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with zipfile.ZipFile(run / "last.keras", "w") as archive:
        archive.writestr("a", "b")
    assert f"{run}/last.keras is not a checkpoint" in refusal("--steps=1", may_build=True)


# --- dry run ------------------------------------------------------------------------------------


def test_a_dry_run_reports_and_writes_nothing(train, tmp_path, monkeypatch, capsys):
    exported = []

    def export(model, folder):
        exported.append((model, folder))

    monkeypatch.setattr(dry_run, "export", export)
    monkeypatch.chdir(tmp_path)
    assert train("--dry_run") == 0
    assert list(tmp_path.iterdir()) == []
    output = capsys.readouterr().out
    parameters = exported[0][0].count_params()
    assert f"parameters: {parameters:,}, trained: {parameters - 1:,}\n" in output
    assert re.search(
        r"train step: \d+\.\d\d s \(the first one \d+\.\d s\), loss \d+\.\d{3}", output
    )
    assert re.search(r"evaluation: \d+\.\d\d s per image, mAP_area on 1 images [\d.]+", output)
    assert "export: works\n" in output
    assert re.search(r"memory: \d+\.\d GiB at most\n", output)
    assert "for 2 steps, 0 min with 2 evaluations of 1 images\n" in output
    assert not os.path.exists(exported[0][1])


@pytest.mark.parametrize("scheme", ["non_approximate", "alternating", "unshared"])
def test_a_dry_run_rehearses_every_phase(scheme, train, tmp_path, monkeypatch, capsys):
    exported = []
    monkeypatch.setattr(dry_run, "export", lambda model, folder: exported.append(model))
    monkeypatch.setattr(dry_run, "_TIMED_STEPS", 1)
    monkeypatch.chdir(tmp_path)
    assert train("--dry_run", f"--scheme={scheme}", "--steps=6", "--roi_pooling=align") == 0
    assert list(tmp_path.iterdir()) == []
    assert exported[0].config.scheme == scheme
    output = capsys.readouterr().out
    phases, steps = {"alternating": (4, 6), "unshared": (2, 3)}.get(scheme, (1, 6))
    assert output.count("train step: ") == phases
    assert f"for {steps} steps, 0 min with {steps} evaluations of 1 images\n" in output


def test_a_dry_run_may_write_its_seconds(train, tmp_path, monkeypatch):
    def propose_dataset(model, dataset, config, training):
        del model, config, training
        time.sleep(0.6)  # as if the first image traced a graph
        for record in dataset.records:
            yield record.image_id, np.array([[0, 0, 40, 40]], np.float32), np.ones(1, np.float32)

    monkeypatch.setattr(dry_run, "export", lambda model, folder: None)
    monkeypatch.setattr(dry_run, "_TIMED_STEPS", 1)
    monkeypatch.setattr(dry_run, "propose_dataset", propose_dataset)
    file = tmp_path / "seconds.json"
    flags = ("--scheme=unshared", "--steps=6", f"--dry_run_file={file}")
    assert train("--dry_run", *flags) == 0
    seconds = json.loads(file.read_text())
    assert seconds["images"] == 3
    (first, second) = seconds["phases"]
    assert first["step"] > 0 and first["proposals"] == 0
    assert second["step"] > 0 and 0 < second["proposals"] < 0.6
    assert seconds["evaluation"] > 0


def test_without_image_sets_to_evaluate_on_a_run_is_not_evaluated(train, tmp_path, capsys):
    assert train("--eval_split=-") == 0
    run = tmp_path / "run"
    names = {path.name for path in run.iterdir()} - {"run.lock"}
    written = {"config.cfg", "earlier", "last.keras", "metrics.jsonl", "runner.json", "train"}
    assert names == written
    output = capsys.readouterr().out
    assert "evaluate: nothing, because of --eval_split=-" in output
    assert f"Last checkpoint: {run}/last.keras" in output and "best.keras" not in output
    model = checkpoint.load(str(run / "last.keras"))
    assert int(model.step) == 2
    assert train("--eval_split=-") == 0
    assert "Nothing to do" in capsys.readouterr().out


def test_a_dry_run_without_image_sets_to_evaluate_on_foretells_no_evaluations(
    train, monkeypatch, capsys
):
    monkeypatch.setattr(dry_run, "export", lambda model, folder: None)
    assert train("--eval_split=-", "--dry_run") == 0
    output = capsys.readouterr().out
    assert "estimate: 0 min for 2 steps\n" in output and "evaluation:" not in output


def test_a_dry_run_does_without_export_where_there_is_none(train, data_dir, tmp_path, capsys):
    ids = [file.stem for file in sorted((data_dir / "JPEGImages").iterdir())]
    file = tmp_path / "found.npz"
    box, score = np.array([[0, 0, 40, 40]], np.float32), np.ones(1, np.float32)
    proposals_file.write(file, [(image_id, box, score) for image_id in ids])
    flags = (f"--train_proposals={file}", f"--test_proposals={file}")
    assert train("--dry_run", *flags) == 0
    assert (
        "export: skipped, because the detector has no proposals of its own\n"
        in capsys.readouterr().out
    )


def test_a_dry_run_meets_the_errors_of_a_run(refusal, tmp_path):
    message = refusal("--dry_run", "--learning_rate=1e30", may_build=True)
    assert message.startswith("Training stopped: ") and message.endswith("starts again")
    assert "'nope'" in refusal("--dry_run", "--train_split=nope")
    assert not (tmp_path / "run").exists()


def test_images_are_real_files(data_dir):
    """The tests above spoil JPEGs of a known size."""
    for path in (data_dir / "JPEGImages").iterdir():
        with Image.open(path) as image:
            assert 64 <= min(image.size) <= 72
