"""Alternating training: what each of its steps learns from what, and going on at any point."""

import dataclasses
import json
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_frcnn import data
from keras_frcnn.data import epoch_order, proposals_file
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.inference.collect import propose
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training import callbacks, schemes, trainer
from keras_frcnn.training.schedules import make_schedule
from keras_frcnn.weights import checkpoint
from tests import fakes
from tests.training.test_trainer import assert_same_state, state_of

pytestmark = pytest.mark.usefixtures("eager")

PARTS = ("backbone", "rpn_backbone", "rpn_head", "box_head")
RESULTS = ("step1.keras", "unshared.keras", "step3.keras", "last.keras")
STEPS = (3, 2, 2, 3)
OBJECTS = [([5, 5, 30, 40], 0), ([20, 41, 60, 90], 2)]


@pytest.fixture(scope="module")
def alternating(config):
    """Settings of a run in four short steps; without its ``output_dir``."""
    return config.replace(
        scheme="alternating",
        alternating_steps=STEPS,
        alternating_batch_sizes=(1, 2, 2, 1),
        weight_decay=0.1,
        eval_every=2,
        log_every=1,
        num_images=1,
    )


@pytest.fixture(scope="module")
def whole(alternating, train, tmp_path_factory):
    """A run in one go: its folder, what it printed, and the weights that each step began with."""
    begun, run = [], trainer._run

    def note(model, phase, *args):
        begun.append({name: weights_of(model, name) for name in PARTS})
        run(model, phase, *args)

    with pytest.MonkeyPatch.context() as patch, fakes.small_backbone():
        fakes.run_eagerly(patch)
        patch.setattr(trainer, "_run", note)
        folder = tmp_path_factory.mktemp("alternating")
        output = train(alternating.replace(output_dir=str(folder)))
        ended = [checkpoint.load(folder / name) for name in RESULTS]
    return SimpleNamespace(folder=folder, output=output, begun=begun, ended=ended)


def weights_of(model, name):
    layer = getattr(model, name)
    return None if layer is None else [w.numpy() for w in layer.weights]


def same(one, other):
    """Whether two lists of weights agree to the bit; None if some do and some do not."""
    equal = {bool((a == b).all()) for a, b in zip(one, other, strict=True)}
    return equal.pop() if len(equal) == 1 else None


# --- phases -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["joint", "non_approximate"])
def test_joint_training_is_one_phase_of_everything(config, scheme):
    settings = config.replace(scheme=scheme, roi_pooling="align")
    (phase,) = schemes.phases(settings)
    assert phase.config == phase.model_config == settings
    assert (phase.first_step, phase.last_step, phase.is_final) == (0, 6, True)
    assert phase.proposals is None and not phase.start
    model = fakes.detector()
    schemes.prepare(model, phase)
    assert len(model.trainable_weights) == 16


def test_the_phases_of_alternating_training(alternating):
    settings = alternating.replace(
        output_dir="runs/a",
        lr_boundaries=(2,),
        steps=6,
        alternating_lr_boundaries=(9, 8, 7, 6),
        alternating_batch_sizes=(1, 2, 3, 4),
    )
    phases = schemes.phases(settings)
    assert [phase.config.steps for phase in phases] == list(STEPS)
    assert [phase.config.lr_boundaries for phase in phases] == [(9,), (8,), (7,), (6,)]
    assert [phase.config.batch_size for phase in phases] == [1, 2, 3, 4]
    assert [(phase.first_step, phase.last_step) for phase in phases] == [
        (0, 3),
        (3, 5),
        (5, 7),
        (7, 10),
    ]
    assert [phase.model_config.scheme for phase in phases] == ["unshared"] * 2 + ["alternating"] * 2
    assert all(phase.model_config.steps == 6 for phase in phases)
    files = [phase.config.train_proposals for phase in phases]
    assert files == ["rpn", "runs/a/step1_proposals.npz", "rpn", "runs/a/step3_proposals.npz"]
    assert [phase.proposals and str(phase.proposals) for phase in phases] == [
        None if file == "rpn" else file for file in files
    ]
    assert tuple(phase.result for phase in phases) == RESULTS
    first_two = schemes.phases(settings.replace(scheme="unshared"))
    assert [phase.result for phase in first_two] == ["step1.keras", "last.keras"]
    assert [phase.trains for phase in first_two] == [phase.trains for phase in phases[:2]]


# --- what each step learns ----------------------------------------------------------------------


