"""Hydra-style overrides of a study file: `key=value` changes, `+key=value` adds, `~key` removes.

The grammar is Hydra's own, with two differences. Sweeps are not allowed, because the study itself is the sweep. A key
may contain dots, as names of parameters do: in `space.model.lr.low=1e-5`, the parameter is `model.lr` if the file has a
parameter with this name.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_hwtune.errors import ArgumentError, nearest
from lightning_hwtune.names import refuse_unknown_keys

__all__ = ["Override", "apply_overrides", "parse_overrides"]

_FORMS = "'key=value', '+key=value' for a new entry, '++key=value' for either, or '~key' to remove one"
_KEY = re.compile(r"[+~]{0,2}[\w./-]+")
_MAX_DEPTH = 20  # the time of Hydra's parser grows at least with the square of the depth
_NAMED = ("scheduler", "searcher", "allocation")  # `tpe` is short for `{name: tpe}`
_MAPPINGS = (*_NAMED, "pool")  # created when an override uses one that is not there


@dataclass(frozen=True, slots=True)
class Override:
    """One override.

    Attributes:
        text: the override as given.
        action: "change", "add", "set" (either of them) or "remove".
        key: the key, with dots.
        value: plain data.
        has_value: False for a removal without an expected value.
    """

    text: str
    action: str
    key: str
    value: Any
    has_value: bool


def parse_overrides(texts: Sequence[str]) -> list[Override]:
    """Returns the overrides, in order.

    Raises:
        ArgumentError: a text is not an override, or asks for a sweep.
    """
    if not texts:
        return []
    from hydra.core.override_parser.overrides_parser import OverridesParser

    _check_written(texts)
    parser = OverridesParser.create()
    return [_parse(parser, text) for text in texts]


def _check_written(texts: Sequence[str]) -> None:
    """Refuses a key without a value, and says what to write."""
    for text, after in itertools.zip_longest(texts, texts[1:], fillvalue=""):
        if "=" in text or text.startswith("~"):
            continue
        key, colon, value = text.partition(":")
        if not colon and after and "=" not in after and not after.startswith(("~", "+")):
            raise ArgumentError("override", f"{key} {after}", "one word", hint=f"Write {key}={after}, without a space.")
        hint = f"Write {key}={value.strip() or 'VALUE'}."
        raise ArgumentError("override", text, "a key and its value, with = between them", hint=hint)


def _parse(parser: Any, text: str) -> Override:
    from hydra.core.override_parser.types import OverrideType
    from hydra.errors import HydraException

    if _depth(text) > _MAX_DEPTH:
        raise ArgumentError("override", text, f"lists and mappings of at most {_MAX_DEPTH} levels")
    actions = {
        OverrideType.CHANGE: "change",
        OverrideType.ADD: "add",
        OverrideType.FORCE_ADD: "set",
        OverrideType.DEL: "remove",
    }
    try:
        parsed = parser.parse_override(text)
        value = None if parsed.is_sweep_override() else parsed.value()
    except HydraException:
        raise _unreadable(text) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ArgumentError("override", text, _FORMS, hint=f"({type(error).__name__}: {str(error)[:80]})") from None
    if parsed.type not in actions or parsed.package is not None or not parsed.key_or_group:
        raise ArgumentError("override", text, _FORMS)
    if parsed.is_sweep_override():
        hint = "Write a list as [a,b], and put values to search into the space."
        raise ArgumentError("override", text, "one value per key", hint=hint)
    return Override(text, actions[parsed.type], parsed.key_or_group, value, "=" in text)


def _unreadable(text: str) -> ArgumentError:
    """Returns the error for a text that Hydra's grammar cannot read. It says what to write."""
    key, _, value = text.partition("=")
    if not _KEY.fullmatch(key):
        return ArgumentError("override", text, _FORMS)
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + found[2].replace('"', '\\"'), value)
    quoted = shlex.quote(f'{key}="{escaped}"')
    hint = f"To give this value as text, write {quoted}."
    return ArgumentError("override", text, "a value such as 0.01, adam, [1,2] or {a: 1}", hint=hint)


def _depth(text: str) -> int:
    """Returns the maximum number of brackets that are open at the same time."""
    steps = ((letter in "[{(") - (letter in "]})") for letter in text)
    return max(itertools.accumulate(steps), default=0)


def apply_overrides(data: MutableMapping[str, Any], overrides: Iterable[Override], known: Iterable[str]) -> None:
    """Changes a study file's plain data. `known` has the keys that are allowed at the top level.

    Raises:
        ArgumentError: an override changes or removes something that does not exist, or adds something that exists.
    """
    for override in overrides:
        first, _, rest = override.key.partition(".")
        if rest and first in _MAPPINGS and data.get(first) is None:
            data[first] = {}
        elif rest and first in _NAMED and isinstance(data[first], str):
            data[first] = {"name": data[first]}
        node, key = _locate(data, override)
        is_parameter = node is data.get("space")
        if override.action == "remove":
            _remove(node, key, override)
        elif _is_there(node, key):
            if override.action == "add":
                raise ArgumentError("override", override.text, f"{override.text[1:]!r}, because the key exists already")
            node[key] = override.value
        elif node is data:
            refuse_unknown_keys("override ", {key: override.value}, known)
            node[key] = override.value
        elif override.action == "change" and is_parameter:
            raise _absent(override, key, node, hint=f"To add a parameter, write +{override.text}.")
        else:
            node[key] = override.value


def _locate(data: MutableMapping[str, Any], override: Override) -> tuple[Any, Any]:
    """Returns the mapping or list that the key leads to, and the last key, which may not exist in it."""
    node: Any = data
    parts = override.key.split(".")
    while True:
        key, n = _step(node, parts, override)
        if n == len(parts):
            return node, key
        if not _is_there(node, key):
            if node is data.get("space"):
                return node, ".".join(parts)
            raise _absent(override, key, node)
        node, parts = node[key], parts[n:]


def _step(node: Any, parts: Sequence[str], override: Override) -> tuple[Any, int]:
    """Returns the key of `node` that matches the most leading parts, and the number of these parts."""
    if isinstance(node, list):
        if parts[0].isdecimal() and int(parts[0]) < len(node):
            return int(parts[0]), 1
        raise ArgumentError("override", override.text, f"an index of that list, from 0 to {len(node) - 1}")
    if isinstance(node, Mapping):
        names = ((".".join(parts[:n]), n) for n in range(len(parts), 0, -1))
        return next(((name, n) for name, n in names if name in node), (parts[0], 1))
    raise ArgumentError("override", override.text, f"a key of a mapping; {parts[0]!r} cannot be a key of {node!r}")


def _is_there(node: Any, key: Any) -> bool:
    return isinstance(node, list) or key in node


def _remove(node: Any, key: Any, override: Override) -> None:
    if not _is_there(node, key):
        raise _absent(override, key, node)
    if override.has_value and node[key] != override.value:
        raise ArgumentError("override", override.text, f"'~{override.key}', or its value {node[key]!r}")
    del node[key]


def _absent(override: Override, key: str, there: Iterable[object], hint: str = "") -> ArgumentError:
    names = [str(name) for name in there]
    close = (nearest(key, names) or nearest(key.partition(".")[0], names)).removeprefix("; ")
    hints = [close[:1].upper() + close[1:], hint]
    return ArgumentError("override", override.text, f"the keys {', '.join(names)}", hint=" ".join(filter(None, hints)))
