"""Verifies that a SavedModel gives the same answers as the model it was made from.

A fresh process runs this file to load the SavedModel, so it imports nothing from the package.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

# The SavedModel and the model compute the same operations; only the order of sums may differ.
_PIXEL_TOLERANCE = 1e-3
_TOLERANCE = 1e-5

# Other runtimes, and batches with padding, may order sums differently.
_PIXEL_DIFFERENCE, _SCORE_DIFFERENCE = 0.5, 1e-3

_SHOWN_ERROR_LINES = 20


def verify(
    saved_model_dir: str | Path, model, images: Sequence[np.ndarray], has_batches: bool = False
) -> int:
    """Compares the answers of a SavedModel with those of the model it was made from.

    The SavedModel is loaded in a fresh Python process that can import neither keras_frcnn nor
    Keras. The requests are each image alone, two images of one size in a batch, and all images as
    PNG files and as examples. Both processes use the CPU, even if there is a GPU, because each
    process chooses its own GPU kernels, whose results may differ.

    Args:
        saved_model_dir: the SavedModel's folder.
        model: the ``FasterRCNN`` it was made from.
        images: at least one image, uint8 [H, W, 3].
        has_batches: whether the SavedModel detects on files in padded batches. Their answers may
            then differ as much as ``check_found`` allows.

    Returns:
        The number of detections that were compared.

    Raises:
        ValueError: If an answer differs, or if the SavedModel cannot be loaded or run. The error
            names the difference or the cause.
    """
    compared = [*images, images[0][:, ::-1]]
    answers = _ask_in_fresh_process(saved_model_dir, compared)
    detect = tf.function(
        model.detect_batch, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)]
    )

    def expected_answer(group: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
        batch = np.stack(group)
        with tf.device("CPU:0"):
            detections = {name: value.numpy() for name, value in detect(batch).items()}
        return _as_answer(detections, batch.shape[1:3], model.class_names)

    singles = [expected_answer([image]) for image in compared]
    for (signature, rows), answer in zip(_requests(len(compared)), answers, strict=True):
        if signature == "serving_default" and len(rows) > 1:
            expected = expected_answer([compared[row] for row in rows])
        else:
            expected = {
                name: np.concatenate([singles[row][name] for row in rows]) for name in singles[0]
            }
        what = f"{saved_model_dir}: {signature} on {len(rows)} image(s)"
        if has_batches and signature != "serving_default":
            found = {
                "boxes": expected["detection_boxes_pixels"],
                "scores": expected["detection_scores"],
                "labels": expected["detection_classes"] - 1,
            }
            check_found(what, answer, found, model.roi_head.detection_decoder.score_threshold)
        else:
            _compare(what, answer, expected)
    return int(sum(answer["num_detections"].sum() for answer in singles))


def _requests(num_images: int) -> list[tuple[str, list[int]]]:
    """Returns all requests: a signature, and the indices of the images to send to it.

    The first and the last image must have the same size.
    """
    all_rows = list(range(num_images))
    return [
        *(("serving_default", [row]) for row in all_rows),
        ("serving_default", [0, num_images - 1]),
        ("serve_bytes", all_rows),
        ("serve_examples", all_rows),
    ]


def _as_answer(detections, image_size, class_names) -> dict[str, np.ndarray]:
    """Converts detections on images of one size to the answer expected from the SavedModel."""
    boxes, classes = detections["boxes"], detections["labels"] + 1
    names = np.char.encode(["", *class_names], "utf-8")
    return {
        "detection_boxes": np.clip(boxes / np.tile(np.float32(image_size), 2), 0, 1),
        "detection_boxes_pixels": boxes,
        "detection_scores": detections["scores"],
        "detection_classes": classes.astype(np.float32),
        "detection_class_names": names[classes],
        "num_detections": detections["num_detections"].astype(np.float32),
        "status": np.full(len(boxes), b""),
    }


def _compare(what: str, answer: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Raises a ValueError that begins with ``what`` if an answer differs from the expected one."""
    if answer.keys() != expected.keys():
        raise ValueError(f"{what}: expected {sorted(expected)}. Received: {sorted(answer)}")
    for name, value in expected.items():
        received = answer[name]
        if (received.shape, received.dtype.kind) != (value.shape, value.dtype.kind):
            raise ValueError(
                f"{what}: {name} should be {value.dtype} {list(value.shape)}. "
                f"Received: {received.dtype} {list(received.shape)}"
            )
        if value.dtype.kind == "S":
            if np.any(received != value):
                raise ValueError(f"{what}: {name} differs in {np.sum(received != value)} entries")
            continue
        tolerance = _PIXEL_TOLERANCE if name == "detection_boxes_pixels" else _TOLERANCE
        difference = np.max(np.abs(received - value), initial=0)
        if not difference <= tolerance:
            raise ValueError(f"{what}: {name} differs by {difference:g}, more than {tolerance:g}")


