import importlib
import json
import time

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import cases, child, flops, scene, timing
from benchmarks.cases import Case, make_cases
from benchmarks.results import timed_rows
from benchmarks.suites import input_pipeline, startup, train_step
from keras_frcnn.serving import export
from tests import fakes

VALUES = {
    "precision": ["float32", "bfloat16"],
    "size": [(600, 800), (600, 1000)],
    "batch": [1, 2],
    "backbone": ["vgg16"],
}
SMALL = {"precision": "float32", "size": (64, 96), "batch": 2, "calls": 2}
LAYERS = (
    "AnchorGenerator",
    "AnchorTargetAssigner",
    "ProposalGenerator 200 -> 50, random",
    "ProposalGenerator 200 -> 20, random",
    "ProposalGenerator 200 -> 50, clustered",
    "ProposalGenerator 200 -> 20, clustered",
    "ProposalSampler",
    *(
        f"{layer} {count}, {what}"
        for layer in ("RoIPooling", "RoIAlign")
        for count in (16, 20)
        for what in ("forward", "forward + gradient")
    ),
    "RPNHead, forward",
    "BoxHead 20, forward",
    "BoxHead 16, forward + gradient",
    "DetectionDecoder 20, 20 classes",
)


@pytest.fixture
def small(monkeypatch):
    """Small settings, a small backbone, no other processes."""
    settings = fakes.SMALL.replace(frozen_blocks=0, learning_rate=1e-6)
    monkeypatch.setattr(scene, "SETTINGS", settings)
    monkeypatch.setattr(child, "call", call_here)
    with fakes.small_backbone():
        yield


@pytest.fixture
def no_graphs():
    """Saves the seconds that tracing takes; ``timing.blocking``, which traces, has its own test."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def no_step(monkeypatch):
    """A training step that takes no time to trace; one test has the real one."""
    logs = {"loss": 1.5, "rpn_foreground": 1.0, "roi_foreground": 1.0}

    def step():
        time.sleep(0.01)
        return logs

    monkeypatch.setattr(train_step, "train_step", lambda model, inputs, targets: step)
    return logs


def call_here(target, *arguments, num_cores=None):
    assert target in ("benchmarks.suites.input_pipeline:stream", "benchmarks.serving:serve")
    module, _, function = target.partition(":")
    return getattr(importlib.import_module(module), function)(*arguments)


def save_mean(model, folder):
    """A SavedModel that is made at once, in the place of a detector's."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, "input_tensor")])
    def serve(images):
        return {"mean": tf.reduce_mean(tf.cast(images, tf.float32), axis=[1, 2, 3])}

    tf.saved_model.save(tf.Module(), folder, signatures={"serving_default": serve})


def run(suite, **changes):
    """Runs a small case; gives its rows by name, and the whole."""
    case = Case(suite, **{**SMALL, **changes})
    outcome = json.loads(json.dumps(cases.run(json.loads(json.dumps(vars(case))))))
    assert outcome["peak_rss_mib"] > 50
    assert outcome["device"]["gpu"] is None
    assert outcome["device"]["intra_op_threads"] >= 1
    return {row["what"]: row for row in outcome["rows"]}, outcome


def test_cases_are_the_combinations_of_the_axes_of_a_suite():
    made = make_cases(["inference", "optimizer"], 7, **VALUES)
    assert len(made) == 2 * 2 * 2 + 1
    assert made[0] == Case("inference", "float32", (600, 800), 1, "vgg16", 7)
    assert made[1] == Case("inference", "float32", (600, 800), 2, "vgg16", 7)
    assert made[0].label == "float32, 600x800, batch 1, vgg16"
    assert (made[-1].suite, made[-1].label) == ("optimizer", "float32")
    assert [case.label for case in make_cases(["startup"], 1, **VALUES)] == [""]


