"""New folders that appear only when everything in them is written."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator


def check_folder(folder: str) -> None:
    """Makes sure that a data set may be written to a folder.

    Raises:
        ValueError: if it holds anything.
    """
    path = pathlib.Path(folder)
    if not folder or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise ValueError(f"output_dir must be a new or empty folder. Received: {folder!r}")


@contextlib.contextmanager
def appearing(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a hidden folder to write to, which becomes the real one if no error is raised.

    A run that is killed leaves nothing but the hidden folder, which the next run clears.

    Args:
        folder: must not be there, or be empty.
    """
    part = folder.absolute().with_name(f".{folder.absolute().name}.keras_frcnn_part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
