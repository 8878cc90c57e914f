"""Checks that an imported detector finds what the original finds, on images of ten sizes.

    python -m benchmarks.parity --torch_python=PATH [--source=torchvision] [--model=NAME,...]
        [--weights=FILE] [--seed=0] [--shorter_side=0] [--images=10] [--detectron2=FOLDER]

The original runs in its own Python, which needs torch and torchvision alone; for detectron2 also
fvcore, iopath, omegaconf, hydra-core, pycocotools, tabulate, termcolor, yacs and cloudpickle, and
in FOLDER detectron2's source, of which nothing has to be built. Without --weights it has random
weights, drawn so that every stage has something to decide, with statistics of batch normalisation.
The file is then imported, and the resized images, the levels of the backbone, the proposals and the
detections of both are compared in float32. --shorter_side makes the images smaller than the models
ask for, which takes less time.

torchvision's bilinear resizing and TensorFlow's round differently, by up to 0.01 of the 256 grey
levels, which deep random networks magnify. So the resized images are compared by themselves, and
the rest is computed from the original's.

For the levels, the largest difference is given, relative to the largest value. A proposal or a
detection is the same if the other side has one of the same class within 1e-3 pixels of the resized
image and 1e-4 of score. Nearly equal scores can be ranked differently, so one in a thousand may
differ. Of those that are the same, the largest differences are given.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.arguments import count, list_of, one_of
from benchmarks.peers.__main__ import why_torch_is_missing
from keras_frcnn.data.categories import COCO_CATEGORIES
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.models.preprocessing import make_inputs, to_original
from keras_frcnn.weights.importers import detector as importer

SIZES = (
    *((480, 640), (640, 480), (427, 640), (500, 375), (333, 500), (600, 1000), (612, 612)),
    *((97, 131), (1440, 1080), (250, 999)),
)
"""Heights and widths of the images."""

_PIXELS, _SCORE, _LEVELS, _GREY = 1e-3, 1e-4, 1e-4, 0.02
_MOST_OTHERS = 1e-3  # the share of boxes that rounding may rank differently
_FOLDER = Path(__file__).parent
_VOC = "PascalVOC-Detection/faster_rcnn_R_50_C4"


def _detectron2_models():
    """Returns the model of each of detectron2's configurations."""
    names = importer.MODELS["detectron2"]
    return {**{f"COCO-Detection/{name}_3x": name for name in names}, _VOC: "faster_rcnn_R_50_C4"}


MODELS = {
    "torchvision": {name: name for name in importer.MODELS["torchvision"]},
    "detectron2": _detectron2_models(),
}
"""What can be compared, by project: the names of the originals, and of the models imported."""


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
    names = [name for models in MODELS.values() for name in models]
    parser.add_argument("--torch_python", required=True, help="a Python with torch")
    parser.add_argument("--source", choices=MODELS, default="torchvision")
    parser.add_argument("--detectron2", default="", help="the folder of detectron2's source")
    parser.add_argument("--model", type=list_of(one_of(*names)), default=[], help="default: all")
    parser.add_argument("--weights", default="", help="a published file; default: random weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shorter_side", type=int, default=0, help="default: the model's own")
    parser.add_argument("--images", type=count, default=len(SIZES))
    options = parser.parse_args(argv)
    missing = why_torch_is_missing(options.torch_python)
    if missing:
        parser.error(missing)
    models = MODELS[options.source]
    others = [name for name in options.model if name not in models]
    if others:
        parser.error(f"--source={options.source} has no model {others[0]}")
    if options.source == "detectron2" and not Path(options.detectron2, "detectron2").is_dir():
        parser.error("--source=detectron2 needs --detectron2, the folder of its source")
    are_equal = True
    for model in options.model or models:
        with tempfile.TemporaryDirectory() as folder:
            are_equal &= _check(model, Path(folder), options)
    print("the same" if are_equal else "NOT the same")
    return int(not are_equal)


def _check(name, folder, options):
    random = np.random.default_rng(options.seed)
    images = [_image(random, size) for size in SIZES[: options.images]]
    np.savez(folder / "images.npz", **{str(i): image for i, image in enumerate(images)})
    side = _FOLDER / f"{options.source}_side.py"
    command = [options.torch_python, str(side), name, str(folder), str(options.seed)]
    command.append(str(options.shorter_side))
    command += [options.detectron2] if options.source == "detectron2" else []
    command += [options.weights] if options.weights else []
    subprocess.run(command, check=True)
    weights = options.weights or folder / "weights.pkl"
    model = importer.import_detector(options.source, weights, MODELS[options.source][name])
    sides = model.config.shorter_side, model.config.longer_side
    if options.shorter_side:
        ratio = 2 if "320" in name else 1333 / 800
        sides = options.shorter_side, round(options.shorter_side * ratio)
    are_equal, worst = True, {}
    for number, image in enumerate(images):
        with np.load(folder / f"{number}.npz") as theirs:
            scale = image.shape[0] / theirs["input"].shape[0]
            found = compare(run(model, image, sides, theirs["input"]), theirs, scale)
        worst = {key: max(value, worst.get(key, 0)) for key, value in found.items()}
        print(f"{name}, {image.shape[0]} x {image.shape[1]}: {_text(found)}", flush=True)
        are_equal &= found["levels"] < _LEVELS and found["grey levels"] < _GREY
        are_equal &= max(found["other proposals"], found["other detections"]) <= _MOST_OTHERS
    print(f"{name}, the largest of each: {_text(worst)}", flush=True)
    return bool(are_equal)