def test_what_a_run_leaves_in_its_folder(whole):
    assert sorted(path.name for path in whole.folder.iterdir()) == sorted(
        [*RESULTS, "best.keras", "evaluations.jsonl", "eval", "train"]
        + ["step1_proposals.npz", "step3_proposals.npz"]
    )
    assert [int(model.step) for model in whole.ended] == [3, 5, 7, 10]
    assert [model.config.scheme for model in whole.ended] == ["unshared"] * 2 + ["alternating"] * 2
    assert [model.rpn_backbone is None for model in whole.ended] == [False, False, True, True]
    assert "step 1 of 4: trains rpn_backbone, rpn_head for 3 steps\n" in whole.output
    assert "backbone, box_head from unshared.keras" in whole.output.replace("\n", " ")


def test_each_step_changes_what_it_trains_and_no_other_weight_by_one_bit(whole):
    for begun, ended, trained in zip(
        whole.begun,
        whole.ended,
        (("rpn_backbone", "rpn_head"), ("backbone", "box_head"), ("rpn_head",), ("box_head",)),
        strict=True,
    ):
        for name in PARTS:
            after = weights_of(ended, name)
            if after is not None:
                assert same(begun[name], after) is (name not in trained), name


def test_each_step_begins_with_what_the_paper_says(whole):
    first, second, third, fourth = whole.begun
    after_first, after_second, after_third = whole.ended[:3]
    assert same(first["rpn_backbone"], first["backbone"])
    # 2: the start weights again, and beside them the RPN of step 1.
    assert same(second["backbone"], first["backbone"])
    assert same(second["box_head"], first["box_head"])
    for name in ("rpn_backbone", "rpn_head"):
        assert same(second[name], weights_of(after_first, name))
    # 3: step 2's convolutions, under RPN layers as new as in step 1.
    assert third["rpn_backbone"] is None
    assert same(third["backbone"], weights_of(after_second, "backbone"))
    assert same(third["box_head"], weights_of(after_second, "box_head"))
    assert same(third["rpn_head"], first["rpn_head"])
    # 4: all of step 3, and with it the head of step 2.
    for name in ("backbone", "rpn_head", "box_head"):
        assert same(fourth[name], weights_of(after_third, name))


def test_the_optimizer_of_each_step_begins_anew(whole, tmp_path):
    for name, steps in zip(RESULTS, STEPS, strict=True):
        state = state_of(whole.folder / name, tmp_path)
        counts = [v for k, v in state.items() if k.startswith("optimizer") and v.dtype == "int64"]
        assert counts == [steps], name


def test_the_proposals_are_those_of_the_rpn_just_trained(whole, alternating):
    dataset = data.load(alternating, alternating.train_split)
    for number, drawn in ((1, [0, 2, 3, 4]), (3, [0, 2, 3])):  # of 5 images
        phase = schemes.phases(alternating)[number]
        rows = epoch_order.drawn_rows(
            dataset.records, phase.config, phase.first_step, phase.config.steps
        )
        found = proposals_file.read(whole.folder / f"step{number}_proposals.npz")
        few = Dataset(dataset.class_names, [dataset.records[row] for row in rows])
        expected = list(propose(whole.ended[number - 1], few, alternating, training=True))
        assert found.image_ids == [image_id for image_id, _, _ in expected]
        boxes = np.concatenate([boxes for _, boxes, _ in expected])
        np.testing.assert_allclose(found.boxes, boxes, atol=1e-3)
        assert rows == drawn
        assert np.diff(found.splits).max() > alternating.test_post_nms_top_k  # training's number


def test_each_step_is_measured_by_what_it_trains(whole):
    lines = callbacks.read_evaluations(whole.folder)
    assert [(line["step"], line["phase"]) for line in lines] == [
        (2, "step 1 of 4"),
        (3, "step 1 of 4"),
        (5, "step 2 of 4"),
        (7, "step 3 of 4"),
        (9, "step 4 of 4"),
        (10, "step 4 of 4"),
    ]
    assert ["mAP_area" in line for line in lines] == [False, False, True, False, True, True]
    assert all("RPN_recall/300_proposals" in line for line in lines)
    best = max(lines[-2:], key=lambda line: (line["mAP_area"], line["step"]))
    assert int(checkpoint.load(whole.folder / "best.keras").step) == best["step"]


