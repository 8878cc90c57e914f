"""The numbered folder of a SavedModel: whether it may be written, and replacing it at once."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PATTERN = frozenset("*?[\\")


def version_folder(output_dir: str | Path, version: int) -> Path:
    """Returns the folder of a version, after checking that it can be written.

    Raises:
        ValueError: If the folder holds anything but a SavedModel, or its name is a pattern for
            TensorFlow, or the version is not positive.
    """
    if version < 1:
        raise ValueError(f"version must be at least 1. Received: {version}")
    target = Path(output_dir) / str(version)
    if not _PATTERN.isdisjoint(str(target)):
        raise ValueError(
            f"output_dir must not contain {' '.join(sorted(_PATTERN))}, because TensorFlow reads "
            f"them as a pattern and cannot load a SavedModel from there. Received: {output_dir}"
        )
    for folder in (target, *target.parents):
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} must be a folder for the SavedModel. Received: a file")
    if target.exists() and any(target.iterdir()) and not (target / "saved_model.pb").is_file():
        raise ValueError(
            f"{target} holds something other than a SavedModel, so it is not replaced. Use another "
            "--output_dir or --version"
        )
    return target


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yields an empty folder, which replaces the target at the end or is deleted on an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # TensorFlow Serving ignores folders whose names are not numbers.
    with tempfile.TemporaryDirectory(prefix="unfinished_", dir=target.parent) as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        new.mkdir()
        yield new
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
