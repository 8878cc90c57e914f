"""Imports a detector of another project: its weights file becomes a detector like our own."""

import os
from collections.abc import Sequence
from pathlib import Path

from keras_frcnn.models.build import build_detector
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.ops.finite import first_not_finite
from keras_frcnn.weights.importers import detectron2, tensor_file, torchvision

_PROJECTS = {"torchvision": torchvision, "detectron2": detectron2}
MODELS = {source: tuple(project.MODELS) for source, project in _PROJECTS.items()}
"""The names of the models that can be imported, by project."""

_MOST_CLASSES = 10_000
LICENCES = {
    "torchvision": "BSD-3-Clause; the data that the model was trained on may add terms",
    "detectron2": "CC BY-SA 3.0; the data that the model was trained on may add terms",
}


def import_detector(
    source: str,
    path: str | os.PathLike,
    model: str = "",
    class_names: Sequence[str] = (),
) -> FasterRCNN:
    """Reads another project's weights file into a detector that gives the same detections.

    Args:
        source: the project, a key of ``MODELS``.
        path: the file, see ``tensor_file.read``.
        model: the name of the model in the project, one of ``MODELS[source]``. Default "": the one
            that the tensors' names tell.
        class_names: names of the classes, without background. Default (): those of the data set
            that the project's models are published for.

    Returns:
        The detector. ``origin`` says where it comes from.

    Raises:
        ValueError: naming the file and the tensor, if the file is damaged, holds other things than
            tensors, or does not fit.
    """
    project = _PROJECTS[source]
    tensors = tensor_file.read(path)
    model = model or _only_fitting(project, tensors, source)
    names = tuple(class_names) or project.class_names_of(tensors)
    if not names or len(names) > _MOST_CLASSES:
        raise ValueError(
            f"the class names of {path} are not known: give them with --class_names, in the order "
            "of its outputs"
        )
    detector = build_detector(project.config_of(model), names)
    project.fill(detector, tensors)
    weight = first_not_finite(detector.weights)
    if weight:
        raise ValueError(f"{path} has weights that are not finite. The first one is {weight}")
    detector.origin = {
        "source": source,
        "model": model,
        "file": Path(path).name,
        "sha256": tensor_file.sha256(path),
        "licence": LICENCES[source],
    }
    return detector


def _only_fitting(project, tensors, source):
    """Returns the name of the model that the tensors belong to."""
    models = project.fitting(tensors)
    if len(models) > 1:
        named = [name for name in models if name in Path(tensors.path).stem]
        models = [max(named, key=len)] if named else models
    if len(models) == 1:
        return models[0]
    if not models:
        raise ValueError(
            f"{tensors.path} holds none of the detectors of {source} that can be imported: "
            f"{', '.join(project.MODELS)}"
        )
    raise ValueError(
        f"{tensors.path} could be {' or '.join(models)}, which differ in their settings alone: say "
        "which with --model"
    )
