"""Finds out what is not finite in a step or a model, and says how a run can go on.

Weights that are not finite are never saved, so a run can go on from its last checkpoint, with other
``run_folder.CHANGEABLE`` settings.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_frcnn.data.dataset import Record
from keras_frcnn.models.faster_rcnn import LOSSES, FasterRCNN
from keras_frcnn.ops.finite import first_not_finite
from keras_frcnn.training import schemes
from keras_frcnn.training.fused_optimizers import global_norm
from keras_frcnn.training.steps.step import NotFinite

_ADVICE = (
    "Try a lower --learning_rate, more --warmup_steps or a lower --gradient_clip_norm above 0: the "
    "same command with another value"
)


def check_weights(model: keras.Model, folder: str | os.PathLike) -> None:
    """Checks the weights of a model and the state of its optimizer.

    Raises:
        ValueError: if a number is not finite. It names the first variable, and gives advice.
    """
    name = first_not_finite([*model.weights, *model.optimizer.variables])
    if name:
        raise ValueError(
            "Training stopped: the weights are not finite after step "
            f"{int(model.step.numpy())}, so they are not saved. The first one is {name}. "
            f"{advice(folder)}"
        )


def advice(folder: str | os.PathLike) -> str:
    """Returns a sentence about what may help, and where the run would go on."""
    results = [Path(folder) / name for name in reversed(schemes.RESULTS)]
    latest = next((path for path in results if path.exists()), None)
    if latest is None:
        return f"{_ADVICE} starts again"
    return f"{_ADVICE}, and --continue_with= its name, continues from {latest}"


def report(model: FasterRCNN, error: NotFinite, records: Sequence[Record]) -> dict[str, Any]:
    """Examines a step that was not finite, and changes nothing.

    Args:
        model: the model, as it was before the step.
        error: the error that the step raised.
        records: the training images, to which the batch's ``index`` refers.

    Returns:
        Plain values for JSON: the ``step``; the names that are ``not_finite`` among its losses;
        all ``losses``; ``first``, a description of the first tensor that is not finite, "" if all
        are finite; and for each of the ``images`` its ``file``, its ``size`` (height, width) as the
        model sees it, and the ``boxes`` and ``labels`` of its objects, yxyx in pixels of that size.
    """
    inputs, targets = error.data
    losses = {name: float(error.losses[name]) for name in LOSSES if name in error.losses}
    images = []
    for row, index in enumerate(inputs["index"].numpy()):
        labels = targets["labels"][row].numpy()
        images.append(
            {
                "file": records[index].name,
                "size": inputs["image_shape"][row].numpy().tolist(),
                "boxes": targets["boxes"][row].numpy()[labels >= 0].tolist(),
                "labels": [model.class_names[label] for label in labels if label >= 0],
            }
        )
    return {
        "step": int(model.step.numpy()) + 1,
        "not_finite": [name for name, value in losses.items() if not np.isfinite(value)],
        "losses": losses,
        "first": _first(model, error, [image["file"] for image in images]),
        "images": images,
    }


def text_of(found: dict[str, Any]) -> str:
    """Returns a report as a sentence about the step and a line for each of its images."""
    names = ", ".join(found["not_finite"]) or "the gradients"
    verb = "is" if len(found["not_finite"]) == 1 else "are"
    lines = [f"{names} {verb} not finite at step {found['step']}. The first is {found['first']}"]
    if not found["first"]:
        lines = [f"all numbers of step {found['step']} are finite"]
    losses = ", ".join(f"{name} {value:.4g}" for name, value in found["losses"].items())
    lines.append(f"  {losses}")
    for image in found["images"]:
        pairs = zip(image["labels"], image["boxes"], strict=True)
        objects = (f"{label} {', '.join(f'{x:.1f}' for x in box)}" for label, box in pairs)
        height, width = image["size"]
        lines.append(
            f"  {image['file']} ({height} x {width}): {'; '.join(objects) or 'no objects'}"
        )
    return "\n".join(lines)


def _first(model, error, names):
    """Describes the first tensor that is not finite in the order of the computation."""
    with contextlib.suppress(tf.errors.ResourceExhaustedError):  # it keeps every layer's output
        for name, tensor in tensors_of(model, error.data, names):
            if description := _fault(name, tensor):
                return description
    for name in LOSSES:
        if description := name in error.losses and _fault(name, error.losses[name]):
            return description
    pairs = zip(model.trainable_weights, error.gradients, strict=True)
    for weight, gradient in reversed([*pairs]):  # the way that gradients flow
        if description := _fault(f"the gradient of {weight.path}", gradient):
            return description
    if not np.isfinite(global_norm(error.gradients)):
        return "the norm of the gradients, which is too large for float32"
    return ""


def _fault(name, tensor):
    """Describes a tensor that is not finite; "" for any other."""
    is_finite = tf.math.is_finite(tensor).numpy()
    bad, size = np.count_nonzero(~is_finite), is_finite.size
    return f"{name} ({bad} of {size} number{'s' if size > 1 else ''})" if bad else ""


def tensors_of(
    model: FasterRCNN, data, image_names: Sequence[str] | None = None
) -> Iterator[tuple[str, tf.Tensor]]:
    """Yields the floating-point tensors of a step up to its losses, in the order of computation.

    These are the images, the boxes, the weights, and what each layer returns. The layers run
    operation by operation; a compiled graph may round differently in the last bit.

    Args:
        model: the model, as it was before the step.
        data: the batch.
        image_names: names for the images. Default: their numbers in the batch.

    Yields:
        The name of a tensor and its value.
    """
    inputs, targets = data
    names = image_names or range(len(inputs["images"]))
    for row, name in enumerate(names):
        yield f"image {name}", inputs["images"][row]
        yield f"boxes of {name}", targets["boxes"][row][targets["labels"][row] >= 0]
    for weight in model.weights:
        if tf.as_dtype(weight.dtype).is_floating:  # the step is not
            yield f"weight {weight.path}", tf.convert_to_tensor(weight)
    with _noting_outputs() as outputs:
        model.compute_losses(inputs, targets)
    yield from outputs


@contextlib.contextmanager
def _noting_outputs():
    """Collects what each Keras layer returns inside a ``with`` block, by the layer's path."""
    call, outputs = keras.layers.Layer.__call__, []

    def noting_call(layer, *args, **kwargs):
        result = call(layer, *args, **kwargs)
        for tensor in keras.tree.flatten(result):
            if tf.is_tensor(tensor) and tensor.dtype.is_floating:
                outputs.append((f"output of {layer.path or layer.name}", tensor))
        return result

    keras.layers.Layer.__call__ = noting_call
    try:
        yield outputs
    finally:
        keras.layers.Layer.__call__ = call