def test_each_step_logs_the_losses_that_it_has(whole):
    accumulator = EventAccumulator(str(whole.folder / "train"), size_guidance={"tensors": 0})
    accumulator.Reload()
    of_rpn, of_detector = [1, 2, 3, 6, 7], [4, 5, 8, 9, 10]
    for tag, steps in (
        ("rpn_cls_loss", of_rpn),
        ("rpn_box_loss", of_rpn),
        ("rpn_foreground", of_rpn),
        ("roi_cls_loss", of_detector),
        ("roi_box_loss", of_detector),
        ("roi_foreground", of_detector),
        ("loss", list(range(1, 11))),
        ("learning_rate", list(range(1, 11))),
    ):
        assert sorted(event.step for event in accumulator.Tensors(tag)) == steps, tag


def test_the_rate_warms_up_and_falls_within_each_step(alternating):
    settings = alternating.replace(
        alternating_steps=(8, 4, 8, 4), alternating_lr_boundaries=(6, 3, 9, 2), warmup_steps=1
    )
    low = [0.001, 0.01]  # a tenth at first, then all of it
    expected = [
        [*low, 0.01, 0.01, 0.01, 0.01, 0.001, 0.001],
        [*low, 0.01, 0.001],
        [*low, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01],
        [*low, 0.001, 0.001],
    ]
    for phase, rates in zip(schemes.phases(settings), expected, strict=True):
        schedule = make_schedule(phase.config)
        received = [float(schedule(step)) for step in range(phase.config.steps)]
        assert received == pytest.approx(rates)


def test_an_unshared_run_is_the_first_half_of_an_alternating_one(
    whole, alternating, train, tmp_path
):
    train(alternating.replace(scheme="unshared", output_dir=str(tmp_path)))
    assert_same_state(whole.folder / "unshared.keras", tmp_path / "last.keras", tmp_path)
    assert_same_state(whole.folder / "step1.keras", tmp_path / "step1.keras", tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"best.keras", "step1_proposals.npz"} < names
    assert not {"unshared.keras", "step3.keras"} & names


@pytest.mark.parametrize(
    "changes",
    [{"accumulate_steps": 2}, {"precision": "mixed_bfloat16"}, {"optimizer": "adam"}],
    ids=str,
)
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_freezing_is_exact_whatever_takes_the_step(alternating, changes, number):
    settings = alternating.replace(momentum=0.9, **changes)
    phase = schemes.phases(settings)[number - 1]
    model = fakes.detector(scheme=phase.model_config.scheme, **changes)
    batch = fakes.inputs_of([fakes.image(64, 96)]), fakes.targets_of([OBJECTS])
    schemes.prepare(model, dataclasses.replace(phase, start=""))
    model.compile(trainer.make_optimizer(phase.config))
    model.optimizer.build(model.trainable_variables)
    before = {name: weights_of(model, name) for name in PARTS}
    for _ in range(2):
        model.train_step(batch)
    for name in PARTS:
        if before[name] is not None:
            assert same(before[name], weights_of(model, name)) is (name not in phase.trains)


def test_a_run_on_proposals_of_a_file(config, train, tmp_path):
    records = [
        record
        for split in (config.train_split, config.eval_split)
        for record in data.load(config, split).records
    ]
    file = tmp_path / "objects.npz"
    proposals_file.write(file, [(r.image_id, r.boxes, np.ones(len(r.boxes))) for r in records])
    output = train(
        config.replace(
            output_dir=str(tmp_path / "run"),
            train_proposals=str(file),
            test_proposals=str(file),
            steps=2,
            append_gt_boxes=False,
        )
    )
    (line,) = callbacks.read_evaluations(tmp_path / "run")
    assert line["file_recall/300_proposals"] == 1  # the proposals are the objects
    assert not any(name.startswith("RPN") for name in line)
    assert "step 2/2  loss" in output
    with pytest.raises(ValueError, match=r"objects\.npz has no proposals of 1 of 5 images"):
        proposals_file.write(
            file, [(r.image_id, r.boxes, np.ones(len(r.boxes))) for r in records[1:]]
        )
        both = {"train_proposals": str(file), "test_proposals": str(file)}
        train(config.replace(output_dir=str(tmp_path / "other"), **both))


# --- going on -----------------------------------------------------------------------------------


def assert_same_run(whole, folder, tmp_path):
    for name in RESULTS:
        assert_same_state(whole.folder / name, folder / name, tmp_path)
    assert callbacks.read_evaluations(folder) == callbacks.read_evaluations(whole.folder)
    names = [sorted(path.name for path in run.iterdir()) for run in (whole.folder, folder)]
    assert names[0] == names[1]


