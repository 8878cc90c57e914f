"""Images per second from JPEG files to batches on one core, beside those of a training step.

The pipeline runs alone, in a process that may use one core; then the step runs in this process, on
all cores. The share of padding in the batches is counted on images of PASCAL VOC's sizes.
"""

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks import child, scene, timing
from benchmarks.cases import Case
from benchmarks.results import Result, Row
from benchmarks.suites import train_step
from keras_frcnn import backbones
from keras_frcnn.data import pipeline
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.data.writers import shapes

NUM_RECORDS, NUM_FILES = 64, 8
RECORD_SIZE = (375, 500)
_JPEG_QUALITY = 96  # files of about 87 kB, as VOC's
_BATCHES_A_CALL = 4
NUM_PADDING_IMAGES = 1000
# Heights, widths and shares of VOC2007's images. The rest have a longer side of 500 and a drawn
# shorter one.
_VOC_SIZES = {
    (375, 500): 0.43,
    (333, 500): 0.15,
    (332, 500): 0.03,
    (334, 500): 0.03,
    (335, 500): 0.02,
    (500, 375): 0.09,
    (500, 333): 0.03,
    (500, 332): 0.02,
}
_OTHER_SIDES, _OTHER_PORTRAIT_SHARE = (280, 480), 0.25


def run(case: Case) -> Result:
    """Times the stream, then the step."""
    stream = child.call(
        "benchmarks.suites.input_pipeline:stream", dataclasses.asdict(case), num_cores=1
    )
    stream_timing = timing.Timing(tuple(stream["milliseconds"]))
    rate = 1000 * case.batch * len(stream_timing.samples) / sum(stream_timing.samples)

    inputs, targets = scene.make_batch(case)
    step = train_step.train_step(scene.make_model(case, inputs), inputs, targets)
    step_timing = timing.interleaved({train_step.STEP: step}, case.calls)[train_step.STEP]
    step_rate = 1000 * case.batch / step_timing.median
    precision = scene.make_config(case).precision
    rows = [
        Row("batch from files, one core", stream_timing, facts={"images_per_s": round(rate, 1)}),
        Row(
            f"{train_step.STEP}, {precision}",
            step_timing,
            facts={"images_per_s": round(step_rate, 2)},
        ),
    ]
    facts = {
        "pipeline_per_step": round(rate / step_rate, 1),
        "padding_percent": round(100 * stream["padding"], 2),
    }
    return Result(rows, facts)


def stream(case: dict) -> dict:
    """Runs the pipeline alone.

    Args:
        case: the fields of the case.

    Returns:
        ``milliseconds`` of each batch after a warm-up, and ``padding``, the share of pixels that
        belong to no image in batches of images of VOC's sizes.
    """
    case = Case(**case)
    # Images of 500 x 375 become 800 x 600, others up to 1000 pixels long, as in a run.
    config = scene.SETTINGS.replace(batch_size=case.batch)
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        batches = iter(_batches(_drawn_records(Path(folder)), config))
        calls = _BATCHES_A_CALL * case.calls
        timings = timing.interleaved({"batch": lambda: next(batches)}, calls, warmup=8)
        sizes = draw_sizes(NUM_PADDING_IMAGES)
        return {
            "milliseconds": timings["batch"].samples,
            "padding": padding(grey_records(Path(folder), sizes), config),
        }


def padding(dataset: Dataset, config) -> float:
    """Returns the share of padding in the batches of about one epoch."""
    true = padded = 0
    num_batches = max(1, len(dataset.records) // config.batch_size)
    for inputs, _ in _batches(dataset, config).take(num_batches):
        height, width = inputs["images"].shape[1:3]
        padded += len(inputs["images"]) * height * width
        true += int(tf.reduce_sum(tf.reduce_prod(inputs["image_shape"], axis=1)))
    return 1 - true / padded


def _batches(dataset, config):
    preprocessing = backbones.preprocessing_of(config.backbone, config.pixel_std)
    return pipeline.train_dataset(dataset, config, preprocessing)


def _drawn_records(folder):
    """Makes records of 500 x 375 pixels. Some share a file, since the system keeps files in memory
    anyway.
    """
    names = shapes.CLASS_NAMES
    drawn = []
    for number in range(NUM_FILES):
        rng = np.random.default_rng(number)
        image, objects = shapes.compose(rng, *RECORD_SIZE)
        path = folder / f"{number}.jpg"
        Image.fromarray(image).save(path, quality=_JPEG_QUALITY)
        boxes = np.array([(o.ymin, o.xmin, o.ymax, o.xmax) for o in objects], np.float32)
        labels = np.array([names.index(o.name) for o in objects], np.int32)
        drawn.append((str(path), boxes.reshape(-1, 4), labels))
    return Dataset(
        names,
        [
            Record(str(number), path, *RECORD_SIZE, boxes, labels, np.zeros(len(labels), bool))
            for number, (path, boxes, labels) in enumerate(drawn * (NUM_RECORDS // NUM_FILES))
        ],
    )


def grey_records(folder: Path, sizes: Sequence[tuple[int, int]]) -> Dataset:
    """Makes records of grey images of some sizes, without objects."""
    records = []
    for number, (height, width) in enumerate(sizes):
        path = folder / f"{height}x{width}.jpg"
        if not path.exists():
            Image.new("RGB", (width, height), "grey").save(path)
        empty = np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool)
        records.append(Record(str(number), str(path), height, width, *empty))
    return Dataset(shapes.CLASS_NAMES, records)


def draw_sizes(count: int) -> list[tuple[int, int]]:
    """Draws heights and widths that are distributed as VOC2007's."""
    rng = np.random.default_rng(0)
    sizes = [size for size, share in _VOC_SIZES.items() for _ in range(round(share * count))]
    while len(sizes) < count:
        height, width = int(rng.integers(*_OTHER_SIDES)), 500
        portrait = rng.random() < _OTHER_PORTRAIT_SHARE
        sizes.append((width, height) if portrait else (height, width))
    return sizes
