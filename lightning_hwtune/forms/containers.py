"""Kinds of values that contain others: lists, mappings, and everything else that can be iterated once.

A generator is read here once and becomes a list. Text, mappings and sets are not accepted as lists: the characters of
a text are not what was meant, and the order of a set is not stable.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import itertools
from collections import UserString
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightning_hwtune.forms.kinds import Form, Refused, is_masked, is_python_name

__all__ = ["elements", "entries", "list_of_callables", "list_of_names", "mapping", "sequence"]

_MAX_NAMES = 10_000  # in one list
_MAX_ENTRIES = 100_000  # in one mapping; a user-defined mapping may be endless
_NO_LISTS = (str, bytes, bytearray, memoryview, Mapping, set, frozenset, UserString, io.IOBase, type)


def elements(allowed: str, most: int, *, hint: str = "") -> Form:
    """Lists, and everything else with ordered elements: tuples, generators, arrays, series.

    Args:
        allowed: description of the allowed values, for messages.
        most: maximum number of elements.
        hint: advice if there are more.
    """

    def accept(value: Any) -> list[Any]:
        if isinstance(value, _NO_LISTS) or is_masked(value) or not isinstance(value, Iterable):
            raise Refused
        if getattr(value, "ndim", 1) == 0:
            raise Refused
        if hasattr(type(value), "ndim") and not hasattr(type(value), "tolist"):
            raise Refused  # iterating over a data frame gives its columns
        array: Any = value
        found = list(itertools.islice(array.tolist() if hasattr(type(value), "ndim") else value, most + 1))
        if len(found) > most:
            raise Refused(f"It has more than {most} elements. {hint}".strip())
        return found

    return Form("list", allowed, accept, schema={"type": "array"})


def entries(value: Mapping[Any, Any]) -> dict[Any, Any]:
    """Returns a mapping's entries as a dict; must be called inside `reading`.

    Raises:
        OverflowError: there are too many entries, or the mapping is endless.
    """
    keys = list(itertools.islice(value, _MAX_ENTRIES + 1))
    if len(keys) > _MAX_ENTRIES:
        raise OverflowError(f"more than {_MAX_ENTRIES} entries")
    return {key: value[key] for key in keys}


def sequence(allowed: str) -> Form:
    """Lists and tuples."""

    def accept(value: Any) -> Sequence[Any]:
        if not isinstance(value, list | tuple):
            raise Refused
        return value

    return Form("list", allowed, accept, schema={"type": "array"})


def mapping(allowed: str, *, or_text: bool = False) -> Form:
    """Mappings with strings as keys; with `or_text`, text is allowed too."""

    def accept(value: Any) -> Any:
        if or_text and isinstance(value, str):
            return value
        if not isinstance(value, Mapping):
            raise Refused
        found = entries(value)
        if not all(isinstance(key, str) for key in found):
            raise Refused
        return found

    schema = {"type": ["object", "string"] if or_text else "object"}
    return Form("mapping or text" if or_text else "mapping", allowed, accept, schema=schema)


def list_of_names(allowed: str) -> Form:
    """Lists of dotted Python names; a single text is not a list."""
    read = elements(allowed, _MAX_NAMES).accept

    def accept(value: Any) -> tuple[str, ...]:
        names = tuple(read(value))
        if not all(isinstance(name, str) and is_python_name(name) for name in names):
            raise Refused
        return tuple(str.__str__(name) for name in names)

    return Form("list", allowed, accept, schema={"type": "array", "items": {"type": "string"}})


def list_of_callables(allowed: str) -> Form:
    """Lists of functions of one argument, or of their import paths; a single one is not a list."""
    read = elements(allowed, _MAX_NAMES).accept

    def accept(value: Any) -> tuple[Any, ...]:
        return tuple(_callable(item) for item in read(value))

    return Form("list", allowed, accept, schema={"type": "array", "items": {"type": "string"}})


def _callable(item: Any) -> Any:
    if isinstance(item, str):
        module, _, name = item.partition(":")
        if not (is_python_name(module) and name.isidentifier()):
            raise Refused
        return str.__str__(item)
    if not callable(item) or isinstance(item, type):
        raise Refused
    with contextlib.suppress(ValueError, TypeError):  # some callables have no signature
        inspect.signature(item)
        try:
            inspect.signature(item).bind(None)
        except TypeError:
            raise Refused(f"{getattr(item, '__qualname__', item)} cannot be called with one argument.") from None
    return item