def test_what_trains_does_without_bfloat16_weights():
    assert {case.precision for case in make_cases(["train_step"], 1, **VALUES)} == {"float32"}
    with pytest.raises(ValueError, match="train_step trains, which bfloat16 is not for"):
        make_cases(["train_step"], 1, **{**VALUES, "precision": ["bfloat16"]})


def test_the_paper_s_table_has_both_of_its_networks():
    made = make_cases(["paper"], 1, **VALUES)
    assert [case.backbone for case in made[:2]] == ["vgg16", "zf"]
    assert {case.batch for case in made} == {1}


def test_unknown_suites_are_named():
    with pytest.raises(ValueError, match="unknown suite: foo, bar. There are layers, backbone"):
        make_cases(["foo", "layers", "bar"], 1, **VALUES)


def test_a_row_says_what_its_timings_are():
    timings = {"one": timing.Timing((2.0, 4.0)), "two": timing.Timing((3.0, 10.0))}
    rows = timed_rows(timings, {"two": 13.0}, ratio_to="one")
    first, second = (row.to_dict() for row in rows)
    assert first == {
        "what": "one",
        "calls": 2,
        "milliseconds": {
            "median": 3.0,
            "lower_quartile": 2.5,
            "upper_quartile": 3.5,
            "fastest": 2.0,
            "slowest": 4.0,
        },
        "facts": {},
    }
    assert (second["gflop"], second["gflop_per_s"]) == (13.0, 2000.0)
    assert second["ratio"]["to"] == "one"
    assert second["ratio"]["median"] == 2.0


def test_every_suite_has_its_module():
    for name, suite in cases.SUITES.items():
        assert callable(importlib.import_module(f"benchmarks.suites.{name}").run)
        assert set(suite.axes) | set(suite.fixed) <= set(cases.ALL_AXES)


def test_inference(small, no_graphs):
    rows, outcome = run("inference")
    assert list(rows) == ["prediction", "backbone forward"]
    assert rows["prediction"]["ratio"]["to"] == "backbone forward"
    assert rows["prediction"]["calls"] == 2
    case = Case("inference", **SMALL)
    model = scene.make_model(case, scene.make_batch(case)[0])
    count = flops.detector(model, (64, 96), 2, rois_per_image=20)
    assert rows["prediction"]["gflop"] == round(count.forward, 2)
    # Every image gives suppression and decoder their work.
    assert min(outcome["facts"]["proposals"]) > 5
    assert min(outcome["facts"]["detections"]) > 5


def test_train_step_and_backbone(small, no_graphs):
    rows, outcome = run("train_step")
    assert list(rows) == ["train step", "backbone forward + backward"]
    assert np.isfinite(outcome["facts"]["loss"])
    assert outcome["facts"]["rpn_foreground"] > 0
    alone, _ = run("backbone")
    assert list(alone) == ["backbone forward", "backbone forward + backward"]
    same = "backbone forward + backward"
    assert alone[same]["gflop"] == rows[same]["gflop"]


def test_a_step_whose_loss_is_not_finite_is_refused(small, no_step):
    no_step["loss"] = float("nan")
    with pytest.raises(ValueError, match="the loss must be finite. Received: nan"):
        run("train_step", batch=1)


def test_layers(small, no_graphs):
    rows, outcome = run("layers", batch=1)
    assert tuple(rows) == LAYERS
    assert outcome["facts"] == {"features": "1x4x6x512"}
    assert {name for name, row in rows.items() if "gflop" in row} == {
        "RPNHead, forward",
        "BoxHead 20, forward",
        "BoxHead 16, forward + gradient",
    }


def test_optimizer(small, no_graphs):
    rows, outcome = run("optimizer")
    assert list(rows) == ["FusedSGD", "Keras' SGD", "FusedAdam", "Keras' Adam"]
    assert rows["Keras' SGD"]["ratio"]["to"] == "FusedSGD"
    assert rows["Keras' Adam"]["ratio"]["to"] == "FusedAdam"
    case = Case("optimizer", **SMALL)
    model = scene.make_model(case, scene.make_batch(case)[0])
    assert outcome["facts"]["weights"] == sum(int(tf.size(w)) for w in model.trainable_weights)


