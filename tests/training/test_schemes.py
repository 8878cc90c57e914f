"""Alternating training: what each of its steps learns from what, and resuming at any point."""

import os
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from keras_frcnn import data
from keras_frcnn.data import epoch_order, proposals_file
from keras_frcnn.data.dataset import Dataset
from keras_frcnn.inference.over_dataset import propose_dataset
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training import run_folder, schemes, trainer
from keras_frcnn.training.callbacks import evaluation
from keras_frcnn.training.phase_model import prepare
from keras_frcnn.training.schedules import make_schedule
from keras_frcnn.training.schemes import BACKBONE, MODEL_PARTS, ROI_HEAD, RPN, RPN_BACKBONE
from keras_frcnn.weights import checkpoint
from tests import fakes
from tests.training.checkpoint_state import assert_same_state, state_of
from tests.training.events import read_events, scalars
from tests.training.weights import same, weights_of

pytestmark = pytest.mark.usefixtures("eager")

RESULTS = ("step1.keras", "unshared.keras", "step3.keras", "last.keras")
STEPS = (3, 2, 2, 3)


@pytest.fixture(scope="module")
def whole(alternating, train, tmp_path_factory):
    """A run in one go: its folder, what it printed, and the weights that each step began with."""
    begun, train_phase = [], trainer._train_phase

    def note(model, phase, *args):
        begun.append({name: weights_of(model, name) for name in MODEL_PARTS})
        train_phase(model, phase, *args)

    with pytest.MonkeyPatch.context() as patch, fakes.small_backbone():
        fakes.run_eagerly(patch)
        patch.setattr(trainer, "_train_phase", note)
        folder = tmp_path_factory.mktemp("alternating")
        output = train(alternating.replace(output_dir=str(folder), num_images=1))
        ended = [checkpoint.load(folder / name) for name in RESULTS]
    return SimpleNamespace(folder=folder, output=output, begun=begun, ended=ended)


@pytest.fixture(scope="module")
def unshared(alternating, train, tmp_path_factory):
    """A run that begins in a folder with proposals of an earlier run, is stopped while it collects
    its own, and is resumed.
    """
    folder = tmp_path_factory.mktemp("unshared")
    stale_proposals = tmp_path_factory.mktemp("earlier") / "step1_proposals.npz"
    records = data.load(alternating, ("train",)).records
    proposals_file.write(stale_proposals, [(r.image_id, [[0, 0, 9, 9]], [1]) for r in records])
    shutil.copy(stale_proposals, folder)
    settings = alternating.replace(scheme="unshared", output_dir=str(folder))

    def propose_until_stopped(*args, **kwargs):
        for row, found in enumerate(propose_dataset(*args, **kwargs)):
            if row == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            yield found

    with pytest.MonkeyPatch.context() as patch, fakes.small_backbone():
        fakes.run_eagerly(patch)
        with patch.context() as stopping:
            stopping.setattr(trainer, "propose_dataset", propose_until_stopped)
            with pytest.raises(SystemExit):
                train(settings)
        files_when_stopped = {path.name for path in folder.iterdir()}
        train(settings)
    return SimpleNamespace(
        folder=folder, files_when_stopped=files_when_stopped, stale_proposals=stale_proposals
    )


# --- phases -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["joint", "non_approximate"])
def test_joint_training_is_one_phase_of_everything(config, scheme):
    settings = config.replace(scheme=scheme, roi_pooling="align")
    (phase,) = schemes.phases(settings)
    assert phase.config == phase.model_config == settings
    assert (phase.first_step, phase.last_step, phase.is_final) == (0, 6, True)
    assert phase.proposals_file is None and not phase.source
    model = fakes.detector()
    prepare(model, phase)
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
    assert [phase.proposals_file and str(phase.proposals_file) for phase in phases] == [
        None if file == "rpn" else file for file in files
    ]
    assert tuple(phase.result for phase in phases) == RESULTS
    first_two = schemes.phases(settings.replace(scheme="unshared"))
    assert [phase.result for phase in first_two] == ["step1.keras", "last.keras"]
    assert [phase.trained for phase in first_two] == [phase.trained for phase in phases[:2]]


# --- what each step learns ----------------------------------------------------------------------


