"""Checkpoints: ``.keras`` files that hold a detector's weights, settings and class names.

A checkpoint may come from anywhere, so nothing in it is executed. Its settings are read as plain
JSON and checked like a user's flags, and only numbers are loaded into the model that they describe.
A detector that was composed in Python has no settings. Keras rebuilds it, in its safe mode.

Reading the settings does not need TensorFlow, which is imported only when weights are loaded. Where
a checkpoint is read, the name of a detector of the package may stand for its file.
"""

import json
import math
import os
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from keras_frcnn.config import Config
from keras_frcnn.config.experiment import FORMAT
from keras_frcnn.weights import shipped

if TYPE_CHECKING:
    from keras_frcnn.models.faster_rcnn import FasterRCNN

_REGISTERED_NAME = "keras_frcnn>FasterRCNN"
_MAX_CONFIG_BYTES = 16 * 2**20
_MEMBERS = {"config.json", "model.weights.h5"}  # without which a file is no checkpoint


class _Content(NamedTuple):
    """The description in a checkpoint. ``settings`` is None for a detector composed from parts,
    and ``origin`` for one that was not imported.
    """

    format: int
    settings: Config | None
    class_names: tuple[str, ...]
    origin: dict[str, str] | None = None


def save(model: "FasterRCNN", path: str | os.PathLike) -> None:
    """Writes a checkpoint, with the optimizer's state if there is one.

    The content is what ``model.save`` writes, and the model's step as the comment of the archive.
    But ``path`` is replaced only when the new file is complete and on the disk, and the file is
    written piece by piece, whereas Keras first assembles up to a gigabyte of weights in memory.

    Args:
        model: the detector.
        path: the ``.keras`` file; an older one is replaced.
    """
    path = Path(path)
    # The folder always has the same name, so that killed runs leave at most one behind.
    folder = path.with_suffix(".writing")
    contents, archive_path = folder / "contents", folder / path.name
    shutil.rmtree(folder, ignore_errors=True)
    try:
        model.save(contents, zipped=False)
        with open(archive_path, "wb") as archive_file:
            with zipfile.ZipFile(archive_file, "w") as archive:
                archive.comment = json.dumps({"step": int(model.step.numpy())}).encode()
                for file in sorted(contents.rglob("*")):
                    archive.write(file, file.relative_to(contents))
            archive_file.flush()
            os.fsync(archive_file.fileno())  # a full or broken disk may be noticed only here
        os.replace(archive_path, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_space(model: "FasterRCNN", folder: str | os.PathLike) -> None:
    """Checks that a checkpoint fits on the disk, before the steps that lead to it.

    Args:
        model: the detector, with the optimizer whose state is saved with it.
        folder: the folder of the checkpoint.

    Raises:
        ValueError: If it does not fit. The error names the folder.
    """
    import tensorflow as tf  # see above

    variables = [*model.variables, *model.optimizer.variables]
    num_bytes = sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in variables)
    num_bytes *= 2  # while it is written, the archive is beside its content
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise ValueError(
            f"{folder} must have {num_bytes / 1e6:.1f} MB free for a checkpoint. Received: "
            f"{free / 1e6:.1f} MB"
        )


def damage(path: str | os.PathLike) -> str:
    """Says what is wrong with the file of a checkpoint, from the sizes and checksums of its parts.

    The whole file is read, which takes about a second per gigabyte.

    Returns:
        The fault, or "" if the file is whole.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            missing = sorted(_MEMBERS - set(archive.namelist()))
            broken = missing or archive.testzip()
    except FileNotFoundError:
        return "it is missing"
    except Exception as error:  # zipfile and zlib raise nearly anything on damaged files
        return str(error) or type(error).__name__
    if missing:
        return f"it lacks {', '.join(missing)}"
    return f"the checksum of {broken} in it is wrong" if broken else ""


def read_step(path: str | os.PathLike) -> int | None:
    """Reads how many steps a checkpoint has taken, without its weights.

    Returns:
        The number; None if the file is missing or damaged, or an earlier version wrote it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return int(json.loads(archive.comment)["step"])
    except Exception:  # as above
        return None


def read_settings(path: str | os.PathLike) -> tuple[Config, tuple[str, ...]]:
    """Reads a checkpoint's settings and class names, without its weights.

    Args:
        path: a ``.keras`` file, or the name of a detector of the package.

    Returns:
        ``(config, class_names)``. Settings that this version does not know are left out, and so
        are settings of training, data and evaluation that no longer fit.

    Raises:
        ValueError: naming the file, if it is missing, is not a checkpoint of this package, was
            written by a later version, has a setting of the model that does not fit, or holds a
            detector composed from parts.
    """
    content = _read(path)
    if content.settings is None:
        raise ValueError(
            f"{path} holds a detector that was composed in Python and has no settings. "
            "keras_frcnn.load reads it"
        )
    return content.settings, content.class_names


