"""Images a second from JPEG files to batches, on one core; beside the training step's.

The pipeline runs alone, in a process that may use one core; after it, here, the step on all cores.
How much of the batches is padding is counted on images of the sizes that PASCAL VOC has.
"""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks import child, measure, scene
from benchmarks.cases import Case, Result, Row
from benchmarks.parts import train_step
from keras_frcnn.data import pipeline
from keras_frcnn.data.dataset import Dataset, Record
from keras_frcnn.data.writers import shapes

_NUM_RECORDS, _NUM_FILES = 64, 8
_SIZE = (375, 500)
_JPEG_QUALITY = 96  # files of about 87 kB, as VOC's
_BATCHES_A_CALL = 4
_NUM_WASTE_IMAGES = 1000
# Heights, widths and shares of VOC2007's images. The others are drawn: longer side 500.
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
        "benchmarks.parts.input_pipeline:stream", dataclasses.asdict(case), num_cores=1
    )
    timing = measure.Timing(tuple(stream["milliseconds"]))
    rate = 1000 * case.batch * len(timing.samples) / sum(timing.samples)

    inputs, targets = scene.make_batch(case)
    step = train_step.train_step(scene.make_model(case, inputs), inputs, targets)
    step_timing = measure.interleaved({train_step.STEP: step}, case.calls)[train_step.STEP]
    step_rate = 1000 * case.batch / step_timing.median
    precision = scene.make_config(case).precision
    rows = [
        Row("batch from files, one core", timing, facts={"images_per_s": round(rate, 1)}),
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
        case: fields of the case.

    Returns:
        ``milliseconds`` of each batch after a warm-up, and ``padding``, the share of the batches'
        pixels in a stream of VOC's sizes that belong to no image.
    """
    case = Case(**case)
    # Images of 500 x 375 become 800 x 600; other sizes as in a run, up to 1000.
    config = scene.SETTINGS.replace(batch_size=case.batch)
    with tempfile.TemporaryDirectory(prefix="benchmark_") as folder:
        batches = iter(
            pipeline.train_dataset(_drawn_records(Path(folder)), config, scene.PREPROCESSING)
        )
        calls = _BATCHES_A_CALL * case.calls
        timing = measure.interleaved({"batch": lambda: next(batches)}, calls, warmup=8)["batch"]
        sizes = _draw_sizes(_NUM_WASTE_IMAGES)
        return {
            "milliseconds": timing.samples,
            "padding": padding(_plain_records(Path(folder), sizes), config),
        }


def padding(dataset: Dataset, config) -> float:
    """Returns the share of padding in the batches of about one epoch."""
    true = padded = 0
    num_batches = max(1, len(dataset.records) // config.batch_size)
    for inputs, _ in pipeline.train_dataset(dataset, config, scene.PREPROCESSING).take(num_batches):
        height, width = inputs["images"].shape[1:3]
        padded += len(inputs["images"]) * height * width
        true += int(tf.reduce_sum(tf.reduce_prod(inputs["image_shape"], axis=1)))
    return 1 - true / padded


def _drawn_records(folder):
    """Records of 500 x 375 pixels; some share a file, which the system keeps in memory anyway."""
    names = shapes.CLASS_NAMES
    drawn = []
    for number in range(_NUM_FILES):
        rng = np.random.default_rng(number)
        image, objects = shapes.compose(rng, *_SIZE)
        path = folder / f"{number}.jpg"
        Image.fromarray(image).save(path, quality=_JPEG_QUALITY)
        boxes = np.array([(o.ymin, o.xmin, o.ymax, o.xmax) for o in objects], np.float32)
        labels = np.array([names.index(o.name) for o in objects], np.int32)
        drawn.append((str(path), boxes.reshape(-1, 4), labels))
    return Dataset(
        names,
        [
            Record(str(number), path, *_SIZE, boxes, labels, np.zeros(len(labels), bool))
            for number, (path, boxes, labels) in enumerate(drawn * (_NUM_RECORDS // _NUM_FILES))
        ],
    )


def _plain_records(folder, sizes):
    """Records of grey images of some sizes, without objects."""
    records = []
    for number, (height, width) in enumerate(sizes):
        path = folder / f"{height}x{width}.jpg"
        if not path.exists():
            Image.new("RGB", (width, height), "grey").save(path)
        empty = np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool)
        records.append(Record(str(number), str(path), height, width, *empty))
    return Dataset(shapes.CLASS_NAMES, records)


def _draw_sizes(count):
    rng = np.random.default_rng(0)
    sizes = [size for size, share in _VOC_SIZES.items() for _ in range(round(share * count))]
    while len(sizes) < count:
        height, width = int(rng.integers(*_OTHER_SIDES)), 500
        portrait = rng.random() < _OTHER_PORTRAIT_SHARE
        sizes.append((width, height) if portrait else (height, width))
    return sizes
