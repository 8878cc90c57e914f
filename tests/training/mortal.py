"""Trains a small run in processes that are killed, one after the other, while they save.

Each process is a fork, so that TensorFlow is imported only once. Run as a script with the settings
in JSON; it prints the exit code of each process.
"""

import io
import json
import os
import signal
import sys
import traceback
import zipfile
from unittest import mock

from keras_frcnn import files
from keras_frcnn.config import Config
from keras_frcnn.console import Console
from keras_frcnn.models.faster_rcnn import FasterRCNN
from keras_frcnn.training import trainer
from keras_frcnn.training.callbacks.graph import Graph
from tests import fakes


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def half_a_file(self, filename, arcname):
    """Stands for ``ZipFile.write``: dies in the middle of the weights."""
    data = b"" if filename.is_dir() else filename.read_bytes()
    self.writestr(str(arcname), data[: len(data) // 2])
    self.fp.flush()
    if filename.suffix == ".h5":
        die()


def half_the_weights(self, path, zipped):
    """Stands for ``FasterRCNN.save``: dies once half of the weights are written."""
    save(self, path, zipped=zipped)
    weights = path / "model.weights.h5"
    os.truncate(weights, weights.stat().st_size // 2)
    die()


def replace_and_die(source, target):
    replace(source, target)
    if str(target).endswith("last.keras"):
        die()


save, replace = FasterRCNN.save, os.replace

# Where a process dies within the writing of a checkpoint, in the order of the writing.
DEATHS = {
    "the file before it gets its second name": (files, "link_or_copy", die),
    "half of the weights are written": (FasterRCNN, "save", half_the_weights),
    "half of the archive is written": (zipfile.ZipFile, "write", half_a_file),
    "the archive is not yet on the disk": (os, "fsync", die),
    "the old file is replaced": (os, "replace", replace_and_die),
}


def run(config: Config, death: tuple | None) -> None:
    """Trains in a forked process, which dies as ``death`` says; waits for its end."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        return
    always = property(lambda self: True, lambda self, value: None)
    patches = [
        mock.patch.object(FasterRCNN, "run_eagerly", always),
        mock.patch.object(Graph, "on_train_begin"),
        *([mock.patch.object(*death)] if death else []),
    ]
    code = 1
    try:
        with fakes.small_backbone():
            for patch in patches:
                patch.start()
            trainer.train(config, Console(file=io.StringIO()))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    settings = Config.from_dict(json.loads(sys.argv[1]))
    for death in (*DEATHS.values(), None):
        run(settings, death)
