"""Unknown names: all interfaces give the same hints for names from other tools and for misspellings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lightning_hwtune.errors import (
    ArgumentError,
    RenamedArgumentError,
    RenamedAttributeError,
    UnknownArgumentError,
    UnknownAttributeError,
    nearest,
    shown,
)
from lightning_hwtune.names.attributes import ATTRIBUTES
from lightning_hwtune.names.keywords import FILE_KEYWORDS, KEYWORDS

__all__ = ["refuse_unknown", "refuse_unknown_keys", "unknown_attribute"]


def refuse_unknown(
    where: str,
    given: Iterable[str],
    known: Iterable[str] = (),
    elsewhere: Mapping[str, str] | None = None,
    owners: Mapping[str, str] | None = None,
) -> None:
    """Raises an error if `given` is not empty; the message has the name to use instead of the first one.

    Args:
        where: the call, for the message.
        given: the unknown names.
        known: names that the call accepts.
        elsewhere: maps names that another call accepts to that call.
        owners: maps arguments of the package to the call that users pass them to, for those that are not in
            `elsewhere`.

    Raises:
        RenamedArgumentError: the name is from another tool or belongs to another call; the message has the name or
            the call to use.
        UnknownArgumentError: the name is completely unknown; the message has all accepted names and the nearest one.
    """
    known, elsewhere, owners = list(known), elsewhere or {}, owners or {}
    for name in given:
        place = elsewhere.get(name) or (owners.get(name) if name not in KEYWORDS else None)
        if place is not None:
            raise RenamedArgumentError(f"{where}({name}=...)", f"use {place}")
        if name in KEYWORDS and name not in known:
            raise RenamedArgumentError(f"{where}({name}=...)", _placed(KEYWORDS[name], known, {**elsewhere, **owners}))
        takes = f"{where} takes {', '.join(known)}" if known else f"{where} takes no arguments"
        raise UnknownArgumentError(f"{where}({name}=...)", f"{takes}{nearest(name, known)}")


def _placed(answer: str, known: Iterable[str], places: Mapping[str, str]) -> str:
    """Returns an answer that names the call or the part of its argument only if that is another one than this."""
    found = re.match(r"use `(\w+)`( of [\w.]+(\(\.\.\.\))?)?", answer)
    if found is None or found[1] not in {*known, *places}:
        return answer
    place = f"`{found[1]}`" if found[1] in known else places[found[1]]
    return f"use {place}{answer[found.end() :]}"


def refuse_unknown_keys(
    where: str,
    given: Mapping[str, object],
    known: Iterable[str],
    elsewhere: Mapping[str, str] | None = None,
    places: Mapping[str, str] | None = None,
) -> None:
    """Does the same for the keys of a study file or of a node that has the same keys.

    Args:
        where: this is put before the name of the key, e.g. "pool.".
        given: the keys and their values.
        known: the keys that are accepted.
        elsewhere: for each key of study files that is not accepted here, and for other names: what to do instead.
        places: maps keys to the places where they are set.

    Raises:
        RenamedArgumentError: the key is a name from another tool, or is set elsewhere.
        ArgumentError: the key is completely unknown; the message suggests the nearest known name.
    """
    known, elsewhere = list(known), elsewhere or {}
    for name, value in given.items():
        if name in known:
            continue
        answer = elsewhere.get(name) or FILE_KEYWORDS.get(name)
        if answer is not None:
            ours = re.match(r"use `(\w+)`", answer)
            other = elsewhere.get(ours[1]) if ours else None
            raise RenamedArgumentError(f"{where}{name}", other or _placed(answer, known, places or {}))
        if places and name in places:
            raise RenamedArgumentError(f"{where}{name}", f"use {places[name]}")
        close = nearest(name, known).removeprefix("; ")
        hint = close[:1].upper() + close[1:]
        key = name if isinstance(name, str) else shown(name)
        raise ArgumentError(f"{where}{key}", value, f"the keys {', '.join(known) or '(none)'}", hint=hint)


def unknown_attribute(owner: str, name: str, known: Iterable[str]) -> AttributeError:
    """Returns the error for an attribute that does not exist. Private names, which Python looks up, get no hint.

    Args:
        owner: class or module, as in the table.
        known: its public attributes.
    """
    if name.startswith("_"):
        return AttributeError(f"{owner} has no attribute {name!r}", name=name)
    public = [item for item in known if not item.startswith("_")]
    if here := ATTRIBUTES.get(owner, {}).get(name):
        return RenamedAttributeError(f"{owner}.{name}", here)
    return UnknownAttributeError(f"{owner}.{name}", f"the attributes are {', '.join(public)}{nearest(name, public)}")
