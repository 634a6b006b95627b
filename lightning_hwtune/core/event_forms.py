"""The values that an event's fields may have: a damaged log is refused here, before any of it is used."""

from __future__ import annotations

import functools
import reprlib
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lightning_hwtune.core.allocation import Allocation

__all__ = ["misfit"]

_Test = Callable[[object], bool]


def misfit(cls: type, fields: Mapping[str, object]) -> str:
    """Returns what is wrong with a field's value for an event of `cls`; "" if every value has its declared form."""
    for name, (form, kinds, is_fit) in _forms(cls).items():
        if name in fields and type(fields[name]) not in kinds and not is_fit(fields[name]):
            return f"{name} is {reprlib.repr(fields[name])} instead of {form}"
    return ""


@functools.cache
def _forms(cls: type) -> dict[str, tuple[str, frozenset[type], _Test]]:
    """Returns the declared form of each field: in words, as the types whose values all fit, and as a test."""
    return {name: _form(hint) for name, hint in typing.get_type_hints(cls).items()}


def _form(hint: Any) -> tuple[str, frozenset[type], _Test]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        forms = [_form(argument) for argument in arguments]
        tests = [test for _, _, test in forms]
        kinds = frozenset().union(*(kinds for _, kinds, _ in forms))
        return " or ".join(words for words, _, _ in forms), kinds, lambda value: any(test(value) for test in tests)
    if origin is Mapping:
        is_cells = _are(arguments[1])
        return "a mapping", frozenset(), lambda value: isinstance(value, dict | Mapping) and is_cells(value.values())
    if origin is Sequence:
        is_items = _are(arguments[0])
        return "a list", frozenset(), lambda value: isinstance(value, list | tuple) and is_items(value)
    return _PLAIN[hint]


def _are(hint: Any) -> Callable[[Iterable[object]], bool]:
    """Returns the test of whether all of some values have this form."""
    if hint is Any:
        return lambda values: True
    _, kinds, is_fit = _form(hint)
    return lambda values: all(type(value) in kinds or is_fit(value) for value in values)


def _is_number(kinds: type | types.UnionType) -> _Test:
    return lambda value: isinstance(value, kinds) and not isinstance(value, bool)


_PLAIN: dict[Any, tuple[str, frozenset[type], _Test]] = {
    Allocation: ("an allocation", frozenset({Allocation}), lambda value: isinstance(value, Allocation)),
    Any: ("anything", frozenset(), lambda value: True),
    float: ("a number", frozenset({int, float}), _is_number(int | float)),
    int: ("an integer", frozenset({int}), _is_number(int)),
    bool: ("true or false", frozenset({bool}), lambda value: isinstance(value, bool)),
    str: ("text", frozenset({str}), lambda value: isinstance(value, str)),
    types.NoneType: ("null", frozenset({types.NoneType}), lambda value: value is None),
}