def test_paper(small, no_graphs):
    rows, _ = run("paper", batch=1)
    assert [row["facts"]["paper_k40_ms"] for row in rows.values()] == [141, 10, 47, 198]
    assert list(rows) == ["convolutions", "proposal", "region-wise", "total"]
    assert rows["total"]["ratio"]["to"] == "convolutions"


def test_fast_rcnn(small, no_graphs):
    pytest.importorskip("cv2", reason="pip install 'keras-frcnn[proposals]'")
    rows, outcome = run("fast_rcnn", batch=1)
    assert [row["facts"]["paper_k40_ms"] for row in rows.values()] == [146, 1510, 174, 1830]
    assert list(rows) == ["convolutions", "proposal", "region-wise", "total"]
    assert "gflop" not in rows["proposal"] and rows["total"]["gflop"] > rows["region-wise"]["gflop"]
    assert outcome["facts"]["regions"] == 2000 > outcome["facts"]["proposals"] > 0


def test_export(small, monkeypatch):
    monkeypatch.setattr(export, "save", save_mean)
    fakes.run_eagerly(monkeypatch)
    rows, outcome = run("export", batch=1)
    assert [(name, row["calls"]) for name, row in rows.items()] == [
        ("export", 1),
        ("load", 1),
        ("first request", 1),
        ("request", 2),
        ("request, beside model.predict", 2),
        ("model.predict", 2),
    ]
    assert outcome["facts"]["serving_peak_rss_mib"] > 50
    assert outcome["facts"]["saved_model_mib"] >= 0


def test_startup(small, no_step, monkeypatch):
    monkeypatch.setattr(startup, "COMMANDS", {"nothing": ("-c", "pass")})
    rows, _ = run("startup", batch=1)
    assert list(rows) == [
        "nothing",
        "making the detector",
        "first train step, tracing included",
        "second train step",
    ]


def test_input_pipeline(small, no_step, monkeypatch):
    monkeypatch.setattr(input_pipeline, "NUM_PADDING_IMAGES", 20)
    monkeypatch.setattr(input_pipeline, "RECORD_SIZE", (96, 128))
    monkeypatch.setattr(input_pipeline, "NUM_FILES", 2)
    rows, outcome = run("input_pipeline")
    batch, step = rows.values()
    assert (batch["calls"], step["calls"]) == (8, 2)
    median = step["milliseconds"]["median"]
    assert step["facts"]["images_per_s"] == pytest.approx(2 * 1000 / median, rel=0.01)
    ratio = batch["facts"]["images_per_s"] / step["facts"]["images_per_s"]
    assert outcome["facts"]["pipeline_per_step"] == pytest.approx(ratio, abs=0.1)
    assert 0 <= outcome["facts"]["padding_percent"] < 20


def test_padding_is_the_share_of_pixels_of_no_image(tmp_path):
    config = fakes.SMALL.replace(batch_size=2)  # shorter side 64, longer up to 96
    same = input_pipeline.grey_records(tmp_path, [(40, 60)] * 4)
    assert input_pipeline.padding(same, config) == 0
    # 64 x 96 and 64 x 64 pixels: a third of the second is padding.
    both = input_pipeline.grey_records(tmp_path, [(40, 60), (40, 40)])
    assert input_pipeline.padding(both, config) == pytest.approx(1 / 6)


def test_the_sizes_drawn_are_voc_s():
    sizes = input_pipeline.draw_sizes(1000)
    assert len(sizes) == 1000
    assert sizes.count((375, 500)) >= 430
    assert {max(size) for size in sizes} == {500}
    portrait = sum(height > width for height, width in sizes) / 1000
    assert 0.15 < portrait < 0.25
