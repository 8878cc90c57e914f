"""A plan on 20 evaluation images with one cat each, and rows that have found some of the cats."""

import dataclasses

import pytest

from keras_frcnn.config import Config
from keras_frcnn.evaluation.analysis.summary import summarize
from keras_frcnn.evaluation.metrics import ground_truth
from keras_frcnn.evaluation.metrics.detections import to_table
from keras_frcnn.evaluation.report import coco_files, result_files
from keras_frcnn.learning_curve.plan import Plan, Row
from keras_frcnn.learning_curve.results import Results
from tests.evaluation.handmade import dataset, found, record

CAT = [0, 0, 10, 10]
NUM_IMAGES = 20


@pytest.fixture
def plan(tmp_path):
    """Two starts, three sizes, two seeds."""
    config = Config(data_dir="mine", eval_split="val", backbone_weights="none", steps=100)
    return Plan(
        output_dir=tmp_path / "curve",
        settings={"random": config, "cats": config.replace(start_checkpoint="cats.keras")},
        flags={
            "random": ("--data_dir=mine", "--backbone_weights=none"),
            "cats": ("--data_dir=mine", "--start_checkpoint=cats.keras"),
        },
        sizes=(25, 50, 100),
        seeds=(0, 1),
        num_images=120,
        num_evaluated=NUM_IMAGES,
    )


@pytest.fixture
def evaluated():
    data = dataset(*(record(number, (CAT, 0)) for number in range(NUM_IMAGES)))
    data.form = "voc"
    return data


@pytest.fixture
def finish(plan, evaluated):
    """Returns a function that finishes a row which finds the cats of the first images.

    Each cat that is found adds 1 / 20 to the mean AP, because nothing wrong is found.
    """

    def finish(start, size, seed, num_found, data=evaluated):
        row = Row(start, size, seed)
        truth = ground_truth.of_dataset(data, "voc")
        table = to_table({number: found((CAT, 0.9)) for number in range(num_found)}, truth)
        settings = plan.config(row).replace(eval_split=("val",)).to_dict()
        summary = summarize(truth, table, "voc", num_resamples=0, settings=settings)
        task = plan.evaluation(row)
        result_files.write_evaluation(summary, task.result.parent)
        coco_files.write(task.result.with_name("detections.json"), table, truth)
        task.result.write_text("{}")

    return finish


@pytest.fixture
def curves_of(plan, evaluated):
    """Returns a function that gathers the curves. Its arguments change the plan."""

    def curves(obstacle=lambda task: "", **changes):
        results = Results(dataclasses.replace(plan, **changes), evaluated, more=100)
        return {curve.start: curve for curve in results.curves(obstacle)}

    return curves
