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


def find(path: Path) -> Path:
    """Returns the file that a user means with ``--flagfile``.

    Args:
        path: A file, or the name of a flagfile of the package, also with ``configs/`` before it
            and ``.cfg`` behind it. A file of the user comes first.

    Returns:
        The path of the file; the unchanged path if there is no such file.
    """
    if path.is_file():
        return path
    name = path.as_posix().removeprefix("configs/").removesuffix(_SUFFIX)
    return folder() / f"{name}{_SUFFIX}" if name in names() else path
