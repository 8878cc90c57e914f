"""Checks that an imported detector finds what the original finds, on images of ten sizes.

    python -m benchmarks.parity --torch_python=PATH [--model=NAME,...] [--weights=FILE] [--seed=0]
        [--shorter_side=0] [--images=10]

The original runs in its own Python, which needs torch and torchvision alone. Without --weights it
has random weights, drawn so that every stage has something to decide, with statistics of batch
normalisation. The file is then imported, and the levels of the backbone, the proposals and the
detections of both are compared in float32. --shorter_side makes the images smaller than the models
ask for, which takes less time.

For the levels, the largest difference is given, relative to the largest value. A proposal or a
detection is the same if the other side has one of the same class within 1e-3 pixels and 1e-4 of
score. Nearly equal scores can be ranked differently, so a few in ten thousand may differ.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.arguments import count, list_of, one_of
from benchmarks.peers.__main__ import why_torch_is_missing
from keras_frcnn.data.categories import COCO_CATEGORIES
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.models.preprocessing import make_inputs, to_original
from keras_frcnn.weights.importers import detector as importer

SIZES = (
    *((480, 640), (640, 480), (427, 640), (500, 375), (333, 500), (600, 1000), (612, 612)),
    *((97, 131), (1080, 720), (250, 999)),
)
"""Heights and widths of the images."""

_PIXELS, _SCORE, _LEVELS = 1e-3, 1e-4, 1e-4
_MOST_OTHERS = 1e-3  # the share of boxes that rounding may rank differently
_SIDE = Path(__file__).with_name("torchvision_side.py")


def main(argv: list[str] | None = None) -> int:
    """Runs the checks and prints a line for each image.

    Args:
        argv: the command line; None: that of the process.

    Returns:
        The exit code: 1 if something differs.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = importer.MODELS["torchvision"]
    parser.add_argument("--torch_python", required=True, help="a Python with torch")
    parser.add_argument("--model", type=list_of(one_of(*names)), default=list(names))
    parser.add_argument("--weights", default="", help="a published file; default: random weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shorter_side", type=int, default=0, help="default: the model's own")
    parser.add_argument("--images", type=count, default=len(SIZES))
    options = parser.parse_args(argv)
    missing = why_torch_is_missing(options.torch_python)
    if missing:
        parser.error(missing)
    are_equal = True
    for model in options.model:
        with tempfile.TemporaryDirectory() as folder:
            are_equal &= _check(model, Path(folder), options)
    print("the same" if are_equal else "NOT the same")
    return int(not are_equal)


def _check(name, folder, options):
    random = np.random.default_rng(options.seed)
    images = [_image(random, size) for size in SIZES[: options.images]]
    np.savez(folder / "images.npz", **{str(i): image for i, image in enumerate(images)})
    command = [options.torch_python, str(_SIDE), name, str(folder), str(options.seed)]
    command += [str(options.shorter_side), *([options.weights] if options.weights else [])]
    subprocess.run(command, check=True)
    weights = options.weights or folder / "weights.pkl"
    model = importer.import_detector("torchvision", weights, name)
    sides = model.config.shorter_side, model.config.longer_side
    if options.shorter_side:
        ratio = 2 if "320" in name else 1333 / 800
        sides = options.shorter_side, round(options.shorter_side * ratio)
    are_equal = True
    for number, image in enumerate(images):
        with np.load(folder / f"{number}.npz") as theirs:
            found = compare(run(model, image, sides), theirs)
        text = ", ".join(f"{key} {value:.2g}" for key, value in found.items())
        print(f"{name}, {image.shape[0]} x {image.shape[1]}: {text}", flush=True)
        are_equal &= found["levels"] < _LEVELS
        are_equal &= max(found["other proposals"], found["other detections"]) <= _MOST_OTHERS
    return are_equal


def _image(random, size):
    """Draws an image with large and small structures."""
    coarse = random.integers(0, 256, (size[0] // 32 + 2, size[1] // 32 + 2, 3))
    large = np.kron(coarse, np.ones((32, 32, 1)))[: size[0], : size[1]]
    return np.clip(large + random.normal(0, 20, large.shape), 0, 255).astype(np.uint8)


def run(model: FasterRCNN, image: np.ndarray, sides: tuple[int, int]) -> dict[str, np.ndarray]:
    """Returns what our detector finds, in torchvision's form."""
    rounding = model.config.resize_rounding
    inputs = make_inputs(image[np.newaxis], model.backbone.preprocessing, *sides, rounding)
    levels = model.features(inputs)
    proposals = model.propose(inputs, levels)
    found = model.roi_head(levels=levels, proposals=proposals, image_shape=inputs["image_shape"])
    boxes = to_original(found["boxes"], inputs).numpy()[0]
    count = int(found["num_detections"][0])
    numbers = np.array([*COCO_CATEGORIES])
    return {
        **{f"level{i}": level.features.numpy()[0] for i, level in enumerate(levels)},
        "proposals": proposals.boxes.numpy()[0][proposals.valid.numpy()[0]][:, [1, 0, 3, 2]],
        "boxes": boxes[:count, [1, 0, 3, 2]],
        "scores": found["scores"].numpy()[0, :count],
        "labels": numbers[found["labels"].numpy()[0, :count]],
    }


def compare(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict[str, float]:
    """Returns how far two answers differ.

    Returns:
        "levels", the largest difference relative to the largest value; the numbers of proposals and
        detections, and the shares of them that the other side does not have.
    """
    levels = [name for name in theirs if name.startswith("level")]
    differences = [
        np.abs(ours[name] - theirs[name]).max() / np.abs(theirs[name]).max() for name in levels
    ]
    proposals = [
        np.c_[one["proposals"], np.zeros((len(one["proposals"]), 2))] for one in (ours, theirs)
    ]
    found = [np.c_[one["boxes"], one["labels"], one["scores"]] for one in (ours, theirs)]
    return {
        "levels": max(differences),
        "proposals": len(proposals[1]),
        "other proposals": _others(*proposals),
        "detections": len(found[1]),
        "other detections": _others(*found),
    }


def _others(ours, theirs):
    """Returns the share of rows (box, class, score) that only one side has."""
    if not len(ours) or not len(theirs):
        return float(len(ours) != len(theirs))
    limits = np.array([*[_PIXELS] * 4, 0.5, _SCORE])
    is_same = np.ones((len(ours), len(theirs)), bool)
    for column, limit in enumerate(limits):
        is_same &= np.abs(ours[:, None, column] - theirs[:, column]) <= limit
    return max(1 - is_same.any(axis=1).mean(), 1 - is_same.any(axis=0).mean())


if __name__ == "__main__":
    sys.exit(main())
