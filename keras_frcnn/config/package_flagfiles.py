"""Finds the flagfiles that come with the package, by their names: ``voc07``, ``paper/zf_shared``.

They are in ``configs/`` of a checkout. An installed package has a copy of that folder inside it.
"""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_SUFFIX = ".cfg"


def folder() -> Path:
    """Returns the folder of the flagfiles."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def names() -> list[str]:
    """Returns the names of all flagfiles, sorted; those in folders come last."""
    paths = [path.relative_to(folder()) for path in folder().rglob(f"*{_SUFFIX}")]
    found = [path.with_suffix("").as_posix() for path in paths]
    return sorted(found, key=lambda name: ("/" in name, name))


def summary() -> str:
    """Returns a list of the names for people; those in a folder are only counted."""
    found = names()
    top = [name for name in found if "/" not in name]
    return f"{', '.join(top)}, and {len(found) - len(top)} in paper/"


def find(text: str, base: Path = Path()) -> Path:
    """Returns the file that a user means with ``--flagfile``.

    Args:
        text: The path of a file, or the name of a flagfile of the package, with or without
            ``configs/`` and ``.cfg``. An existing file at the path comes first.
        base: The folder to which the path is relative.

    Returns:
        The path of the file; below ``base`` if there is no such file.
    """
    path = base / Path(text).expanduser()
    name = Path(text).as_posix().removeprefix("configs/").removesuffix(_SUFFIX)
    if path.is_file() or name not in names():
        return path
    return folder() / f"{name}{_SUFFIX}"