def test_a_run_stopped_again_and_again_equals_one_in_one_go(
    whole, alternating, train, tmp_path, monkeypatch
):
    settings, run = alternating.replace(output_dir=str(tmp_path / "run")), tmp_path / "run"
    original, stops = FasterRCNN.train_step, [1, 3, 4, 5, 7, 8]  # 3, 5 and 7 end a step

    def train_step(self, data):
        result = original(self, data)
        if int(self.step) in stops:
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    monkeypatch.setattr(FasterRCNN, "train_step", train_step)
    for step in list(stops):
        with pytest.raises(SystemExit) as caught:
            train(settings)
        assert caught.value.code == 128 + signal.SIGTERM
        assert int(checkpoint.load(run / "last.keras").step) == step
        stops.remove(step)
    assert "Going on from step 8 of" in train(settings)
    assert_same_run(whole, run, tmp_path)


class Killed(BaseException):
    """As SIGKILL ends a run, without any chance to tidy up."""


def test_a_run_killed_again_and_again_equals_one_in_one_go(
    whole, alternating, train, tmp_path, monkeypatch
):
    """Between two steps, before the proposals, while they are written, while a step is measured."""
    settings = alternating.replace(output_dir=str(tmp_path / "run"))
    dead = set()

    def mortal(holder, name, place):
        original = getattr(holder, name)

        def call(*args, **kwargs):
            here = place(*args, **kwargs)
            if here and here not in dead:
                dead.add(here)
                raise Killed
            return original(*args, **kwargs)

        monkeypatch.setattr(holder, name, call)

    mortal(trainer, "build", lambda config, names, console, phase: f"build {phase.name}")
    mortal(trainer, "write_proposals", lambda model, phase, *_: f"proposals {phase.name}")
    mortal(proposals_file, "write", lambda path, rows: f"write {path.name}")
    mortal(callbacks, "propose", lambda model, *_: f"measure {int(model.step)}")
    mortal(callbacks, "collect", lambda model, *_, **__: f"measure {int(model.step)}")
    kills = 0
    while True:
        try:
            train(settings)
            break
        except Killed:
            kills += 1
    assert kills == len(dead) == 4 + 2 + 2 + 6
    assert_same_run(whole, tmp_path / "run", tmp_path)


def test_a_run_stopped_while_it_collects_proposals_goes_on(
    alternating, train, tmp_path, monkeypatch
):
    settings = alternating.replace(scheme="unshared", output_dir=str(tmp_path))

    def some(*args, **kwargs):
        for row, found in enumerate(propose(*args, **kwargs)):
            if row == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            yield found

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "propose", some)
        with pytest.raises(SystemExit):
            train(settings)
    assert (tmp_path / "step1.keras").exists()
    assert not (tmp_path / "last.keras").exists() and not list(tmp_path.glob("*.npz"))
    train(settings)
    assert int(checkpoint.load(tmp_path / "last.keras").step) == 5


def test_a_finished_run_has_nothing_to_do(whole, alternating, train):
    before = {path.name: path.stat().st_mtime_ns for path in whole.folder.glob("*.keras")}
    output = train(alternating.replace(output_dir=str(whole.folder)))
    assert "has all of its 10 steps" in output.replace("\n", " ")
    assert before == {path.name: path.stat().st_mtime_ns for path in whole.folder.glob("*.keras")}


def test_proposals_of_a_run_that_was_cleared_away_are_not_used(alternating, train, tmp_path, whole):
    stale = [(r.image_id, [[0, 0, 9, 9]], [1]) for r in data.load(alternating, ("train",)).records]
    proposals_file.write(tmp_path / "step1_proposals.npz", stale)
    train(alternating.replace(scheme="unshared", output_dir=str(tmp_path)))
    assert_same_state(whole.folder / "unshared.keras", tmp_path / "last.keras", tmp_path)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (("unshared.keras", "last.keras"), "lacks step1.keras, though it has unshared.keras"),
        (("step1.keras", "step3.keras"), "lacks unshared.keras, though it has step3.keras"),
        (("last.keras",), "last.keras do not fit the model"),
        (("step1.keras", "last.keras"), "last.keras do not fit the model"),
    ],
)
def test_a_result_that_is_missing_ends_the_run(kept, message, whole, alternating, train, tmp_path):
    for name in kept:
        (tmp_path / name).symlink_to(whole.folder / name)
    with pytest.raises(ValueError, match=message):
        train(alternating.replace(output_dir=str(tmp_path)))


def test_evaluations_are_plain_lines(whole):
    text = (whole.folder / "evaluations.jsonl").read_text()
    assert [json.loads(line) for line in text.splitlines()] == callbacks.read_evaluations(
        whole.folder
    )
