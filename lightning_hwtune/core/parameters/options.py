"""Options of a `Choice`: any value that JSON can represent, and when two of them count as the same.

1 and 1.0 are the same option, because a table or a study file may turn one into the other. True and 1 are different,
and so are 1 and "1". The same applies inside lists and mappings. The order of a mapping's keys does not matter.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import elements, entries, plain, reading
from lightning_hwtune.text import check_text

__all__ = [
    "Option",
    "abbreviated",
    "all_numbers",
    "copied",
    "handed_out",
    "kind_key",
    "listed",
    "option_key",
    "plain_option",
    "plain_options",
]

T = TypeVar("T")

Option = str | int | float | bool | list[Any] | dict[str, Any] | None

_MAX_OPTIONS = 1_000_000
_MAX_DEPTH = 20  # of nested lists and mappings
_LARGEST_INT = 2**63 - 1  # limit of databases, numpy and other languages that read the log
_ALLOWED = "text, finite numbers, True, False, None, and lists and mappings of these"
_PLAIN = frozenset({str, int, float, bool, type(None)})
_SHOWN = 20  # number of options listed in a message


_LIST = elements("a list such as Choice(['adam', 'sgd'])", _MAX_OPTIONS, hint="Use Int(low, high) for integers.")


def listed(options: object) -> list[object]:
    """Returns the options in the given order. Text is not a list, and a set has no lasting order."""
    found: list[object] = _LIST.read("Choice.options", options)
    return found


def plain_option(value: object, argument: str = "Choice.options") -> Option:
    """Returns a plain copy, because subclasses, such as an enumeration of texts, would not survive the log.

    Raises:
        ArgumentError: JSON cannot represent the value.
    """
    with reading(argument, value, _ALLOWED):
        return _plain_option(value, argument, 0)


def plain_options(values: Sequence[object], argument: str) -> list[Option]:
    """Returns plain copies of several values."""
    with reading(argument, values, _ALLOWED):
        return [_plain_option(value, argument, 0) for value in values]


def _plain_option(value: object, argument: str, depth: int) -> Option:
    option = value if type(value) in _PLAIN else plain(value)
    if option is None or isinstance(option, bool):
        return option
    if isinstance(option, str):
        check_text(argument, option)
        return str.__str__(option)
    if isinstance(option, int):
        if abs(option) > _LARGEST_INT:
            raise _refused(argument, value, "It is larger than 2**63 - 1.")
        return int(option)
    if isinstance(option, float) and math.isfinite(option):
        return float(option) + 0.0  # turns -0.0 into 0.0, which is equal but written differently
    if isinstance(option, list | tuple | Mapping):
        if depth >= _MAX_DEPTH:
            raise _refused(argument, value, f"Lists and mappings are nested more than {_MAX_DEPTH} deep.")
        if not isinstance(option, Mapping):
            return [_plain_option(item, argument, depth + 1) for item in option]
        found = entries(option)
        if all(isinstance(key, str) for key in found):
            for key in found:
                check_text(argument, key)
            return {str.__str__(key): _plain_option(item, argument, depth + 1) for key, item in found.items()}
    raise _refused(argument, value, "Use a name here, and look the object up by that name in the training code.")


def option_key(option: object) -> Hashable:
    """Returns the key by which two options count as the same; see the module's docstring."""
    if isinstance(option, list | tuple):
        return "list", tuple(map(option_key, option))
    if isinstance(option, Mapping):
        return "mapping", frozenset((key, option_key(item)) for key, item in option.items())
    return isinstance(option, bool), option


def kind_key(option: object) -> Hashable:
    """Returns a key like `option_key` that differs for 1 and 1.0, which a configuration file writes differently."""
    if isinstance(option, list):
        return "list", tuple(map(kind_key, option))
    if isinstance(option, Mapping):
        return "mapping", tuple((key, kind_key(item)) for key, item in option.items())
    return type(option), option


def copied(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of a configuration whose options may be changed by the caller."""
    return {name: handed_out(value) for name, value in config.items()}


def handed_out(option: T) -> T:
    """Returns an option for a configuration: a copy if it is a list or mapping, so that the caller may change it."""
    return copy.deepcopy(option) if isinstance(option, list | dict) else option


def all_numbers(options: Sequence[Option]) -> bool:
    """Returns whether all options are numbers. True and False are not numbers here."""
    return all(isinstance(option, int | float) and not isinstance(option, bool) for option in options)


def abbreviated(options: Sequence[Option]) -> str:
    """Returns the options as text; only the first ones if there are many."""
    if len(options) <= _SHOWN:
        return repr(list(options))
    first = ", ".join(map(repr, options[: _SHOWN // 2]))
    return f"[{first}, ... {len(options) - _SHOWN // 2} more]"


def _refused(argument: str, value: object, hint: str) -> ArgumentError:
    return ArgumentError(argument, value, _ALLOWED, hint=hint)
