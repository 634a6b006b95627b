"""The values that an event's fields may have: a damaged log is refused here, before any of it is used."""

from __future__ import annotations

import dataclasses
import reprlib
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.errors import StorageError

__all__ = ["Shape"]

_Test = Callable[[object], bool]
_Form = tuple[str, frozenset[type], _Test]


@final
class Shape:
    """The fields that one kind of event must and may have, each with its form.

    A form is given in words, as the types whose values all fit, and as a test for values of other types.
    """

    def __init__(self, cls: type) -> None:
        hints, fields = typing.get_type_hints(cls), dataclasses.fields(cls)
        self._kind = cls.__name__
        self._forms: dict[str, _Form] = {field.name: _form(hints[field.name]) for field in fields}
        self._needed = [field.name for field in fields if _is_needed(field)]
        self._allocations = [name for name, (_, kinds, _) in self._forms.items() if Allocation in kinds]

    def converted(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Returns the fields with allocations in place of their plain data; changes the dict.

        Raises:
            StorageError: the data of an allocation has another form.
        """
        for name in self._allocations:
            if isinstance(value := fields.get(name), dict):
                try:
                    fields[name] = Allocation.from_dict(value)
                except ValueError as error:
                    raise StorageError(f"{self._kind}: {name}: {error}: the log is damaged") from None
        return fields

    def fits(self, fields: Mapping[str, object]) -> bool:
        """Returns whether no field is unknown or missing, and each value has the form of its field."""
        forms = self._forms
        for name, value in fields.items():
            if (form := forms.get(name)) is None or (type(value) not in form[1] and not form[2](value)):
                return False
        return len(fields) == len(forms) or all(name in fields for name in self._needed)

    def complaint(self, fields: Mapping[str, object]) -> str:
        """Returns what is wrong with fields that do not fit."""
        for name in fields:
            if name not in self._forms:
                return f"the field {name!r} of {self._kind} is unknown to this version: a newer version wrote it"
        for name in self._needed:
            if name not in fields:
                return f"{self._kind} lacks the field {name!r}: the log is damaged"
        wrong = (
            f"{name} is {reprlib.repr(fields[name])} instead of {words}"
            for name, (words, kinds, is_fit) in self._forms.items()
            if name in fields and type(fields[name]) not in kinds and not is_fit(fields[name])
        )
        return f"{self._kind}: {next(wrong)}: the log is damaged"


def _is_needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _form(hint: Any) -> _Form:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        forms = [_form(argument) for argument in arguments]
        tests = [test for _, _, test in forms]
        kinds = frozenset().union(*(kinds for _, kinds, _ in forms))
        return " or ".join(words for words, _, _ in forms), kinds, lambda value: any(test(value) for test in tests)
    if origin is Mapping and arguments[1] is Any:
        return "a mapping", frozenset({dict}), lambda value: isinstance(value, Mapping)
    if origin is Mapping:
        is_cells = _are(arguments[1])
        return "a mapping", frozenset(), lambda value: isinstance(value, Mapping) and is_cells(value.values())
    if origin is Sequence:
        is_items = _are(arguments[0])
        return "a list", frozenset(), lambda value: isinstance(value, list | tuple) and is_items(value)
    return _PLAIN[hint]


def _are(hint: Any) -> Callable[[Iterable[object]], bool]:
    """Returns the test of whether all of some values have this form."""
    _, kinds, is_fit = _form(hint)
    return lambda values: kinds.issuperset(map(type, values)) or all(map(is_fit, values))


def _is_number(kinds: type | types.UnionType) -> _Test:
    return lambda value: isinstance(value, kinds) and not isinstance(value, bool)


_PLAIN: dict[Any, _Form] = {
    Allocation: ("an allocation", frozenset({Allocation}), lambda value: isinstance(value, Allocation)),
    Any: ("anything", frozenset(), lambda value: True),
    float: ("a number", frozenset({int, float}), _is_number(int | float)),
    int: ("an integer", frozenset({int}), _is_number(int)),
    bool: ("true or false", frozenset({bool}), lambda value: isinstance(value, bool)),
    str: ("text", frozenset({str}), lambda value: isinstance(value, str)),
    types.NoneType: ("null", frozenset({types.NoneType}), lambda value: value is None),
}
