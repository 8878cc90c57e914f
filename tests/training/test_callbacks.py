"""What a run writes for TensorBoard, and the callbacks' own forms."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_frcnn import data
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.training import callbacks, trainer
from keras_frcnn.training.progress import ProgressBar
from keras_frcnn.training.schedules import make_schedule
from keras_frcnn.training.schemes import phases
from tests import fakes

LOSSES = [
    "rpn_cls_loss",
    "rpn_box_loss",
    "roi_cls_loss",
    "roi_box_loss",
    "weight_decay_loss",
    "loss",
]


def events(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    accumulator.Reload()
    return accumulator


def scalars(accumulator, tag):
    """The values of a tag, by step."""
    return {e.step: float(tf.make_ndarray(e.tensor_proto)) for e in accumulator.Tensors(tag)}


def test_the_tags_of_training(unbroken):
    tags = events(unbroken.folder / "train").Tags()["tensors"]
    expected = [*LOSSES, "rpn_foreground", "roi_foreground", "learning_rate", "images_per_second"]
    assert sorted(tags) == sorted(expected)


def test_losses_are_means_since_the_last_time(unbroken):
    train, losses = events(unbroken.folder / "train"), unbroken.losses
    windows = {2: losses[0:2], 3: losses[2:3], 4: losses[3:4], 6: losses[4:6]}
    for tag in [*LOSSES, "rpn_foreground", "roi_foreground"]:
        expected = {step: np.mean([one[tag] for one in part]) for step, part in windows.items()}
        assert scalars(train, tag) == pytest.approx(expected, rel=1e-5)
    rates = scalars(train, "images_per_second")
    assert sorted(rates) == [2, 3, 4, 6]
    assert all(0.1 < rate < 10_000 for rate in rates.values())


def test_the_learning_rate_is_that_of_the_next_step(unbroken, config):
    schedule = make_schedule(config)
    expected = {step: float(schedule(step)) for step in (2, 3, 4, 6)}
    assert scalars(events(unbroken.folder / "train"), "learning_rate") == pytest.approx(expected)


def test_the_tags_of_evaluation(unbroken, config):
    eval_events = events(unbroken.folder / "eval")
    ids = [record.image_id for record in data.load(config, config.eval_split).records]
    expected = (
        ["mAP_area", "mAP_11point"]
        + [f"AP_area/{name}" for name in fakes.CLASS_NAMES]
        + [f"RPN_recall/{n}_proposals" for n in (50, 100, 200, 300)]
        + [f"images/{image_id}" for image_id in ids]
    )
    assert sorted(eval_events.Tags()["tensors"]) == sorted(expected)
    assert sorted(scalars(eval_events, "mAP_area")) == [3, 6]
    # The same numbers as in the file.
    for line in callbacks.read_evaluations(unbroken.folder):
        for name, value in line.items():
            if name != "step":
                received = scalars(eval_events, name)[line["step"]]
                assert np.isnan(received) if value is None else received == pytest.approx(value)
    recalls = [scalars(eval_events, f"RPN_recall/{n}_proposals")[6] for n in (50, 100, 200, 300)]
    assert recalls == sorted(recalls)


def test_images_are_drawn_as_stages_side_by_side(unbroken):
    eval_events = events(unbroken.folder / "eval")
    tag = next(t for t in eval_events.Tags()["tensors"] if t.startswith("images/"))
    assert [event.step for event in eval_events.Tensors(tag)] == [3, 6]
    for event in eval_events.Tensors(tag):
        width, height, png = tf.make_ndarray(event.tensor_proto)
        image = tf.io.decode_png(png)
        assert image.shape == (int(height), int(width), 3)
        assert int(width) > 2 * int(height)  # truth, proposals, detections


def test_the_line_of_a_log(unbroken):
    lines = [line for line in unbroken.output.splitlines() if line.startswith("step ")]
    assert [line.split()[1] for line in lines] == ["2/6", "3/6", "4/6", "6/6"]
    assert f"loss {unbroken.losses[2]['loss']:.3f} " in lines[1]
    assert lines[-1].endswith(" 0 min left")


def test_the_graph_of_a_step_is_written_once_a_run(config, tmp_path):
    settings = config.replace(output_dir=str(tmp_path))
    model = trainer.build(settings, fakes.CLASS_NAMES, Console(file=io.StringIO()))
    inputs = fakes.inputs_of([fakes.image(64, 96)])
    targets = fakes.targets_of([[([5, 5, 30, 40], 0)]])
    spec = tf.nest.map_structure(tf.TensorSpec.from_tensor, (inputs, targets))
    before = [w.numpy() for w in model.weights + model.optimizer.variables]
    callback = callbacks.Graph(settings, spec)
    callback.set_model(model)
    callback.on_train_begin()
    for weight, value in zip(model.weights + model.optimizer.variables, before, strict=True):
        np.testing.assert_array_equal(weight, value)  # the step was not taken
    written = events(tmp_path / "train")
    assert written.Tags()["graph"]
    graph = written.Graph()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    operations = {node.op for node in nodes}
    assert {"Conv2DBackpropFilter", "UnsortedSegmentSum"} <= operations
    files = len(list((tmp_path / "train").iterdir()))
    model.step.assign(1)
    callback.on_train_begin()
    assert len(list((tmp_path / "train").iterdir())) == files


def test_profiling_covers_the_steps_asked_for(config, train, tmp_path, monkeypatch, eager):
    calls = []
    profiler = tf.profiler.experimental
    settings = config.replace(
        output_dir=str(tmp_path), profile_steps=(1, 3), num_images=0, eval_every=0
    )
    monkeypatch.setattr(profiler, "start", lambda folder: calls.append(("start", folder)))
    monkeypatch.setattr(profiler, "stop", lambda: calls.append(("stop",)))
    train(settings.replace(steps=2))  # ends before the last of them
    assert calls == [("start", str(tmp_path / "train")), ("stop",)]
    calls.clear()
    train(settings.replace(steps=4))  # begins after the first of them
    assert calls == []
    train(settings.replace(output_dir=str(tmp_path / "other"), steps=4))
    assert calls == [("start", str(tmp_path / "other" / "train")), ("stop",)]


@pytest.mark.parametrize(("given", "source"), [("rpn", "RPN"), ("dense", "dense")])
def test_what_is_measured_of_an_evaluation(config, tmp_path, monkeypatch, given, source):
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
    proposals = {"boxes": record.boxes[2:], "scores": np.array([0.8], np.float32)}
    monkeypatch.setattr(callbacks, "collect", lambda *args, **kwargs: ({"a": found}, [proposals]))
    settings = config.replace(output_dir=str(tmp_path), num_images=0, test_proposals=given)
    (tmp_path / "last.keras").write_text("a checkpoint")
    output = io.StringIO()
    with ProgressBar(settings, Console(file=output), 0) as bar:
        dataset = Dataset(("cat", "dog"), [record])
        evaluator = callbacks.Evaluator(phases(settings)[0], dataset, bar, callbacks.StopOnSignal())
        evaluator.set_model(SimpleNamespace(step=5, learning_stages=("rpn", "roi")))
        evaluator.evaluate()
    (line,) = callbacks.read_evaluations(tmp_path)
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
    assert "50.00" in output.getvalue()
    assert (tmp_path / "best.keras").read_text() == "a checkpoint"


def test_data_of_cocos_form_are_measured_by_cocos_metric(config, tmp_path, monkeypatch):
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
    monkeypatch.setattr(callbacks, "collect", lambda *args, **kwargs: answer)
    (tmp_path / "last.keras").write_text("better by COCO's metric")
    (tmp_path / "best.keras").write_text("the best by VOC's")
    (tmp_path / "evaluations.jsonl").write_text(
        '{"step": 3, "mAP_area": 0.99}\n{"step": 4, "COCO/AP": 0.6, "mAP_area": 0.99}\n'
    )
    settings = config.replace(output_dir=str(tmp_path), num_images=0)
    output = io.StringIO()
    with ProgressBar(settings, Console(file=output), 0) as bar:
        dataset = Dataset(("cat", "dog"), [record])
        evaluator = callbacks.Evaluator(phases(settings)[0], dataset, bar, callbacks.StopOnSignal())
        evaluator.set_model(SimpleNamespace(step=5, learning_stages=("rpn", "roi")))
        evaluator.evaluate()
    line = callbacks.read_evaluations(tmp_path)[-1]
    expected = {"COCO/AP": 0.65, "COCO/AP50": 1, "COCO/AP75": 0.5}
    expected |= {"COCO_AP/cat": 0.3, "COCO_AP/dog": 1, "RPN_recall/300_proposals": 1}
    assert {name: line[name] for name in expected} == pytest.approx(expected)
    assert line["COCO/APl"] is None and not any(name.startswith("mAP") for name in line)
    assert list(events(tmp_path / "eval").Tags()["tensors"]) == list(line)[1:]
    assert "COCO metric" in output.getvalue()
    assert (tmp_path / "best.keras").read_text() == "better by COCO's metric"


def test_an_evaluation_of_proposals_alone_is_left_too(config, tmp_path, monkeypatch):
    stop, asked = callbacks.StopOnSignal(), []

    def propose(*args):
        del args
        for number in range(3):
            asked.append(number)
            stop.received = 15 if number == 1 else None
            yield number, np.zeros((1, 4), np.float32), np.ones(1, np.float32)

    monkeypatch.setattr(callbacks, "propose", propose)
    settings = config.replace(output_dir=str(tmp_path))
    with ProgressBar(settings, Console(file=io.StringIO()), 0) as bar:
        evaluator = callbacks.Evaluator(phases(settings)[0], Dataset((), []), bar, stop)
        model = SimpleNamespace(step=5, learning_stages=("rpn",), stop_training=False)
        evaluator.set_model(model)
        evaluator.evaluate()
    assert asked == [0, 1] and model.stop_training
    assert callbacks.read_evaluations(tmp_path) == []


def test_best_is_a_copy_where_there_are_no_hard_links(config, tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError("Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    (tmp_path / "last.keras").write_text("a checkpoint")
    (tmp_path / "evaluations.jsonl").write_text('{"step": 2, "mAP_area": 0.5}\n')
    settings = config.replace(output_dir=str(tmp_path))
    callbacks.Evaluator(phases(settings)[0], None, None, None)._keep_best("mAP_area")
    assert (tmp_path / "best.keras").read_text() == "a checkpoint"
    assert not (tmp_path / "new.keras").exists()


def test_evaluations_are_read_in_order_and_cut_after_a_step(tmp_path):
    assert callbacks.read_evaluations(tmp_path) == []
    (tmp_path / "evaluations.jsonl").write_text('{"step": 2}\n{"step": 4}\n{"step": 6}\n')
    callbacks.forget_evaluations_after(tmp_path, 4)
    assert callbacks.read_evaluations(tmp_path) == [{"step": 2}, {"step": 4}]
