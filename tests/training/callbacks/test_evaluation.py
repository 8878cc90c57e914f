"""What a run measures, draws and keeps at the end of an interval."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from keras_frcnn import data
from keras_frcnn.console import Console
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.models.faster_rcnn import LOSSES
from keras_frcnn.training import run_folder
from keras_frcnn.training.callbacks import evaluation
from keras_frcnn.training.callbacks.evaluation import Evaluator
from keras_frcnn.training.callbacks.stop import Stop
from keras_frcnn.training.progress import ProgressBar
from keras_frcnn.training.schemes import phases
from tests import fakes
from tests.training.events import read_events, scalars


@pytest.fixture(scope="module")
def eval_events(unbroken):
    return read_events(unbroken.folder / "eval")


@pytest.fixture
def evaluate(config, tmp_path):
    """Returns a function that evaluates a model at step 5 of a run and returns what it printed."""
    (tmp_path / "last.keras").write_text("the last checkpoint")

    def evaluate(records=(), stages=("rpn", "roi"), stop=None, **changes):
        changes = {"num_images": 0, "eval_loss_images": 0} | changes
        settings = config.replace(output_dir=str(tmp_path), **changes)
        output = io.StringIO()
        model = SimpleNamespace(step=tf.constant(5), learning_stages=stages, stop_training=False)
        model.optimizer, model.trainable_weights = None, []
        with ProgressBar(settings, Console(file=output), 0) as bar:
            dataset = Dataset(("cat", "dog"), list(records))
            evaluator = Evaluator(phases(settings)[0], dataset, bar, stop or Stop())
            evaluator.set_model(model)
            evaluator.evaluate()
        return SimpleNamespace(output=output.getvalue(), model=model)

    return evaluate


# --- TensorBoard --------------------------------------------------------------------------------


def test_the_tags_of_evaluation(unbroken, eval_events, config):
    ids = [record.image_id for record in data.load(config, config.eval_split).records]
    expected = (
        ["1_overview/mAP", "1_overview/loss", "mAP_area", "mAP_11point", *LOSSES]
        + [f"AP_area/{name}" for name in fakes.CLASS_NAMES]
        + [f"RPN_recall/{n}_proposals" for n in (50, 100, 200, 300)]
        + [f"images/{image_id}" for image_id in ids]
    )
    assert sorted(eval_events.Tags()["tensors"]) == sorted(expected)
    assert sorted(scalars(eval_events, "mAP_area")) == [3, 6]
    # The same numbers as in the file.
    for line in run_folder.read_evaluations(unbroken.folder):
        for name, value in line.items():
            if name != "step":
                received = scalars(eval_events, name)[line["step"]]
                assert np.isnan(received) if value is None else received == pytest.approx(value)
    recalls = [scalars(eval_events, f"RPN_recall/{n}_proposals")[6] for n in (50, 100, 200, 300)]
    assert recalls == sorted(recalls)


def test_the_losses_of_evaluation_have_the_names_of_training(unbroken, eval_events):
    train_tags = read_events(unbroken.folder / "train").Tags()["tensors"]
    assert {*LOSSES, "1_overview/loss"} <= {*train_tags}
    for step, total in scalars(eval_events, "loss").items():
        parts = [scalars(eval_events, name)[step] for name in LOSSES[:-1]]
        assert total == pytest.approx(sum(parts)) and total > 0
        assert scalars(eval_events, "1_overview/loss")[step] == total
    assert scalars(eval_events, "1_overview/mAP") == scalars(eval_events, "mAP_area")
    shown = scalars(eval_events, "loss")[6]
    assert f"evaluation losses, 2 of 2 images: loss {shown:.3f} rpn cls" in unbroken.output


def test_the_overview_is_the_first_group(unbroken, eval_events):
    """TensorBoard sorts by the part before the first slash, digits before letters."""
    tags = {*eval_events.Tags()["tensors"]}
    tags |= {*read_events(unbroken.folder / "train").Tags()["tensors"]}
    assert sorted(tags)[:2] == ["1_overview/loss", "1_overview/mAP"]


def test_images_are_drawn_as_stages_side_by_side(eval_events):
    tag = next(t for t in eval_events.Tags()["tensors"] if t.startswith("images/"))
    assert [event.step for event in eval_events.Tensors(tag)] == [3, 6]
    for event in eval_events.Tensors(tag):
        width, height, png = tf.make_ndarray(event.tensor_proto)
        image = tf.io.decode_png(png)
        assert image.shape == (int(height), int(width), 3)
        assert int(width) > 2 * int(height)  # ground truth, proposals, detections


# --- what is measured ---------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "source"), [("rpn", "RPN"), ("dense", "dense")])
def test_what_is_measured_of_an_evaluation(evaluate, tmp_path, monkeypatch, given, source):
    record = Record(
        image_id="a",
        path="a.jpg",
        height=60,
        width=80,
        boxes=np.array([[0, 0, 10, 10], [20, 20, 40, 40], [20, 50, 40, 70]], np.float32),
        labels=np.array([0, 1, 0], np.int32),
        difficult=np.array([False, True, False]),
    )
    found = {
        "boxes": record.boxes[:1],
        "scores": np.array([0.9], np.float32),
        "labels": np.array([0], np.int32),
    }
    answer = {"a": found}, [{"boxes": record.boxes[2:], "scores": np.array([0.8], np.float32)}]
    monkeypatch.setattr(evaluation, "detect_dataset", lambda *args, **kwargs: answer)
    output = evaluate([record], test_proposals=given).output
    (line,) = run_folder.read_evaluations(tmp_path)
    assert line == {
        "step": 5,
        "mAP_area": 0.5,
        "mAP_11point": pytest.approx(6 / 11),
        "AP_area/cat": 0.5,
        "AP_area/dog": None,  # its only object is difficult
        f"{source}_recall/50_proposals": 0.5,  # of the two that are not
        f"{source}_recall/100_proposals": 0.5,
        f"{source}_recall/200_proposals": 0.5,
        f"{source}_recall/300_proposals": 0.5,
    }
    assert "50.00" in output
    assert (tmp_path / "best.keras").read_text() == "the last checkpoint"


def test_data_of_cocos_form_are_measured_by_cocos_metric(evaluate, tmp_path, monkeypatch):
    """Two boxes of IoU 0.6 and 1: both count for VOC, at IoU 0.5; for COCO one does at 3 of 10."""
    record = Record(
        image_id=7,
        path="a.jpg",
        height=60,
        width=80,
        boxes=np.array([[0, 0, 10, 10], [20, 20, 40, 40]], np.float32),
        labels=np.array([0, 1], np.int32),
        difficult=np.array([False, False]),
        form="coco",
    )
    found = {
        "boxes": np.array([[0, 0, 10, 6], [20, 20, 40, 40]], np.float32),
        "scores": np.array([0.9, 0.8], np.float32),
        "labels": np.array([0, 1], np.int32),
    }
    answer = {7: found}, [{"boxes": record.boxes, "scores": np.ones(2, np.float32)}]
    monkeypatch.setattr(evaluation, "detect_dataset", lambda *args, **kwargs: answer)
    (tmp_path / "best.keras").write_text("the best by VOC's metric")
    (tmp_path / "evaluations.jsonl").write_text(
        '{"step": 3, "mAP_area": 0.99}\n{"step": 4, "COCO/AP": 0.6, "mAP_area": 0.99}\n'
    )
    output = evaluate([record]).output
    line = run_folder.read_evaluations(tmp_path)[-1]
    expected = {"COCO/AP": 0.65, "COCO/AP50": 1, "COCO/AP75": 0.5}
    expected |= {"COCO_AP/cat": 0.3, "COCO_AP/dog": 1, "RPN_recall/300_proposals": 1}
    assert {name: line[name] for name in expected} == pytest.approx(expected)
    assert line["COCO/APl"] is None and not any(name.startswith("mAP") for name in line)
    tags = list(read_events(tmp_path / "eval").Tags()["tensors"])
    assert tags == ["1_overview/mAP", *list(line)[1:]]
    assert "COCO metric" in output
    assert (tmp_path / "best.keras").read_text() == "the last checkpoint"


def test_an_evaluation_of_proposals_alone_can_be_stopped_too(evaluate, tmp_path, monkeypatch):
    stop, yielded = Stop(), []

    def propose_dataset(*args):
        del args
        for number in range(3):
            yielded.append(number)
            stop.received = 15 if number == 1 else None
            yield number, np.zeros((1, 4), np.float32), np.ones(1, np.float32)

    monkeypatch.setattr(evaluation, "propose_dataset", propose_dataset)
    model = evaluate(stages=("rpn",), stop=stop).model
    assert yielded == [0, 1] and model.stop_training
    assert run_folder.read_evaluations(tmp_path) == []


def test_losses_are_measured_and_can_be_stopped(evaluate, tmp_path, monkeypatch):
    stop = Stop()

    class Losses:
        rows = (0, 1)

        def __init__(self, *args):
            del args

        def of_images(self):
            yield {"loss": 1.0, "roi_cls_loss": 0.25}
            yield {"loss": 2.0, "roi_cls_loss": 0.5}

    monkeypatch.setattr(evaluation, "EvalLosses", Losses)
    answer = {}, [{"boxes": np.zeros((0, 4), np.float32), "scores": np.zeros(0, np.float32)}]
    monkeypatch.setattr(evaluation, "detect_dataset", lambda *args, **kwargs: answer)
    no_boxes, no_labels = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
    record = Record("a", "a.jpg", 60, 80, no_boxes, no_labels, np.zeros(0, bool))
    output = evaluate([record], eval_loss_images=2).output
    (line,) = run_folder.read_evaluations(tmp_path)
    assert list(line)[1] == "mAP_area"  # by which the best checkpoint is chosen
    assert (line["loss"], line["roi_cls_loss"]) == (1.5, 0.375)
    assert "evaluation losses, 2 of 1 images: loss 1.500 roi cls 0.375" in output
    stop.received = 15
    model = evaluate([record], eval_loss_images=2, stop=stop).model
    assert model.stop_training and len(run_folder.read_evaluations(tmp_path)) == 1


# --- best.keras ---------------------------------------------------------------------------------


def test_best_is_a_copy_where_there_are_no_hard_links(evaluate, tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError("Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    monkeypatch.setattr(evaluation, "detect_dataset", lambda *args, **kwargs: ({}, []))
    evaluate()
    assert (tmp_path / "best.keras").read_text() == "the last checkpoint"
    assert not list(tmp_path.glob(".*"))
    assert not (tmp_path / "best.keras").samefile(tmp_path / "last.keras")


def test_an_evaluation_is_kept_if_its_events_cannot_be_written(evaluate, tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("the disk is full")

    none = {"boxes": np.zeros((0, 4), np.float32), "scores": np.zeros(0, np.float32)}
    record = Record(
        image_id="a",
        path="a.jpg",
        height=60,
        width=80,
        boxes=np.array([[0, 0, 10, 10]], np.float32),
        labels=np.array([0], np.int32),
        difficult=np.array([False]),
    )
    answer = {"a": none | {"labels": np.zeros(0, np.int32)}}, [none]
    monkeypatch.setattr(evaluation, "detect_dataset", lambda *args, **kwargs: answer)
    monkeypatch.setattr(Evaluator, "_write_events", fail)
    with pytest.raises(OSError, match="the disk is full"):
        evaluate([record])
    (line,) = run_folder.read_evaluations(tmp_path)
    assert (line["step"], line["mAP_area"]) == (5, 0.0)
    assert (tmp_path / "best.keras").exists()
