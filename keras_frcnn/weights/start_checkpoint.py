"""Starting from another run's checkpoint, of other classes too."""

import os

import keras
import numpy as np

from keras_frcnn.config import Config
from keras_frcnn.data import class_names as classes
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.weights import checkpoint


def load_start(model: FasterRCNN, path: str | os.PathLike) -> list[str]:
    """Starts a detector from a checkpoint: only its weights, neither optimizer nor step count.

    1. The convolutions, the RPN head and the box head's hidden layers (or last stage) are taken
       whole. An RPN with convolutions of its own gets those of the checkpoint's RPN.
    2. Of the box head's two outputs, background is taken, and each class that both know,
       ``classes.match`` by name. A class that the checkpoint does not know keeps its random start.

    Args:
        model: the detector, changed in place.
        path: a ``.keras`` file of a detector that differs in nothing that weights depend on.

    Returns:
        Lines that say what was taken and what was not.

    Raises:
        ValueError: naming the file, if it is not a checkpoint or a class could be two of its; and
            each setting, with both values, by which its weights do not fit. The model is then as it
            was.
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
        of_rpn = donor.backbone if donor.rpn_backbone is None else donor.rpn_backbone
        model.rpn_backbone.set_weights(of_rpn.get_weights())
    model.rpn_head.set_weights(donor.rpn_head.get_weights())
    for layer, theirs in zip(_hidden(model), _hidden(donor), strict=True):
        layer.set_weights(theirs.get_weights())
    for name in ("classes", "boxes"):
        _take_outputs(getattr(model.box_head, name), getattr(donor.box_head, name), labels)
    return _report(model, donor, labels)


def _hidden(model):
    return [model.box_head.stage] if model.box_head.stage else model.box_head.hidden


def _misfits(model: FasterRCNN, theirs: Config) -> list[str]:
    """Returns a line for each setting of the model that does not go with weights of another."""
    ours = model.config
    names = ["backbone", "pixel_std", "box_delta_std"]
    if ours.backbone == theirs.backbone and not model.box_head.stage:
        names += ["head_units", "pool_size"]
    lines = [
        f"--{name} is {_text(getattr(ours, name))}, the checkpoint's is "
        f"{_text(getattr(theirs, name))}"
        for name in names
        if getattr(ours, name) != getattr(theirs, name)
    ]
    here, there = (len(config.scales) * len(config.ratios) for config in (ours, theirs))
    if here != there:
        lines.append(
            f"--scales and --ratios make {here} anchors a cell, the checkpoint's make {there}: "
            f"--scales={_text(theirs.scales)} --ratios={_text(theirs.ratios)}"
        )
    return lines


def _text(value):
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _take_outputs(layer: keras.layers.Dense, donor: keras.layers.Dense, labels: np.ndarray):
    """Takes the outputs of background and of the classes that have a label in the donor.

    Args:
        layer: of (C + 1) * n units, n for each class.
        donor: the same with other classes.
        labels: [C], of each class the donor's label, or -1.
    """
    taken = np.flatnonzero(np.concatenate([[0], labels]) >= 0)  # background comes first
    columns = np.concatenate([[0], labels + 1])[taken]
    width = layer.units // (len(labels) + 1)
    values = []
    for weight, theirs in zip(layer.get_weights(), donor.get_weights(), strict=True):
        of_class = weight.reshape(*weight.shape[:-1], -1, width)
        of_class[..., taken, :] = theirs.reshape(*theirs.shape[:-1], -1, width)[..., columns, :]
        values.append(of_class.reshape(weight.shape))
    layer.set_weights(values)


def _report(model, donor, labels):
    """Returns what is said of a start, line by line."""
    shares = model.rpn_backbone is None
    parts = ["backbone", *([] if shares else ["rpn_backbone"]), "rpn_head"]
    parts += [layer.name for layer in _hidden(model)]
    pairs = list(zip(model.class_names, labels, strict=True))
    taken = ["background"]
    for name, label in pairs:
        if label >= 0:
            theirs = donor.class_names[label]
            taken.append(name if name == theirs else f"{name} (its {theirs})")
    lines = [f"taken: {', '.join(parts)}; outputs of {', '.join(taken)}"]
    new = [name for name, label in pairs if label < 0]
    rest = [name for label, name in enumerate(donor.class_names) if label not in labels]
    if new:
        lines.append(f"new classes, which start at random: {', '.join(new)}")
    if rest:
        lines.append(f"its classes that are not taken: {', '.join(rest)}")
    if shares and donor.rpn_backbone is not None:
        lines.append("its rpn_backbone is not taken: here the RPN shares the detector's")
    for name in ("scales", "ratios"):
        ours, theirs = (getattr(of.config, name) for of in (model, donor))
        if ours != theirs:
            lines.append(f"--{name} is {_text(ours)}, the checkpoint's is {_text(theirs)}")
    return lines
