"""HTML pages from Jinja2 templates. A page is a single file that loads nothing else.

A template is named by its path inside the package, for example ``drawing/templates/page.html``.
Text that is filled in never becomes markup: it is escaped, and control characters and characters
that UTF-8 cannot hold are written as escapes.
"""

import base64
import hashlib
from pathlib import Path
from typing import Any

import jinja2

from keras_frcnn import files
from keras_frcnn.console import plain


def write(path: Path, template: str, **values: Any) -> None:
    """Writes a page.

    Args:
        path: The file to write.
        template: The template of the page; it extends ``drawing/templates/page.html``.
        **values: The values that the template uses, among them ``title``.

    Raises:
        jinja2.UndefinedError: If the template uses a value that is missing.
    """
    files.write_text(path, _ENVIRONMENT.get_template(template).render(values))


def macros(template: str) -> Any:
    """Returns the macros of a template as functions that return markup."""
    return _ENVIRONMENT.get_template(template).module


def _printable(value: Any) -> Any:
    return value if hasattr(value, "__html__") else plain(str(value))


def _csp_hash(script: str) -> str:
    """Returns the hash by which a content security policy allows a script."""
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parents[1]),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    finalize=_printable,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["csp_hash"] = _csp_hash