def test_what_a_run_leaves_in_its_folder(whole):
    assert sorted(path.name for path in whole.folder.iterdir()) == sorted(
        [*RESULTS, "best.keras", "evaluations.jsonl", "eval", "train", "earlier", "metrics.jsonl"]
        + ["step1_proposals.npz", "step3_proposals.npz"]
    )
    assert [int(model.step) for model in whole.ended] == [3, 5, 7, 10]
    assert [model.config.scheme for model in whole.ended] == ["unshared"] * 2 + ["alternating"] * 2
    assert [model.rpn_backbone is None for model in whole.ended] == [False, False, True, True]
    assert f"step 1 of 4: trains {RPN_BACKBONE}, {RPN} for 3 steps\n" in whole.output
    assert f"{BACKBONE}, {ROI_HEAD} from unshared.keras" in whole.output.replace("\n", " ")


def test_each_step_changes_what_it_trains_and_no_other_weight_by_one_bit(whole):
    for begun, ended, trained in zip(
        whole.begun,
        whole.ended,
        ((RPN_BACKBONE, RPN), (BACKBONE, ROI_HEAD), (RPN,), (ROI_HEAD,)),
        strict=True,
    ):
        for name in MODEL_PARTS:
            after = weights_of(ended, name)
            if after is not None:
                assert same(begun[name], after) is (name not in trained), name


def test_each_step_begins_with_what_the_paper_says(whole):
    first, second, third, fourth = whole.begun
    after_first, after_second, after_third = whole.ended[:3]
    assert same(first[RPN_BACKBONE], first[BACKBONE])
    # 2: the start weights again, and beside them the RPN of step 1.
    assert same(second[BACKBONE], first[BACKBONE])
    assert same(second[ROI_HEAD], first[ROI_HEAD])
    for name in (RPN_BACKBONE, RPN):
        assert same(second[name], weights_of(after_first, name))
    # 3: step 2's convolutions, under RPN layers as new as in step 1.
    assert third[RPN_BACKBONE] is None
    assert same(third[BACKBONE], weights_of(after_second, BACKBONE))
    assert same(third[ROI_HEAD], weights_of(after_second, ROI_HEAD))
    assert same(third[RPN], first[RPN])
    # 4: all of step 3, and with it the head of step 2.
    for name in (BACKBONE, RPN, ROI_HEAD):
        assert same(fourth[name], weights_of(after_third, name))


def test_the_optimizer_of_each_step_begins_anew(whole):
    for name, steps in zip(RESULTS, STEPS, strict=True):
        state = state_of(whole.folder / name)
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
        expected = list(propose_dataset(whole.ended[number - 1], few, alternating, training=True))
        assert found.image_ids == [image_id for image_id, _, _ in expected]
        boxes = np.concatenate([boxes for _, boxes, _ in expected])
        np.testing.assert_allclose(found.boxes, boxes, atol=1e-3)
        assert rows == drawn
        assert np.diff(found.splits).max() > alternating.test_post_nms_top_k  # training's number


def test_each_step_is_measured_by_what_it_trains(whole):
    lines = run_folder.read_evaluations(whole.folder)
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
    assert ["roi_cls_loss" in line for line in lines] == [False, False, True, False, True, True]
    assert ["rpn_cls_loss" in line for line in lines] == [True, True, False, True, False, False]
    assert all(line["loss"] > 0 for line in lines)
    best = max(lines[-2:], key=lambda line: (line["mAP_area"], line["step"]))
    assert int(checkpoint.load(whole.folder / "best.keras").step) == best["step"]


def test_each_step_logs_the_losses_that_it_has(whole):
    train_events = read_events(whole.folder / "train")
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
        assert sorted(scalars(train_events, tag)) == steps, tag


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


def test_an_unshared_run_is_the_first_half_of_an_alternating_one(whole, unshared):
    """Although it was stopped and resumed."""
    folder = unshared.folder
    assert_same_state(whole.folder / "unshared.keras", folder / "last.keras")
    assert_same_state(whole.folder / "step1.keras", folder / "step1.keras")
    assert int(checkpoint.load(folder / "last.keras").step) == 5
    names = {path.name for path in folder.iterdir()}
    assert {"best.keras", "step1_proposals.npz"} < names
    assert not {"unshared.keras", "step3.keras"} & names


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
    (line,) = run_folder.read_evaluations(tmp_path / "run")
    assert line["file_recall/300_proposals"] == 1  # the proposals are the objects
    assert not any(name.startswith("RPN") for name in line)
    assert "step 2/2  epoch 0.80  loss" in output
    with pytest.raises(ValueError, match=r"objects\.npz has no proposals of 1 of 5 images"):
        proposals_file.write(
            file, [(r.image_id, r.boxes, np.ones(len(r.boxes))) for r in records[1:]]
        )
        both = {"train_proposals": str(file), "test_proposals": str(file)}
        train(config.replace(output_dir=str(tmp_path / "other"), **both))


