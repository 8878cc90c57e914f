"""Sends images to a served detector and writes what it finds.

Examples:
  keras-frcnn predict --server=grpc://localhost:8500/detector --images=photos --output_dir=found
  keras-frcnn predict --server=http://localhost:8501/v1/models/detector --images='trip/*.jpg'
    --output_dir=found --formats=coco,csv --concurrency=8

The command is detect with a server. The server is TensorFlow Serving, or one that speaks as it
does. Requests that fail because the server is away or busy are repeated. The exit code is 1 if an
image could not be read; all other images are still processed. If the command is stopped, the files
hold what was found so far, and the same command continues from there.
"""

import dataclasses

from keras_frcnn.cli import detect
from keras_frcnn.cli.command import Command

_SERVER = (dataclasses.replace(detect.SERVER[0], required=True), *detect.SERVER[1:])
COMMAND = Command(
    "predict", __doc__, options=(*_SERVER, *detect.IMAGES), writes=detect.WRITES, settings=()
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The flags of the command; by default those of the process.

    Returns:
        The exit code.
    """
    return detect.run(COMMAND, argv)
