"""Starting from another detector's checkpoint, which may know other classes."""

import os

import keras
import numpy as np

from keras_frcnn.config import Config
from keras_frcnn.data import class_names as classes
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.weights import checkpoint


def load_start(model: FasterRCNN, path: str | os.PathLike) -> list[str]:
    """Starts a detector from the weights of a checkpoint, without its optimizer and step.

    1. The backbone, the RPN and the hidden layers (or last stage) of the box head are copied. An
       RPN with a backbone of its own gets that of the checkpoint's RPN.
    2. The box head's outputs are copied for background and for each class that both detectors know
       by name (``class_names.match``). The other classes keep their random start.

    Args:
        model: the detector, changed in place.
        path: a ``.keras`` file of a detector that has the same values of all settings that weights
            depend on.

    Returns:
        Lines that say what was copied and what was not.

    Raises:
        ValueError: naming the file, if it is not a checkpoint, or if one of the model's classes
            matches two of its classes; or naming each setting that does not fit, with both values.
            The model is then unchanged.
    """
    config, class_names = checkpoint.read_settings(path)
    misfits = _misfits(model, config)
    if misfits:
        raise ValueError(f"The checkpoint {path} does not fit this run:\n" + "\n".join(misfits))
    try:
        labels = classes.match(model.class_names, class_names)
    except ValueError as error:
        raise ValueError(f"The checkpoint {path}: {error}") from None
    donor = checkpoint.load(path, config.replace(precision="float32"))
    model.backbone.set_weights(donor.backbone.get_weights())
    if model.rpn_backbone is not None:
        rpns = donor.backbone if donor.rpn_backbone is None else donor.rpn_backbone
        model.rpn_backbone.set_weights(rpns.get_weights())
    model.rpn.set_weights(donor.rpn.get_weights())
    for layer, theirs in zip(_hidden(model), _hidden(donor), strict=True):
        layer.set_weights(theirs.get_weights())
    ours, theirs = model.roi_head.box_head, donor.roi_head.box_head
    _copy_outputs(ours.classes, theirs.classes, labels)
    if model.config.class_agnostic_boxes:
        ours.boxes.set_weights(theirs.boxes.get_weights())
    else:
        _copy_outputs(ours.boxes, theirs.boxes, labels)
    model.origin = donor.origin  # its licence still holds
    return _report(model, donor, labels)


def _hidden(model):
    head = model.roi_head.box_head
    return [head.stage] if head.stage else [*head.convs, *head.norms, *head.hidden]


def _misfits(model: FasterRCNN, theirs: Config) -> list[str]:
    """Returns a line for each setting that keeps weights made with ``theirs`` from fitting."""
    ours = model.config
    names = ["backbone", "bottleneck_stride", "norm_epsilon", "pyramid_norm", "pixel_std"]
    names += ["preprocessing", "symmetric_padding", "box_delta_std", "rpn_convolutions"]
    names += ["class_agnostic_boxes"]
    if ours.backbone == theirs.backbone and not model.roi_head.box_head.stage:
        names += ["head_convolutions", "head_units", "pool_size"]
    lines = [
        f"--{name} is {_text(getattr(ours, name))}, the checkpoint's is "
        f"{_text(getattr(theirs, name))}"
        for name in names
        if getattr(ours, name) != getattr(theirs, name)
    ]
    here, there = ours.anchors_per_cell, theirs.anchors_per_cell
    if here != there:
        lines.append(
            f"--scales and --ratios make {here} anchors per cell, the checkpoint's make {there}: "
            f"--scales={_text(theirs.scales)} --ratios={_text(theirs.ratios)}"
        )
    return lines


def _text(value):
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _copy_outputs(layer: keras.layers.Dense, donor: keras.layers.Dense, labels: np.ndarray):
    """Copies the outputs of background and of the classes that the donor knows.

    Args:
        layer: a layer of (C + 1) * n units, n for each class.
        donor: such a layer for other classes.
        labels: [C], the donor's label of each class, or -1.
    """
    copied = np.flatnonzero(np.concatenate([[0], labels]) >= 0)  # background comes first
    columns = np.concatenate([[0], labels + 1])[copied]
    width = layer.units // (len(labels) + 1)
    values = []
    for weight, theirs in zip(layer.get_weights(), donor.get_weights(), strict=True):
        per_class = weight.reshape(*weight.shape[:-1], -1, width)
        per_class[..., copied, :] = theirs.reshape(*theirs.shape[:-1], -1, width)[..., columns, :]
        values.append(per_class.reshape(weight.shape))
    layer.set_weights(values)


def _report(model, donor, labels):
    """Returns the lines that tell the user what a start copied."""
    shares_backbone = model.rpn_backbone is None
    names = ["backbone", *([] if shares_backbone else ["rpn_backbone"]), "rpn"]
    names += [layer.name for layer in _hidden(model)]
    copied, new = ["background"], []
    for name, label in zip(model.class_names, labels, strict=True):
        if label < 0:
            new.append(name)
            continue
        theirs = donor.class_names[label]
        copied.append(name if name == theirs else f"{name} (there: {theirs})")
    lines = [f"copied: {', '.join(names)}; outputs of {', '.join(copied)}"]
    rest = [name for label, name in enumerate(donor.class_names) if label not in labels]
    if new:
        lines.append(f"new classes, which start from random weights: {', '.join(new)}")
    if rest:
        lines.append(f"classes of the checkpoint that are not used: {', '.join(rest)}")
    if shares_backbone and donor.rpn_backbone is not None:
        lines.append(
            "the checkpoint's rpn_backbone is not used: here the RPN shares the detector's backbone"
        )
    for name in ("scales", "ratios"):
        ours, theirs = (getattr(owner.config, name) for owner in (model, donor))
        if ours != theirs:
            lines.append(f"--{name} is {_text(ours)}, the checkpoint's is {_text(theirs)}")
    return lines
