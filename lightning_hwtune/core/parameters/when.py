"""The condition under which a parameter exists: other parameters, and the values that they must have.

`when={"optimizer": "sgd"}` is one value, `when={"optimizer": ["sgd", "rmsprop"]}` several of which one is enough. If
several parameters are named, all of them must have one of their values. A list always means several values, so an
option that is itself a list is written inside a list. Values are compared as the options of a `Choice` are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

from lightning_hwtune.core.parameters.options import Option, abbreviated, handed_out, option_key, plain_options
from lightning_hwtune.errors import ArgumentError, shown
from lightning_hwtune.forms import FORMS, elements
from lightning_hwtune.forms.kinds import Refused

__all__ = ["When", "read_when", "when_form", "when_text"]

_MAX_VALUES = 1_000_000
_VALUES = elements("a value, or a list of values", _MAX_VALUES)


@final
class When(Mapping[str, tuple[Option, ...]]):
    """Name of another parameter -> the values that it must have; see the module.

    Two conditions are equal if they allow the same values, in whatever order they are written.
    """

    __slots__ = ("_identity", "_values")

    def __init__(self, values: Mapping[str, tuple[Option, ...]]) -> None:
        self._values = dict(values)
        self._identity = frozenset((name, frozenset(map(option_key, found))) for name, found in self._values.items())

    def __getitem__(self, name: str) -> tuple[Option, ...]:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, When) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __reduce__(self) -> tuple[Any, ...]:
        return When, (self._values,)

    def __repr__(self) -> str:
        return repr(self.to_dict())

    def __str__(self) -> str:
        return " and ".join(f"{name} is {_listed(values)}" for name, values in self._values.items())

    def to_dict(self) -> dict[str, Any]:
        """Returns the form used in study files, in which a single value stands without a list."""
        return {name: _written(values) for name, values in self._values.items()}


def read_when(argument: str, given: Mapping[str, Any] | None) -> When | None:
    """Returns the condition that a user has written; None for None.

    Raises:
        ArgumentError: it is not a mapping from names to values, or one of the names has no values.
    """
    if given is None or isinstance(given, When):
        return given
    form = FORMS["Float"]["when"]
    found = form.read(argument, given)
    if not found:
        raise ArgumentError(argument, given, form.allowed, hint="Leave it out for a parameter that always exists.")
    return When({name: _read_values(argument, name, value) for name, value in found.items()})


def when_text(when: Mapping[str, Any] | None) -> str:
    """Returns the end of a parameter's `repr`; empty if it always exists."""
    return "" if when is None else f", when={when!r}"


def when_form(when: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns the entry of a parameter's form in study files; empty if it always exists."""
    return {"when": when.to_dict()} if isinstance(when, When) else {}


def _read_values(argument: str, name: str, value: object) -> tuple[Option, ...]:
    try:
        listed = _VALUES.accept(value)
    except Refused:
        listed = [value]
    if not listed:
        raise ArgumentError(argument, {name: value}, f"at least one value of {name}")
    values = plain_options(listed, argument)
    if len(set(map(option_key, values))) < len(values):
        raise ArgumentError(argument, {name: value}, f"each value of {name} once")
    return tuple(values)


def _written(values: tuple[Option, ...]) -> Any:
    is_one = len(values) == 1 and not isinstance(values[0], list)
    return handed_out(values[0]) if is_one else [handed_out(value) for value in values]


def _listed(values: tuple[Option, ...]) -> str:
    return shown(values[0]) if len(values) == 1 else f"one of {abbreviated(values)}"