def read_origin(path: str | os.PathLike) -> dict[str, str] | None:
    """Reads where an imported detector comes from: its project, model, file, SHA-256 and licence.

    Returns:
        Texts by name; None if the detector was not imported.

    Raises:
        ValueError: naming the file, if it is not a checkpoint.
    """
    return _read(path).origin


def load(path: str | os.PathLike, config: Config | None = None) -> "FasterRCNN":
    """Loads a detector.

    Args:
        path: a ``.keras`` file, or the name of a detector of the package, such as ``"voc07"``.
        config: settings to use instead of the checkpoint's own, usually a changed copy of them:
            another ``score_threshold``, another ``precision``.

    Returns:
        The model, ready for ``detect`` and ``predict``.

    Raises:
        ValueError: naming the file, if it is not a checkpoint, or its weights do not fit or are not
            finite.
    """
    content = _read(path)
    from keras_frcnn.models.build import build_detector  # registers all layers with Keras, too
    from keras_frcnn.weights.file_limits import limited_by

    if content.settings is None:
        return _load_composed(shipped.find(path))
    with limited_by(shipped.find(path)):
        model = build_detector(config or content.settings, content.class_names)
    load_weights(model, path)
    model.origin = content.origin
    return model


def load_weights(model: "FasterRCNN", path: str | os.PathLike) -> None:
    """Loads a checkpoint's weights, and the optimizer's state if the model has an optimizer.

    Raises:
        ValueError: naming the file, if it has other classes than the model, or weights that do not
            fit or are not finite.
    """
    content, path = _read(path), shipped.find(path)
    if content.class_names != model.class_names:
        raise ValueError(
            f"The checkpoint {path} has other classes than the model. "
            f"Expected: {', '.join(model.class_names)}. Received: {', '.join(content.class_names)}"
        )
    try:
        if content.format == 1:
            from keras_frcnn.weights import format_1

            format_1.load(model, path)
        else:
            model.load_weights(path)
    except Exception as error:  # h5py and Keras raise nearly anything on damaged files
        raise ValueError(f"The weights of {path} do not fit the model: {error}") from error
    _check_finite(model, path)


def _read(path) -> _Content:
    file = shipped.find(path)
    if not file.is_file():
        found = ", ".join(sorted(one.name for one in Path(path).glob("*.keras")))
        hint = f". The folder holds {found}: name one of them" if found else ""
        if not hint and file.parts == (file.stem,):
            hint = f". Detectors of the package: {', '.join(shipped.names())}"
        raise ValueError(f"There is no checkpoint {path}{hint}")
    try:
        values = _model_config(file)
        number = values.get("format", 1)
        if type(number) is not int or number < 1:
            raise ValueError(f"its format must be a positive integer. Received: {number!r}")
        content = _content(values, number, str(path)) if number <= FORMAT else None
    except Exception as error:  # zipfile, zlib and json raise nearly anything on damaged files
        raise ValueError(f"{path} is not a checkpoint of keras_frcnn: {error}") from error
    if content is None:
        raise ValueError(
            f"{path} was written by a later version of keras_frcnn. Expected: a checkpoint of "
            f"format 1 to {FORMAT}. Received: format {number}"
        )
    return content


def _model_config(path):
    """Returns what the model's ``get_config`` returned when it was saved."""
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo("config.json").file_size > _MAX_CONFIG_BYTES:
            raise ValueError("its config.json is too large")
        content = json.loads(archive.read("config.json"))
    if content["registered_name"] != _REGISTERED_NAME:
        raise ValueError(f"it holds a {content['registered_name']}")
    return content["config"]


def _content(values, number, path):
    class_names = values["class_names"]
    if not isinstance(class_names, list) or not all(isinstance(n, str) for n in class_names):
        raise ValueError(f"its class_names must be a list of names. Received: {class_names!r}")
    settings = None
    if "config" in values:
        settings, _ = Config.from_checkpoint(values["config"], path)
    origin = values.get("origin")
    if origin is not None and not (
        isinstance(origin, dict) and all(isinstance(text, str) for text in origin.values())
    ):
        raise ValueError(f"its origin must be texts by name. Received: {origin!r}")
    return _Content(number, settings, tuple(class_names), origin)


def _load_composed(path):
    """Loads a detector that was composed from parts. Keras rebuilds it in its safe mode, which
    refuses anything that would run code.
    """
    import keras

    from keras_frcnn.weights.file_limits import limited_by

    try:
        with limited_by(path):
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # h5py and Keras raise nearly anything on damaged files
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    _check_finite(model, path)
    return model


def _check_finite(model, path):
    """Checks what was loaded: the weights, and the optimizer's state if the model has one."""
    from keras_frcnn.ops.finite import first_not_finite

    optimizer = getattr(model, "optimizer", None)
    name = first_not_finite([*model.weights, *(optimizer.variables if optimizer else ())])
    if name:
        raise ValueError(
            f"The checkpoint {path} has weights that are not finite, because its training failed. "
            f"The first one is {name}. Use an earlier checkpoint"
        )