def _text(found):
    return ", ".join(f"{key} {value:.2g}" for key, value in found.items())


def _image(random, size):
    """Draws an image with large and small structures."""
    coarse = random.integers(0, 256, (size[0] // 32 + 2, size[1] // 32 + 2, 3))
    large = np.kron(coarse, np.ones((32, 32, 1)))[: size[0], : size[1]]
    return np.clip(large + random.normal(0, 20, large.shape), 0, 255).astype(np.uint8)


def run(
    model: FasterRCNN, image: np.ndarray, sides: tuple[int, int], pixels: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns what our detector finds, in the originals' form.

    Args:
        model: the detector.
        image: uint8 [H, W, 3].
        sides: the shorter and the longer side of the resized image.
        pixels: the original's input of the network, [h, w, 3], from which all but "input" follows.
    """
    rules = model.resizing[2:]
    inputs = make_inputs(image[np.newaxis], model.backbone.preprocessing, *sides, *rules)
    resized = inputs["images"].numpy()[0]
    if resized.shape == pixels.shape:
        inputs["images"] = tf.constant(pixels[np.newaxis])
    levels = model.features(inputs)
    proposals = model.propose(inputs, levels)
    found = model.roi_head(levels=levels, proposals=proposals, image_shape=inputs["image_shape"])
    boxes = to_original(found["boxes"], inputs).numpy()[0]
    count, labels = int(found["num_detections"][0]), found["labels"].numpy()[0]
    if model.origin["source"] == "torchvision":
        labels = np.array([*COCO_CATEGORIES])[labels]
    return {
        "input": resized,
        "scale": np.array(model.backbone.preprocessing.scale),
        **{f"level{i}": level.features.numpy()[0] for i, level in enumerate(levels)},
        "proposals": proposals.boxes.numpy()[0][proposals.valid.numpy()[0]][:, [1, 0, 3, 2]],
        "boxes": boxes[:count, [1, 0, 3, 2]],
        "scores": found["scores"].numpy()[0, :count],
        "labels": labels[:count],
    }


def compare(
    ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], scale: float
) -> dict[str, float]:
    """Returns how far two answers differ.

    Args:
        ours, theirs: what ``run`` returns.
        scale: the size of the image over that of the resized one, in whose pixels boxes are
            compared.

    Returns:
        "grey levels", the largest difference of the resized images; "levels", that of the feature
        levels relative to the largest value; the numbers of proposals and detections; the shares of
        them that the other side does not have; and of the others the largest differences in pixels
        and score.
    """
    same_size = ours["input"].shape == theirs["input"].shape
    grey = np.abs((ours["input"] - theirs["input"]) * ours["scale"]).max() if same_size else np.inf
    levels = [name for name in theirs if name.startswith("level")]
    differences = [
        np.abs(ours[name] - theirs[name]).max() / np.abs(theirs[name]).max() for name in levels
    ]
    proposals = [
        np.c_[one["proposals"], np.zeros((len(one["proposals"]), 2))] for one in (ours, theirs)
    ]
    found = [np.c_[one["boxes"] / scale, one["labels"], one["scores"]] for one in (ours, theirs)]
    other_proposals, proposal_pixels, _ = _others(*proposals)
    other_detections, pixels, score = _others(*found)
    return {
        "grey levels": grey,
        "levels": max(differences),
        "proposals": len(proposals[1]),
        "other proposals": other_proposals,
        "proposals' pixels": proposal_pixels,
        "detections": len(found[1]),
        "other detections": other_detections,
        "detections' pixels": pixels,
        "score": score,
    }


def _others(ours, theirs):
    """Returns the share of rows (box, class, score) that only one side has, and of the other rows
    the largest differences in pixels and in score from the nearest row.
    """
    if not len(ours) or not len(theirs):
        return float(len(ours) != len(theirs)), 0.0, 0.0
    pixels = np.abs(ours[:, np.newaxis, :4] - theirs[:, :4]).max(axis=2)
    scores = np.abs(ours[:, np.newaxis, 5] - theirs[:, 5])
    is_same = (pixels <= _PIXELS) & (scores <= _SCORE)
    is_same &= ours[:, np.newaxis, 4] == theirs[:, 4]
    others = max(1 - is_same.any(axis=1).mean(), 1 - is_same.any(axis=0).mean())
    nearest = np.where(is_same, pixels, np.inf).argmin(axis=1)
    rows = np.arange(len(ours))[is_same.any(axis=1)], nearest[is_same.any(axis=1)]
    return others, pixels[rows].max(initial=0), scores[rows].max(initial=0)


if __name__ == "__main__":
    sys.exit(main())
