"""Compact checkpoints: copies for sharing, with 16-bit weights and nothing of the run.

A checkpoint of a run also holds the optimizer's state, which is twice the size of the weights with
Adam, and the paths and settings of the run. A compact copy holds what detection and fine-tuning
need. It is read like any other checkpoint.
"""

import io
import json
import os
import zipfile

import h5py
import numpy as np

from keras_frcnn import files
from keras_frcnn.config import ModelConfig
from keras_frcnn.weights import checkpoint, shipped

_WEIGHTS = "model.weights.h5"


def write(source: str | os.PathLike, path: str | os.PathLike) -> None:
    """Writes a compact copy of a checkpoint. An older file is replaced.

    Args:
        source: The checkpoint of a run.
        path: The ``.keras`` file to write.

    Raises:
        ValueError: If the source is not a checkpoint with settings, or if one of its weights is not
            finite or too large for 16 bits. The error names the file and the weight.
    """
    config, _ = checkpoint.read_settings(source)
    settings = {name: config.to_dict()[name] for name in ModelConfig.options()}
    settings["precision"] = "auto"  # that of the machine on which the copy is used
    with zipfile.ZipFile(shipped.find(source)) as archive:
        description = json.loads(archive.read("config.json")) | {"compile_config": None}
        description["config"]["config"] = settings
        with archive.open(_WEIGHTS) as weights:
            weights = _compact_weights(weights, source)
        metadata = archive.read("metadata.json")
    with files.replacing(path) as part, zipfile.ZipFile(part, "w") as archive:
        archive.writestr("metadata.json", metadata)
        archive.writestr("config.json", json.dumps(description))
        archive.writestr(_WEIGHTS, weights)


def _compact_weights(weights, source):
    """Returns the content of a weights file in 16 bits, without the optimizer's state."""
    compact = io.BytesIO()
    with h5py.File(weights) as theirs, h5py.File(compact, "w") as ours:

        def copy(name, item):
            if name.split("/")[0] == "optimizer":
                return
            if not isinstance(item, h5py.Dataset):
                group = ours.require_group(name)
                group.attrs.update(item.attrs)
                return
            values = item[()]
            if values.dtype.kind == "f":
                with np.errstate(over="ignore"):
                    values = values.astype(np.float16)
                if not np.isfinite(values).all():
                    raise ValueError(
                        f"{source} has a weight that is not finite, or too large for 16 bits: "
                        f"{name}"
                    )
            ours.create_dataset(name, data=values)

        theirs.visititems(copy)
    return compact.getvalue()
