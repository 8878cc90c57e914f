"""Declares settings: one field states a setting's type, default, limits, help and source.

    steps: int = setting(70000, "Number of training steps.", group="training", limits=POSITIVE)

The name of the field is also the name of the flag. ``Option`` holds the same declaration as an
object that checks values, describes them and can be turned into a flag. Commands also declare their
own flags with it.
"""

import dataclasses
import math
import operator
from typing import Any, get_args, get_origin

# Sources of defaults. PAPER is Ren et al. 2015 (arXiv 1506.01497), and CODE is the authors'
# py-faster-rcnn. Where the two differ, users can choose either; docs/differences.md gives the
# reasons for each default.
PAPER, CODE = "the paper", "the released code"

_TYPES = {  # for messages: singular with its article, and plural
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("a string", "strings"),
    bool: ("true or false", "booleans"),
}
_COUNTS = {2: "two", 4: "four"}
_ORDERS = {"ascending": operator.le, "strictly ascending": operator.lt}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """The values that a setting allows. The bounds apply to every element of a list.

    Attributes:
        above: Values must be greater than this; None for no bound.
        at_least: Values must be at least this; None for no bound.
        at_most: Values must be at most this; None for no bound.
        below: Values must be less than this; None for no bound.
        nonempty: Whether a list needs at least one element, or a string at least one character.
        lengths: The allowed lengths of a list; empty allows any length.
        order: "ascending" or "strictly ascending" for a list; empty allows any order.
    """

    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    below: float | None = None
    nonempty: bool = False
    lengths: tuple[int, ...] = ()
    order: str = ""

    def allow(self, value: Any) -> bool:
        """Returns whether a value of the right type is allowed."""
        if isinstance(value, str):
            return bool(value) or not self.nonempty
        if not isinstance(value, tuple):
            return self._bound(value)
        return (
            all(map(self._bound, value))
            and (bool(value) or not self.nonempty)
            and (not self.lengths or len(value) in self.lengths)
            and (not self.order or all(map(_ORDERS[self.order], value, value[1:])))
        )

    @property
    def is_positive(self) -> bool:
        """Whether the only bound is "above 0"."""
        return self.above == 0 and self.at_most is None and self.below is None

    @property
    def bounds(self) -> str:
        """The bounds in words; empty if there are none."""
        if self.at_least is not None and self.at_most is not None:
            return f"between {self.at_least:g} and {self.at_most:g}"
        bounds = {
            "above": self.above,
            "at least": self.at_least,
            "at most": self.at_most,
            "below": self.below,
        }
        return " and ".join(f"{word} {b:g}" for word, b in bounds.items() if b is not None)

    def _bound(self, value: Any) -> bool:
        return (
            (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )


POSITIVE = Limits(above=0)
NOT_NEGATIVE = Limits(at_least=0)
FRACTION = Limits(at_least=0, at_most=1)


@dataclasses.dataclass(frozen=True)
class Option:
    """One thing that a user can set: a setting of a config, or a flag of a command.

    Attributes:
        name: The name, which is also the flag without its dashes.
        type: str, int, float, bool or ``tuple[one of these, ...]``.
        default: The value that is used if none is given.
        help: The text that ``--help`` shows.
        group: The section of ``--help`` that lists a setting; empty for a command's own flags.
        choices: The allowed strings; empty allows any string.
        limits: The allowed numbers, lengths and order.
        source: Where the default comes from; empty if it is our own choice.
        pyramid: The default with a feature pyramid; None if it is the same.
        former: Former names, which flags, flagfiles and checkpoints may still use.
        common: Whether most users set it. Common options come first in their section.
        required: Whether the command refuses to run without it.
        output: "folder" or "file" if the command writes to this path; empty if not.
        suffixes: What the name of a file may end with; empty allows any name.
    """

    name: str
    type: Any
    default: Any
    help: str
    group: str = ""
    choices: tuple[str, ...] = ()
    limits: Limits = Limits()
    source: str = ""
    pyramid: Any = None
    former: tuple[str, ...] = ()
    common: bool = False
    required: bool = False
    output: str = ""
    suffixes: tuple[str, ...] = ()

    def has_type(self, value: Any) -> bool:
        """Returns whether a value has the right type and is one of the choices."""
        if not _is_a(value, self.type):
            return False
        values = value if isinstance(value, tuple) else (value,)
        return not self.choices or set(values) <= set(self.choices)

    def allows(self, value: Any) -> bool:
        """Returns whether a value is valid."""
        has_suffix = not (self.suffixes and value) or value.endswith(self.suffixes)
        return self.has_type(value) and self.limits.allow(value) and has_suffix

    def requirement(self, list_format: str = "") -> str:
        """Returns a description of the allowed values, such as "a positive integer".

        Args:
            list_format: How a list is written, such as "separated by commas".
        """
        element = element_type(self.type)
        positive = "positive " if self.limits.is_positive else ""
        bounds = "" if positive else self.limits.bounds
        if element is None:
            if self.choices:
                return f"one of {', '.join(self.choices)}"
            if self.suffixes:
                return f"the name of a {' or '.join(self.suffixes)} file"
            article, noun = _TYPES[self.type][0].split(maxsplit=1)
            adjective = positive or ("non-empty " if self.limits.nonempty else "")
            if adjective:
                return f"a {adjective}{noun}"
            of = "of " if bounds.startswith("at ") else ""
            return f"{article} {noun} {of}{bounds}".rstrip()
        counts = [_COUNTS[length] for length in self.limits.lengths if length]
        count = " or ".join(counts) or ("one or more" if self.limits.nonempty else "a list of")
        text = f"{count} {positive}{_TYPES[element][1]}"
        if self.choices:
            text = f"{count} of {', '.join(self.choices)}".replace("of of", "of")
        text += f" {bounds}" if bounds else ""
        text += f", in {self.limits.order} order" if self.limits.order else ""
        if list_format:
            text += f", {list_format}" if "," in text else f" {list_format}"
        return text + (", or empty" if 0 in self.limits.lengths else "")


def setting(
    default: Any,
    help: str,
    *,
    group: str,
    choices: tuple[str, ...] = (),
    limits: Limits = Limits(),
    source: str = "",
    pyramid: Any = None,
    former: tuple[str, ...] = (),
    common: bool = False,
    output: str = "",
) -> Any:
    """Declares a setting as a field of a dataclass. The arguments are those of ``Option``."""
    declared = {
        "help": help,
        "group": group,
        "choices": choices,
        "limits": limits,
        "source": source,
        "pyramid": pyramid,
        "former": former,
        "common": common,
        "output": output,
    }
    return dataclasses.field(default=default, metadata=declared)


def element_type(annotation: Any) -> type | None:
    """Returns the element type of ``tuple[x, ...]``, or None for a single value."""
    return get_args(annotation)[0] if get_origin(annotation) is tuple else None


def _is_a(value: Any, annotation: Any) -> bool:
    element = element_type(annotation)
    if element is not None:
        return isinstance(value, tuple) and all(_is_a(v, element) for v in value)
    if isinstance(value, bool) or annotation is bool:  # a bool is an int in Python
        return isinstance(value, bool) and annotation is bool
    if annotation is float:
        return isinstance(value, (int, float)) and math.isfinite(value)
    return isinstance(value, annotation)
