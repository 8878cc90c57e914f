"""Creates folders that only appear once everything in them is written."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator


def check_folder(folder: str) -> None:
    """Checks that a folder for a new data set is missing or empty.

    Raises:
        ValueError: If it is not.
    """
    path = pathlib.Path(folder)
    if not folder or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise ValueError(f"--output_dir must be a new or empty folder. Received: {folder!r}")


@contextlib.contextmanager
def appearing(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a hidden folder to write to, which is renamed to ``folder`` if no error is raised.

    A killed run leaves only the hidden folder, which the next run clears.

    Args:
        folder: the final folder, which must be missing or empty.
    """
    part = folder.absolute().with_name(f".{folder.absolute().name}.keras_frcnn_part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        yield part
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, OSError) and str(part) in str(error.filename2 or error.filename):
            error.filename, error.filename2 = str(folder), None  # nobody knows the hidden folder
        raise
