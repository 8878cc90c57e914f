"""The detectors that come with the package, by name: ``voc07``.

Each is a compact checkpoint (see ``compact.py``) in ``detectors/``, beside a card that says what it
was trained on, how well it detects, and under which terms it may be used.
"""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "detectors"
DEFAULT = "voc07"


def names() -> list[str]:
    """Returns the names of the package's detectors, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.keras"))


def find(checkpoint: str | os.PathLike) -> Path:
    """Returns the file that a user means with ``--checkpoint`` or ``--start_checkpoint``.

    Args:
        checkpoint: The path of a file, or the name of a detector of the package. An existing file
            comes first.

    Returns:
        The path of the checkpoint; ``checkpoint`` itself if there is no such file and no such name.
    """
    path = Path(checkpoint)
    return path if path.is_file() or not is_name(checkpoint) else FOLDER / f"{checkpoint}.keras"


def is_name(checkpoint: str | os.PathLike) -> bool:
    """Returns whether a text is the name of a detector of the package."""
    return os.fspath(checkpoint) in names()
