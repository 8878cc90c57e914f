"""The numbered folder of a SavedModel: its number, its place, and moving it there when it is whole.

TensorFlow Serving watches a folder and serves the subfolder with the highest number. It loads a
number once, so a SavedModel that was replaced under a running server would never be served.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

_PATTERN = frozenset("*?[\\")


def version_folder(output_dir: str | Path, version: int | None = None) -> Path:
    """Returns the folder of a version, after checking that it can be written.

    Args:
        output_dir: the folder that TensorFlow Serving watches.
        version: the number of the folder. None: the next one after those that are there.

    Raises:
        ValueError: If the folder is there and not empty, its name is a pattern for TensorFlow, or
            the version is not positive.
    """
    output_dir = Path(output_dir)
    if not _PATTERN.isdisjoint(str(output_dir)):
        raise ValueError(
            f"--output_dir must not contain {' '.join(sorted(_PATTERN))}, because TensorFlow reads "
            f"them as a pattern and cannot load a SavedModel from there. Received: {output_dir}"
        )
    for folder in (output_dir, *output_dir.parents):
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} must be a folder for SavedModels. Received: a file")
    names = [path.name for path in output_dir.iterdir()] if output_dir.exists() else []
    next_version = 1 + max((int(name) for name in names if name.isdecimal()), default=0)
    if version is None:
        return output_dir / str(next_version)
    if version < 1:
        raise ValueError(f"--version must be at least 1. Received: {version}")
    target = output_dir / str(version)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(
            f"{target} exists already and is not replaced, because a running server would not "
            f"notice. Without --version, the next free number is used: {next_version}"
        )
    return target


def publish(
    write: Callable[[Path], None], output_dir: str | Path, version: int | None = None
) -> Path:
    """Lets a function write a folder aside, and moves the folder to its place when it is whole.

    Args:
        write: called with an empty folder. If it fails, the folder is deleted.
        output_dir: as for ``version_folder``.
        version: as for ``version_folder``.

    Returns:
        The folder in its place.

    Raises:
        ValueError: see ``version_folder``.
    """
    output_dir = version_folder(output_dir, version).parent
    output_dir.mkdir(parents=True, exist_ok=True)
    # TensorFlow Serving ignores folders whose names are not numbers.
    with tempfile.TemporaryDirectory(prefix="unfinished_", dir=output_dir) as scratch:
        folder = Path(scratch) / "new"  # with the usual permissions, so that a server may read it
        folder.mkdir()
        write(folder)
        while True:
            target = version_folder(output_dir, version)
            try:
                return folder.rename(target)
            except OSError:  # another export may just have taken the next number
                if version is not None or not target.exists():
                    raise