# --- resuming -----------------------------------------------------------------------------------


def assert_same_run(whole, folder):
    for name in RESULTS:
        assert_same_state(whole.folder / name, folder / name)
    assert run_folder.read_evaluations(folder) == run_folder.read_evaluations(whole.folder)
    names = [sorted(path.name for path in run.iterdir()) for run in (whole.folder, folder)]
    assert names[0] == names[1]


def test_a_run_stopped_again_and_again_equals_one_in_one_go(
    whole, alternating, train, tmp_path, monkeypatch
):
    settings, run = alternating.replace(output_dir=str(tmp_path / "run")), tmp_path / "run"
    original, stops = FasterRCNN.apply_gradients, [1, 3, 4, 5, 7, 8]  # 3, 5 and 7 end a step

    def apply_gradients(self, *args, **options):
        result = original(self, *args, **options)
        if int(self.step) in stops:
            os.kill(os.getpid(), signal.SIGTERM)
        return result

    monkeypatch.setattr(FasterRCNN, "apply_gradients", apply_gradients)
    for step in list(stops):
        with pytest.raises(SystemExit) as caught:
            train(settings)
        assert caught.value.code == 128 + signal.SIGTERM
        assert int(checkpoint.load(run / "last.keras").step) == step
        stops.remove(step)
    assert "Resuming from step 8 of" in train(settings)
    assert_same_run(whole, run)


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

    mortal(trainer, "build_phase_model", lambda phase, *_: f"build {phase.name}")
    mortal(trainer, "write_proposals", lambda model, phase, *_: f"proposals {phase.name}")
    mortal(proposals_file, "write", lambda path, rows: f"write {path.name}")
    mortal(evaluation, "propose_dataset", lambda model, *_: f"measure {int(model.step)}")
    mortal(evaluation, "detect_dataset", lambda model, *_, **__: f"measure {int(model.step)}")
    kills = 0
    while True:
        try:
            train(settings)
            break
        except Killed:
            kills += 1
    assert kills == len(dead) == 4 + 2 + 2 + 6
    assert_same_run(whole, tmp_path / "run")


def test_a_run_stopped_while_it_collects_proposals_has_none_yet(unshared):
    assert unshared.files_when_stopped >= {"step1.keras"}
    assert "last.keras" not in unshared.files_when_stopped
    assert not any(name.endswith(".npz") for name in unshared.files_when_stopped)


def test_proposals_of_a_run_that_was_cleared_away_are_not_used(unshared):
    """Otherwise the run would not have collected any."""
    stale = proposals_file.read(unshared.stale_proposals)
    written = proposals_file.read(unshared.folder / "step1_proposals.npz")
    assert len(stale.boxes) == 5 < len(written.boxes)


def test_a_finished_run_has_nothing_to_do(whole, alternating, train):
    before = {path.name: path.stat().st_mtime_ns for path in whole.folder.glob("*.keras")}
    output = train(alternating.replace(output_dir=str(whole.folder)))
    assert "has finished all 10 steps" in output.replace("\n", " ")
    assert before == {path.name: path.stat().st_mtime_ns for path in whole.folder.glob("*.keras")}


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (("unshared.keras", "last.keras"), "lacks step1.keras, although it has unshared.keras"),
        (("step1.keras", "step3.keras"), "lacks unshared.keras, although it has step3.keras"),
        (("last.keras",), "last.keras do not fit the model"),
        (("step1.keras", "last.keras"), "last.keras do not fit the model"),
    ],
)
def test_a_result_that_is_missing_ends_the_run(kept, message, whole, alternating, train, tmp_path):
    for name in kept:
        (tmp_path / name).symlink_to(whole.folder / name)
    with pytest.raises(ValueError, match=message):
        train(alternating.replace(output_dir=str(tmp_path)))
