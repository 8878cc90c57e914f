"""Exports a detector as a SavedModel, which TensorFlow Serving runs without this package."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_frcnn import files
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.ops.finite import check_finite
from keras_frcnn.serving import model_card, server_files, warmup
from keras_frcnn.serving.folder import publish, version_folder
from keras_frcnn.serving.signatures import make_signatures
from keras_frcnn.serving.verify import verify

LABELS = "labels.txt"

_SYNTHETIC_SIZES = ((120, 160), (160, 120), (97, 131))
_WARMUP_SIZES = ((480, 640), (640, 480))


def export(
    model: FasterRCNN,
    output_dir: str | Path,
    images: Sequence[np.ndarray] | None = None,
    version: int | None = None,
    say: Callable[[str], None] = lambda line: None,
    card: Mapping[str, str] | None = None,
    batch_pixels: int = 0,
) -> Path:
    """Writes a SavedModel to a temporary folder, verifies it, and then moves it to its folder.

    The folder also gets ``labels.txt`` (the class names, one per line), ``model_card.md`` and
    warm-up requests for the server. Beside it are ``models.config`` and ``batching.config`` for
    the server; if they are there already, they are kept.

    Args:
        model: the detector.
        output_dir: the folder that TensorFlow Serving watches (``--model_base_path``).
        images: images on which it is verified, uint8 [H, W, 3]; by default synthetic images.
        version: number of the folder inside ``output_dir``. TensorFlow Serving uses the highest.
            None: the next one after those that are there.
        say: called with a line of text at each stage.
        card: further sections of the model card, by title.
        batch_pixels: as for ``make_signatures``.

    Returns:
        The SavedModel's folder, ``output_dir/version``.

    Raises:
        ValueError: If the folder is there already, if a weight is not finite, or if the
            SavedModel's answers differ from those of the model.
    """
    images = synthetic_images() if images is None else images

    def write(folder):
        say("Writing the SavedModel ...")
        save(model, folder, batch_pixels)
        files.write_text(folder / LABELS, _labels(model))
        text = model_card.text(model, version_folder(output_dir, version), card or {})
        files.write_text(folder / model_card.FILE, text)
        warmup.write(folder, synthetic_images(_WARMUP_SIZES))
        say(f"Comparing it with the model in a fresh Python process, on {len(images)} image(s) ...")
        count = verify(folder, model, images, bool(batch_pixels))
        say(f"Their answers are equal, with {count} detections.")
        if not count:
            say("This proves little: give --images with objects, so that detections are compared.")

    target = publish(write, output_dir, version)
    server_files.write(target.parent)
    return target


def save(model: FasterRCNN, folder: str | Path, batch_pixels: int = 0) -> None:
    """Writes a SavedModel with the signatures of ``make_signatures``.

    The class names are also stored in ``assets/labels.txt``, one per line.

    Args:
        model: the detector.
        folder: the folder to write to; it is created.
        batch_pixels: as for ``make_signatures``.

    Raises:
        ValueError: If a weight is not finite.
    """
    check_finite(model.weights)
    module = tf.Module(name="keras_frcnn")
    # Only the weights are stored: loading the Keras model itself would need Keras and our classes.
    module.weights = [weight.value for weight in model.weights]
    with tempfile.TemporaryDirectory() as scratch:
        labels = Path(scratch) / LABELS
        labels.write_text(_labels(model), encoding="utf-8")
        module.labels = tf.saved_model.Asset(str(labels))
        tf.saved_model.save(module, str(folder), signatures=make_signatures(model, batch_pixels))


def synthetic_images(sizes: Sequence[tuple[int, int]] = _SYNTHETIC_SIZES) -> list[np.ndarray]:
    """Returns images of smooth random blobs, uint8 [H, W, 3], one for each size (H, W)."""
    rng = np.random.default_rng(0)
    blobs = [tf.image.resize(rng.uniform(0, 255, (6, 6, 3)), size) for size in sizes]
    return [blob.numpy().astype(np.uint8) for blob in blobs]


def _labels(model: FasterRCNN) -> str:
    return "".join(f"{name}\n" for name in model.class_names)
