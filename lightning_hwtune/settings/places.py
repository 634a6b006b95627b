"""Where a wrong value is: errors about arguments get the key of the study file and the file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from lightning_hwtune.errors import ArgumentError, UnknownArgumentError
from lightning_hwtune.forms.study_keys import FILE_KEYS

__all__ = ["in_file", "keyed", "located", "renamed"]

_KEYS: Mapping[str, str] = {
    "name": "study",
    "grid": "searcher",
    "within": "scheduler.within",
    "Pool.devices": "pool.devices",
    "Pool.instance": "pool.instance",
    "Pool.spot": "pool.spot",
    "Pool.nodes": "pool.nodes",
}


def in_file(path: str | Path) -> contextlib.AbstractContextManager[None]:
    """Returns a context that adds the file's path to errors about arguments."""
    return located(f"{path}: ")


def located(prefix: str) -> contextlib.AbstractContextManager[None]:
    """Adds a prefix to the argument's name in errors about arguments."""
    is_part = prefix.endswith(".")
    return renamed(lambda name: f"{prefix}{name.rpartition('.')[2] if is_part else name}")


def keyed(space: Collection[str]) -> contextlib.AbstractContextManager[None]:
    """Replaces the names of Python arguments by keys of the study file in errors."""
    return renamed(lambda name: f"space.{name}" if name in space and name not in FILE_KEYS else _KEYS.get(name, name))


@contextlib.contextmanager
def renamed(as_name: Callable[[str], str]) -> Iterator[None]:
    """Changes the name of the argument in errors about arguments."""
    try:
        yield
    except ArgumentError as error:
        allowed = error.allowed.replace("or None", "or null")
        raise ArgumentError(as_name(error.argument), error.received, allowed, hint=error.hint) from None
    except UnknownArgumentError as error:
        raise type(error)(as_name(error.given), error.here) from None