def check_found(
    what: str,
    answer: dict[str, np.ndarray],
    expected: dict[str, np.ndarray],
    score_threshold: float,
) -> int:
    """Compares detections that another runtime has computed, whose sums are rounded differently.

    Each detection must have a partner of the same class, within 0.5 pixels and 0.001 in score.
    Those that the rounding may bring below the threshold, or past the last row, need none.

    Args:
        what: what the error begins with.
        answer: the outputs for a batch, by the names of a served answer.
        expected: the detections of the model on the same batch, by the names of ``detect_batch``.
        score_threshold: that of the model.

    Returns:
        The number of detections that were compared.

    Raises:
        ValueError: If a detection has no partner.
    """
    sides = []
    for found, names in (
        (answer, ("detection_boxes_pixels", "detection_scores", "detection_classes")),
        (expected, ("boxes", "scores", "labels")),
    ):
        boxes, scores, labels = (np.asarray(found[name]) for name in names)
        sides.append((boxes, scores, labels.astype(int) - (found is answer)))
    compared = 0
    for ours, theirs in (sides, sides[::-1]):
        for row in range(len(ours[1])):
            boxes, scores, labels = (column[row] for column in ours)
            others, their_scores, their_labels = (column[row] for column in theirs)
            is_full = labels[-1] >= 0
            least = max(score_threshold, scores[-1] if is_full else 0.0) + _SCORE_DIFFERENCE
            sure = (labels >= 0) & (scores > least)
            agrees = labels[sure, np.newaxis] == their_labels
            agrees &= np.abs(scores[sure, np.newaxis] - their_scores) <= _SCORE_DIFFERENCE
            apart = np.abs(boxes[sure, np.newaxis] - others).max(axis=-1)
            agrees &= apart <= _PIXEL_DIFFERENCE
            lonely = np.flatnonzero(~agrees.any(axis=1))
            if len(lonely):
                raise ValueError(
                    f"{what}: {len(lonely)} of {sure.sum()} detections differ by more than "
                    f"{_PIXEL_DIFFERENCE} pixels or {_SCORE_DIFFERENCE} in score. The first has "
                    f"the score {scores[sure][lonely[0]]:.4f}"
                )
            compared += int(sure.sum())
    return compared // 2


def _ask_in_fresh_process(saved_model_dir, images) -> list[dict[str, np.ndarray]]:
    """Returns the answers to all requests, with strings encoded as UTF-8."""
    with tempfile.TemporaryDirectory() as scratch:
        images_file, answers_file = (
            str(Path(scratch) / name) for name in ("images.npz", "answers.npz")
        )
        np.savez(images_file, *images)
        process = subprocess.run(
            [sys.executable, "-P", __file__, str(saved_model_dir), images_file, answers_file],
            capture_output=True,
            text=True,
        )
        if process.returncode:
            reason = "\n".join(process.stderr.splitlines()[-_SHOWN_ERROR_LINES:])
            raise ValueError(f"{saved_model_dir} cannot be served:\n{reason}")
        with np.load(answers_file) as file:
            values = dict(file)
    answers = [{} for _ in _requests(len(images))]
    for key, value in values.items():
        request, _, name = key.partition("/")
        answers[int(request)][name] = value
    return answers


def _answer_requests(saved_model_dir: str, images_file: str, answers_file: str) -> None:
    """Loads the SavedModel and writes its answers to all requests, in the fresh process."""
    for name in ("keras", "keras_frcnn"):
        sys.modules[name] = None  # makes every import of it fail
    tf.config.set_visible_devices([], "GPU")
    signatures = tf.saved_model.load(saved_model_dir).signatures
    with np.load(images_file) as file:
        images = [file[f"arr_{row}"] for row in range(len(file.files))]
    values = {}
    for request, (signature, rows) in enumerate(_requests(len(images))):
        asked = inputs(signature, [images[row] for row in rows])
        for name, tensor in signatures[signature](**asked).items():
            array = tensor.numpy()
            values[f"{request}/{name}"] = array.astype("S") if array.dtype == object else array
    np.savez(answers_file, **values)


def inputs(signature: str, images: Sequence[np.ndarray]) -> dict[str, tf.Tensor]:
    """Returns the inputs of a request that sends images to a signature, files as PNG.

    Args:
        signature: one of the signatures that answer images.
        images: uint8 [H, W, 3]; of one size for ``serving_default``.
    """
    if signature == "serving_default":
        return {"input_tensor": tf.constant(np.stack(images))}
    files = [tf.io.encode_png(image).numpy() for image in images]
    if signature.startswith("serve_bytes"):
        return {"image_bytes": tf.constant(files)}
    return {"examples": tf.constant([_example(file) for file in files])}


def _example(file: bytes) -> bytes:
    feature = {"image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[file]))}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


if __name__ == "__main__":
    _answer_requests(*sys.argv[1:])
