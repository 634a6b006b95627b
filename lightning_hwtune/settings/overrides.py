"""Hydra-style overrides behind a study file: `key=value` changes, `+key=value` adds, `~key` removes.

The grammar of the text is Hydra's own. What differs: there is no sweep (the study is the sweep), and a key may hold
dots itself, as parameters do: in `space.model.lr.low=1e-5` the parameter is `model.lr` if the file has one of that
name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_hwtune.errors import ArgumentError, nearest
from lightning_hwtune.names import refuse_unknown_keys

__all__ = ["Override", "apply_overrides", "parse_overrides"]

_FORMS = "'key=value', '+key=value' for a new entry, '++key=value' for either, or '~key' to remove one"
_MAX_DEPTH = 20  # the time that Hydra's parser takes grows with the square of the depth, and more
_MAPPINGS = ("scheduler", "searcher", "pool")  # made when an override speaks of them and the file does not


@dataclass(frozen=True, slots=True)
class Override:
    """One override.

    Attributes:
        text: as it was given. action: "change", "add", "set" (either of them) or "remove".
        key: with dots. value: plain data. has_value: False for a removal that does not say what it expects.
    """

    text: str
    action: str
    key: str
    value: Any
    has_value: bool


def parse_overrides(texts: Sequence[str]) -> list[Override]:
    """Returns the overrides in their order.

    Raises:
        ArgumentError: a text is no override, or asks for a sweep.
    """
    if not texts:
        return []
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    return [_parse(parser, text) for text in texts]


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
    except HydraException as error:
        raise ArgumentError("override", text, _FORMS, hint=f"({str(error).splitlines()[0]})") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ArgumentError("override", text, _FORMS, hint=f"({type(error).__name__}: {str(error)[:80]})") from None
    if parsed.type not in actions or parsed.package is not None:
        raise ArgumentError("override", text, _FORMS)
    if parsed.is_sweep_override():
        hint = "A list is written [a,b]; what is to be searched belongs in the space."
        raise ArgumentError("override", text, "one value a key", hint=hint)
    return Override(text, actions[parsed.type], parsed.key_or_group, value, "=" in text)


def _depth(text: str) -> int:
    """Returns how many brackets are open at most."""
    steps = ((letter in "[{(") - (letter in "]})") for letter in text)
    return max(itertools.accumulate(steps), default=0)


def apply_overrides(data: MutableMapping[str, Any], overrides: Iterable[Override], known: Sequence[str]) -> None:
    """Changes a study file's plain data; `known` are the keys that it may have at the top.

    Raises:
        ArgumentError: an override names something that is not there, or adds what is there already.
    """
    for override in overrides:
        first, _, rest = override.key.partition(".")
        if rest and first in _MAPPINGS and data.get(first) is None:
            data[first] = {}
        node, key = _locate(data, override)
        is_parameter = node is data.get("space")
        if override.action == "remove":
            _remove(node, key, override)
        elif _is_there(node, key):
            if override.action == "add":
                raise ArgumentError("override", override.text, f"{override.text[1:]!r}: it is there already")
            node[key] = override.value
        elif node is data:
            refuse_unknown_keys("override ", {key: override.value}, known)
            node[key] = override.value
        elif override.action == "change" and is_parameter:
            raise _absent(override, key, node, hint=f"A new parameter is written +{override.text}.")
        else:
            node[key] = override.value


def _locate(data: MutableMapping[str, Any], override: Override) -> tuple[Any, Any]:
    """Returns the mapping or list that the key leads to, and the last key, which need not be there."""
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
    """Returns the key of `node` that the most leading parts make up, and their number."""
    if isinstance(node, list):
        if parts[0].isdecimal() and int(parts[0]) < len(node):
            return int(parts[0]), 1
        raise ArgumentError("override", override.text, f"a place in that list, from 0 to {len(node) - 1}")
    if isinstance(node, Mapping):
        names = ((".".join(parts[:n]), n) for n in range(len(parts), 0, -1))
        return next(((name, n) for name, n in names if name in node), (parts[0], 1))
    raise ArgumentError("override", override.text, f"a key of a mapping; {parts[0]!r} would be one of {node!r}")


def _is_there(node: Any, key: Any) -> bool:
    return isinstance(node, list) or key in node


def _remove(node: Any, key: Any, override: Override) -> None:
    if not _is_there(node, key):
        raise _absent(override, key, node)
    if override.has_value and node[key] != override.value:
        raise ArgumentError("override", override.text, f"'~{override.key}' or its value, {node[key]!r}")
    del node[key]


def _absent(override: Override, key: str, there: Iterable[object], hint: str = "") -> ArgumentError:
    names = [str(name) for name in there]
    close = (nearest(key, names) or nearest(key.partition(".")[0], names)).removeprefix("; ")
    hints = [close[:1].upper() + close[1:], hint]
    return ArgumentError("override", override.text, f"the keys {', '.join(names)}", hint=" ".join(filter(None, hints)))
