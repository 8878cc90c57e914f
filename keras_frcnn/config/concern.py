"""The base class of all groups of settings: checking, copying, writing and reading them."""

import dataclasses
import string
from collections.abc import Mapping, Sequence
from typing import Any, Self

from keras_frcnn.config.setting import Option, element_type


@dataclasses.dataclass(frozen=True)
class _Named:
    """A setting in a sentence: ``{name}`` inserts its name, and ``{name.value}`` its value."""

    name: str
    value: Any

    def __str__(self) -> str:
        return self.name


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the settings.

    Attributes:
        sentence: A format string that says what is wrong and names settings in braces, such as
            "{longer_side} ({longer_side.value}) is below {shorter_side}".
        values: The values of all settings.
        details: The values of other names in braces.
    """

    sentence: str
    values: Mapping[str, Any]
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def text(self, dashes: str = "") -> str:
        """Returns the sentence with ``dashes`` in front of the name of each setting."""
        named = {name: _Named(dashes + name, value) for name, value in self.values.items()}
        return self.sentence.format(**named, **self.details)

    @property
    def names(self) -> set[str]:
        """The settings that the sentence names."""
        fields = {field for _, field, _, _ in string.Formatter().parse(self.sentence) if field}
        return {field.partition(".")[0] for field in fields} & set(self.values)


class SettingsError(ValueError):
    """Raised for settings that are out of range or contradict each other; lists all problems."""

    def __init__(self, problems: Sequence[Problem]):
        super().__init__(tuple(problems))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, in the order of the settings."""
        return self.args[0]

    def __str__(self) -> str:
        return "\n".join(["Invalid settings:", *(f"  - {p.text()}" for p in self.problems)])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Concern:
    """The settings of one concern, such as data or training.

    They are immutable, and only ``validate`` checks them. A string is accepted for a list with one
    element: ``data_dir="/voc"`` means ``data_dir=("/voc",)``.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if element_type(field.type) is str and isinstance(value, str):
                object.__setattr__(self, field.name, (value,) if value else ())

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Returns the declarations of the settings, by name."""
        return {
            field.name: Option(field.name, field.type, field.default, **field.metadata)
            for field in dataclasses.fields(cls)
        }

    def validate(self) -> Self:
        """Checks types, ranges and contradictions.

        Returns:
            These settings, so that ``Config(...).validate()`` can be used as an expression.

        Raises:
            SettingsError: If anything is wrong. It names every problem, with the expected and the
                received value.
        """
        problems = self.problems()
        if problems:
            raise SettingsError(problems)
        return self

    def problems(self) -> list[Problem]:
        """Returns all problems; values are only checked if every setting has the right type."""
        options = self.options().values()
        wrong = [option for option in options if not option.has_type(getattr(self, option.name))]
        if wrong:
            return list(map(self._refuse, wrong))
        wrong = [option for option in options if not option.allows(getattr(self, option.name))]
        return [*map(self._refuse, wrong), *self.contradictions()]

    def contradictions(self) -> list[Problem]:
        """Returns the contradictions between settings, whose types have already been checked."""
        return []

    def _problem(self, sentence: str, **details: Any) -> Problem:
        return Problem(sentence, vars(self), details)

    def _refuse(self, option: Option) -> Problem:
        name = option.name
        expected = option.requirement()
        return self._problem(f"{{{name}}} must be {expected}. Received: {{{name}.value!r}}")

    def replace(self, **changes: Any) -> Self:
        """Returns a copy with some settings changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values that JSON can hold."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of ``to_dict``. Also accepts former names, and a string for a list of one.

        Raises:
            ValueError: If settings do not exist in this version, or if one is given under both its
                present and a former name with different values. The error names them.
        """
        values = cls._under_present_names(values)
        unknown = sorted(set(values) - set(cls.options()))
        if unknown:
            raise ValueError(f"Unknown settings: {', '.join(unknown)}")
        return cls(**values)

    @classmethod
    def _under_present_names(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Renames former names to present ones, and turns lists into tuples."""
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        for name, option in cls.options().items():
            for former in option.former:
                if former in values:
                    value = values.pop(former)
                    if values.setdefault(name, value) != value:
                        raise ValueError(
                            f"{former} is a former name of {name}, so both must be equal. "
                            f"Received: {value!r} and {values[name]!r}"
                        )
        return values
