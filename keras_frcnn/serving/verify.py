"""Proof that a SavedModel answers as the model that it was made of.

The SavedModel is loaded by this very file, run on its own in a fresh process; so nothing here
imports the package.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

# Both sides compute the same, so all that may differ is the order of sums.
_PIXEL_TOLERANCE = 1e-3
_TOLERANCE = 1e-5

_PROGRAM_LINES_SHOWN = 20


def verify(saved_model_dir: str | Path, model, images: Sequence[np.ndarray]) -> int:
    """Compares a SavedModel with the model that it was made of.

    The SavedModel is loaded in a fresh Python process that can import neither keras_frcnn nor
    Keras. It is asked for each image alone, for two of one size at once, and for all at once as
    PNG files and as examples. Both sides compute on the processor even where there is a GPU, whose
    kernels each process chooses anew.

    Args:
        saved_model_dir: its folder.
        model: the FasterRCNN.
        images: uint8 [H, W, 3], at least one.

    Returns:
        The number of detections on the images.

    Raises:
        ValueError: naming the answer that differs and by how much, or with the error of loading or
            running it.
    """
    probes = [*images, images[0][:, ::-1]]
    answers = _ask_fresh_process(saved_model_dir, probes)
    detect = tf.function(
        model.detect_batch, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)]
    )

    def expected(group: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
        batch = np.stack(group)
        with tf.device("CPU:0"):
            detections = {name: value.numpy() for name, value in detect(batch).items()}
        return _served_form(detections, batch.shape[1:3], model.class_names)

    alone = [expected([image]) for image in probes]
    for (signature, group), answer in zip(_requests(len(probes)), answers, strict=True):
        if signature == "serving_default" and len(group) > 1:
            reference = expected([probes[i] for i in group])
        else:
            reference = {k: np.concatenate([alone[i][k] for i in group]) for k in alone[0]}
        _compare(f"{saved_model_dir}: {signature} on {len(group)} image(s)", answer, reference)
    return int(sum(reference["num_detections"].sum() for reference in alone))


def _requests(num_images: int) -> list[tuple[str, list[int]]]:
    """Returns signatures and numbers of the images to ask them; first and last have one size."""
    everything = list(range(num_images))
    return [
        *(("serving_default", [number]) for number in everything),
        ("serving_default", [0, num_images - 1]),
        ("serve_bytes", everything),
        ("serve_examples", everything),
    ]


def _served_form(detections, size, class_names) -> dict[str, np.ndarray]:
    """Says detections on images of one ``size`` as the SavedModel should."""
    boxes, classes = detections["boxes"], detections["labels"] + 1
    names = np.char.encode(["", *class_names], "utf-8")
    return {
        "detection_boxes": np.clip(boxes / np.tile(np.float32(size), 2), 0, 1),
        "detection_boxes_pixels": boxes,
        "detection_scores": detections["scores"],
        "detection_classes": classes.astype(np.float32),
        "detection_class_names": names[classes],
        "num_detections": detections["num_detections"].astype(np.float32),
    }


def _compare(what: str, answer: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> None:
    if answer.keys() != reference.keys():
        raise ValueError(f"{what}: expected {sorted(reference)}. Received: {sorted(answer)}")
    for name, expected in reference.items():
        received = answer[name]
        if (received.shape, received.dtype.kind) != (expected.shape, expected.dtype.kind):
            raise ValueError(
                f"{what}: {name} should be {expected.dtype} {list(expected.shape)}. "
                f"Received: {received.dtype} {list(received.shape)}"
            )
        if expected.dtype.kind == "S":
            if np.any(received != expected):
                raise ValueError(f"{what}: {name} differs in {np.sum(received != expected)} places")
            continue
        tolerance = _PIXEL_TOLERANCE if name == "detection_boxes_pixels" else _TOLERANCE
        difference = np.max(np.abs(received - expected), initial=0)
        if not difference <= tolerance:
            raise ValueError(f"{what}: {name} differs by {difference:g}, more than {tolerance:g}")


def _ask_fresh_process(saved_model_dir, images) -> list[dict[str, np.ndarray]]:
    """Returns the answers to all requests, strings as UTF-8."""
    with tempfile.TemporaryDirectory() as scratch:
        asked, answered = (str(Path(scratch) / name) for name in ("asked.npz", "answered.npz"))
        np.savez(asked, *images)
        program = subprocess.run(
            [sys.executable, "-P", __file__, str(saved_model_dir), asked, answered],
            capture_output=True,
            text=True,
        )
        if program.returncode:
            reason = "\n".join(program.stderr.splitlines()[-_PROGRAM_LINES_SHOWN:])
            raise ValueError(f"{saved_model_dir} cannot be served:\n{reason}")
        with np.load(answered) as file:
            flat = dict(file)
    answers = [{} for _ in _requests(len(images))]
    for key, value in flat.items():
        number, _, name = key.partition("/")
        answers[int(number)][name] = value
    return answers


def _answer(saved_model_dir: str, asked: str, answered: str) -> None:
    """The fresh process: loads the SavedModel and asks it."""
    for name in ("keras", "keras_frcnn"):
        sys.modules[name] = None  # makes every import of it fail
    tf.config.set_visible_devices([], "GPU")
    signatures = tf.saved_model.load(saved_model_dir).signatures
    with np.load(asked) as file:
        images = [file[f"arr_{number}"] for number in range(len(file.files))]
    answers = {}
    for number, (signature, group) in enumerate(_requests(len(images))):
        inputs = _inputs(signature, [images[i] for i in group])
        for name, value in signatures[signature](**inputs).items():
            array = value.numpy()
            answers[f"{number}/{name}"] = array.astype("S") if array.dtype == object else array
    np.savez(answered, **answers)


def _inputs(signature: str, images: list[np.ndarray]) -> dict[str, tf.Tensor]:
    if signature == "serving_default":
        return {"input_tensor": tf.constant(np.stack(images))}
    files = [tf.io.encode_png(image).numpy() for image in images]
    if signature == "serve_bytes":
        return {"image_bytes": tf.constant(files)}
    return {"examples": tf.constant([_example(file) for file in files])}


def _example(file: bytes) -> bytes:
    feature = {"image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[file]))}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


if __name__ == "__main__":
    _answer(*sys.argv[1:])
