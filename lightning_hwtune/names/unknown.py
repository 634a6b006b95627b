"""Unknown names: every way in answers a habit of another tool, or a slip, in the same words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lightning_hwtune.errors import ArgumentError, RenamedArgumentError, RenamedAttributeError, nearest, shown
from lightning_hwtune.names.attributes import ATTRIBUTES
from lightning_hwtune.names.keywords import FILE_KEYWORDS, KEYWORDS

__all__ = ["refuse_unknown", "refuse_unknown_keys", "unknown_attribute"]


def refuse_unknown(
    where: str, given: Iterable[str], known: Iterable[str] = (), elsewhere: Mapping[str, str] | None = None
) -> None:
    """Does nothing if `given` is empty; otherwise says what the first name is called here.

    Args:
        elsewhere: names that are known in another place -> where.

    Raises:
        RenamedArgumentError: what it is called here; for a name that nobody knows, all known ones and the nearest.
    """
    known = list(known)
    for name in given:
        if elsewhere and name in elsewhere:
            raise RenamedArgumentError(f"{where}({name}=...)", f"give it to {elsewhere[name]}")
        if name in KEYWORDS and name not in known:
            raise RenamedArgumentError(f"{where}({name}=...)", KEYWORDS[name])
        ours = f"{where} takes {', '.join(known)}" if known else f"{where} takes no arguments"
        raise RenamedArgumentError(f"{where}({name}=...)", f"{ours}{nearest(name, known)}")


def refuse_unknown_keys(where: str, given: Mapping[str, object], known: Iterable[str]) -> None:
    """The same for the keys of a study file; `where` goes before the key's name, e.g. "pool.".

    Raises:
        RenamedArgumentError: it is a name of another tool.
        ArgumentError: nobody knows it; the nearest known name is suggested.
    """
    known = list(known)
    for name, value in given.items():
        if name in known:
            continue
        if name in FILE_KEYWORDS:
            raise RenamedArgumentError(f"{where}{name}", FILE_KEYWORDS[name])
        close = nearest(name, known).removeprefix("; ")
        hint = close[:1].upper() + close[1:]
        key = name if isinstance(name, str) else shown(name)
        raise ArgumentError(f"{where}{key}", value, f"the keys {', '.join(known) or '(none)'}", hint=hint)


def unknown_attribute(owner: str, name: str, known: Iterable[str]) -> AttributeError:
    """Returns the error for an attribute that does not exist; private names, which Python itself asks for, get none.

    Args:
        owner: class or module, as in the table. known: its public attributes.
    """
    if name.startswith("_"):
        return AttributeError(f"{owner} has no attribute {name!r}", name=name)
    public = [item for item in known if not item.startswith("_")]
    here = ATTRIBUTES.get(owner, {}).get(name)
    return RenamedAttributeError(f"{owner}.{name}", here or f"there are {', '.join(public)}{nearest(name, public)}")
