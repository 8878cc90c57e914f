"""Checkpoints by name: those that come with the package, such as ``voc07``, and those of the zoo.

Each of the first is a compact checkpoint (see ``compact.py``) in ``detectors/``, beside a card that
says what it was trained on, how well it detects, and under which terms it may be used.
"""

import os
from pathlib import Path

from keras_frcnn.weights import zoo

FOLDER = Path(__file__).parent / "detectors"
DEFAULT = "voc07"


def names() -> list[str]:
    """Returns the names of the package's detectors, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.keras"))


def find(checkpoint: str | os.PathLike) -> Path:
    """Returns the file that a user means with ``--checkpoint`` or ``--start_checkpoint``.

    Args:
        checkpoint: The path of a file, the name of a detector of the package, or one of the zoo,
            which is fetched on first use. An existing file comes first.

    Returns:
        The path of the checkpoint; ``checkpoint`` itself if there is no such file and no such name.

    Raises:
        ValueError: See ``zoo.find``.
    """
    path, text = Path(checkpoint), os.fspath(checkpoint)
    if path.is_file() or not is_name(checkpoint):
        return path
    return zoo.find(text) if text.startswith(zoo.PREFIX) else FOLDER / f"{checkpoint}.keras"


def is_name(checkpoint: str | os.PathLike) -> bool:
    """Returns whether a text is the name of a detector of the package, or begins as those of the
    zoo do.
    """
    text = os.fspath(checkpoint)
    return text in names() or text.startswith(zoo.PREFIX)
