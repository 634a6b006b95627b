"""Options of a `Choice`: any value that JSON can hold, and what makes two of them the same.

1 and 1.0 are the same option, as a table or a study file may turn one into the other. True and 1 are not, and neither
are 1 and "1". The same holds inside lists and mappings; the order of a mapping's keys does not count.
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
_MAX_DEPTH = 20  # of lists and mappings inside each other
_LARGEST_INT = 2**63 - 1  # what databases, numpy and other languages that read the log can hold
_ALLOWED = "text, finite numbers, True, False, None, and lists and mappings of these"
_PLAIN = frozenset({str, int, float, bool, type(None)})
_SHOWN = 20  # options that a message lists


_LIST = elements("a list such as Choice(['adam', 'sgd'])", _MAX_OPTIONS, hint="Use Int(low, high) for integers.")


def listed(options: object) -> list[object]:
    """Returns the options in the order given; text is no list, and a set has no order that lasts."""
    found: list[object] = _LIST.read("Choice.options", options)
    return found


def plain_option(value: object, argument: str = "Choice.options") -> Option:
    """Returns a plain copy: subclasses, an enumeration that is also text, say, would not survive the log.

    Raises:
        ArgumentError: JSON cannot hold it.
    """
    with reading(argument, value, _ALLOWED):
        return _plain_option(value, argument, 0)


def plain_options(values: Sequence[object], argument: str) -> list[Option]:
    """Returns plain copies of many."""
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
            raise _refused(argument, value, "It is above 2**63 - 1.")
        return int(option)
    if isinstance(option, float) and math.isfinite(option):
        return float(option) + 0.0  # turns -0.0 into 0.0: they are equal, but are not written alike
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
    raise _refused(argument, value, "Give anything else a name here, and look it up by that name in the training code.")


def option_key(option: object) -> Hashable:
    """Returns what makes two options the same; see the module."""
    if isinstance(option, list | tuple):
        return "list", tuple(map(option_key, option))
    if isinstance(option, Mapping):
        return "mapping", frozenset((key, option_key(item)) for key, item in option.items())
    return isinstance(option, bool), option


def kind_key(option: object) -> Hashable:
    """Returns the same, but tells 1 from 1.0: they are written differently into a configuration file."""
    if isinstance(option, list):
        return "list", tuple(map(kind_key, option))
    if isinstance(option, Mapping):
        return "mapping", tuple((key, kind_key(item)) for key, item in option.items())
    return type(option), option


def copied(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a configuration with options that its receiver may change."""
    return {name: handed_out(value) for name, value in config.items()}


def handed_out(option: T) -> T:
    """Returns the option for a configuration: a copy of a list or mapping, which its receiver may change."""
    return copy.deepcopy(option) if isinstance(option, list | dict) else option


def all_numbers(options: Sequence[Option]) -> bool:
    """Returns whether all options are numbers; True and False are not."""
    return all(isinstance(option, int | float) and not isinstance(option, bool) for option in options)


def abbreviated(options: Sequence[Option]) -> str:
    """Returns the options as text, the first of them where there are many."""
    if len(options) <= _SHOWN:
        return repr(list(options))
    first = ", ".join(map(repr, options[: _SHOWN // 2]))
    return f"[{first}, ... {len(options) - _SHOWN // 2} more]"


def _refused(argument: str, value: object, hint: str) -> ArgumentError:
    return ArgumentError(argument, value, _ALLOWED, hint=hint)
