"""Checkpoints: ``.keras`` files of a ``FasterRCNN``, self-contained with settings and class names.

A checkpoint may come from anywhere, so nothing in it is executed: its settings are read as plain
JSON, checked like a user's flags, and only numbers are loaded into the model that they describe.
"""

import json
import os
import shutil
import zipfile
from pathlib import Path

from keras_frcnn.config import Config
from keras_frcnn.models.faster_rcnn import FasterRCNN

_REGISTERED_NAME = "keras_frcnn>FasterRCNN"
_MAX_CONFIG_BYTES = 16 * 2**20


def save(model: FasterRCNN, path: str | os.PathLike) -> None:
    """Writes a checkpoint, with the optimizer's state if there is one.

    The file is ``model.save``'s, but whole at any moment: until it is complete, ``path`` stays what
    it was. And it is written piece by piece, while Keras puts up to a gigabyte of weights together
    in memory first.

    Args:
        model: the detector.
        path: the ``.keras`` file; an older one is replaced.
    """
    path = Path(path)
    folder = path.with_suffix(
        ".writing"
    )  # always the same, so that a killed run leaves one at most
    parts, whole = folder / "parts", folder / path.name
    shutil.rmtree(folder, ignore_errors=True)
    try:
        model.save(parts, zipped=False)
        with zipfile.ZipFile(whole, "w") as archive:
            for file in sorted(parts.rglob("*")):
                archive.write(file, file.relative_to(parts))
        os.replace(whole, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_settings(path: str | os.PathLike) -> tuple[Config, tuple[str, ...]]:
    """Reads what a checkpoint is of, without its weights.

    Args:
        path: a ``.keras`` file.

    Returns:
        ``(config, class_names)``.

    Raises:
        ValueError: naming the file, if it is missing or is not a checkpoint of this package and
            version.
    """
    if not os.path.isfile(path):
        raise ValueError(f"There is no checkpoint {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > _MAX_CONFIG_BYTES:
                raise ValueError("its config.json is too large")
            content = json.loads(archive.read("config.json"))
        if content["registered_name"] != _REGISTERED_NAME:
            raise ValueError(f"it holds a {content['registered_name']}")
        settings = content["config"]
        class_names = settings["class_names"]
        if not isinstance(class_names, list) or not all(isinstance(n, str) for n in class_names):
            raise ValueError(f"its class_names must be a list of names. Received: {class_names!r}")
        return Config.from_dict(settings["config"]).validate(), tuple(class_names)
    except Exception as error:  # zipfile, zlib and json raise nearly anything on damaged files
        raise ValueError(f"{path} is not a checkpoint of keras_frcnn: {error}") from error


def load(path: str | os.PathLike, config: Config | None = None) -> FasterRCNN:
    """Loads a detector.

    Args:
        path: a ``.keras`` file.
        config: settings to use instead of the checkpoint's own, usually a changed copy of them:
            another ``score_threshold``, another ``precision``.

    Returns:
        The model, ready for ``detect`` and ``predict``.

    Raises:
        ValueError: as ``read_settings``, or if the weights do not fit the settings.
    """
    saved_config, class_names = read_settings(path)
    model = FasterRCNN(config or saved_config, class_names)
    load_weights(model, path)
    return model


def load_weights(model: FasterRCNN, path: str | os.PathLike) -> None:
    """Loads a checkpoint's weights, and the optimizer's state if the model has an optimizer.

    Raises:
        ValueError: naming the file, if it has other classes than the model or weights that do not
            fit.
    """
    _, class_names = read_settings(path)
    if class_names != model.class_names:
        raise ValueError(
            f"The checkpoint {path} detects other classes than asked for. "
            f"Expected: {', '.join(model.class_names)}. Received: {', '.join(class_names)}"
        )
    try:
        model.load_weights(path)
    except Exception as error:  # h5py and Keras raise nearly anything on damaged files
        raise ValueError(f"The weights of {path} do not fit the model: {error}") from error
