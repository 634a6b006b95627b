"""Which values an event's fields may have: a damaged log is refused here, before anything is made of it."""

from __future__ import annotations

import functools
import reprlib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning_hwtune.core.allocation import Allocation

__all__ = ["misfit"]

_Test = Callable[[object], bool]


def misfit(cls: type, fields: Mapping[str, object]) -> str:
    """Returns what is wrong with the value of a field of `cls`, "" if every value has the form that is declared."""
    for name, (form, is_fit) in _forms(cls).items():
        if name in fields and not is_fit(fields[name]):
            return f"{name} is {reprlib.repr(fields[name])}, where {form} belongs"
    return ""


@functools.cache
def _forms(cls: type) -> dict[str, tuple[str, _Test]]:
    """Returns what is declared for each field: in words, and as a test."""
    return {name: _form(hint) for name, hint in typing.get_type_hints(cls).items()}


def _form(hint: Any) -> tuple[str, _Test]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        forms = [_form(argument) for argument in arguments]
        tests = [test for _, test in forms]
        return " or ".join(words for words, _ in forms), lambda value: any(test(value) for test in tests)
    if origin is Mapping:
        (_, is_cell) = _form(arguments[1])
        return "a mapping", lambda value: isinstance(value, Mapping) and all(map(is_cell, value.values()))
    if origin is Sequence:
        (_, is_item) = _form(arguments[0])
        return "a list", lambda value: isinstance(value, list | tuple) and all(map(is_item, value))
    return _PLAIN[hint]


def _is_number(kinds: type | types.UnionType) -> _Test:
    return lambda value: isinstance(value, kinds) and not isinstance(value, bool)


_PLAIN: dict[Any, tuple[str, _Test]] = {
    Allocation: ("an allocation", lambda value: isinstance(value, Allocation)),
    Any: ("anything", lambda value: True),
    float: ("a number", _is_number(int | float)),
    int: ("an integer", _is_number(int)),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    str: ("a text", lambda value: isinstance(value, str)),
    types.NoneType: ("null", lambda value: value is None),
}
