"""Which metrics the callbacks of a foreign app monitor, as its configuration says.

A configuration names the class of a callback by `_target_` (Hydra) or by `class_path` (LightningCLI). The monitored
metric is compared at the rungs if the user names no objective.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, final

__all__ = ["Monitor", "class_names", "monitors"]

_CALLBACKS = ("ModelCheckpoint", "EarlyStopping")
_MODES = ("min", "max")


@final
@dataclass(frozen=True, slots=True)
class Monitor:
    """A metric that a callback of the app monitors.

    Attributes:
        where: the callback's key in the configuration.
        callback: the name of the callback's class.
    """

    metric: str
    mode: str
    where: str
    callback: str = field(default="", compare=False)


def monitors(plain: Any, value: Callable[[str], Any]) -> list[Monitor]:
    """Return what the app's callbacks monitor: every `ModelCheckpoint` first, then every `EarlyStopping`.

    Classes of the user count if their name ends with one of these. A callback whose metric or mode is known only while
    the app runs is left out.

    Args:
        plain: the configuration as plain data, as it is written.
        value: returns the value of a dotted name, with resolved interpolations; None if it has no value.
    """
    found = [(kind, name, where) for name, where in class_names(plain) if (kind := _kind(name)) is not None]
    read = []
    for _, name, where in sorted(found, key=lambda item: item[0]):
        metric, mode = value(f"{where}.monitor"), value(f"{where}.mode")
        if mode is None and not _has(plain, f"{where}.mode"):
            mode = _MODES[0]
        if isinstance(metric, str) and mode in _MODES:
            place = re.sub(r"\.(\d+)", r"[\1]", where.removesuffix(".init_args"))
            read.append(Monitor(metric, mode, place, name.rpartition(".")[2]))
    return read


def class_names(plain: Any) -> Iterator[tuple[str, str]]:
    """Yield the class of each object that a configuration builds, and the dotted name of the object's arguments."""
    for path, node in _mappings(plain, ""):
        if isinstance(target := node.get("_target_"), str):
            yield target, path
        elif isinstance(target := node.get("class_path"), str):
            yield target, f"{path}.init_args" if path else "init_args"


def _kind(class_name: str) -> int | None:
    """Return the place of a callback's class in the order in which monitors count; None for other classes."""
    return next((index for index, name in enumerate(_CALLBACKS) if class_name.endswith(name)), None)


def _mappings(node: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every mapping below a node with its dotted name; Hydra's own node is left out."""
    if isinstance(node, Mapping):
        yield path, node
        items = [(f"{path}.{key}" if path else str(key), value) for key, value in node.items() if key != "hydra"]
    elif isinstance(node, list):
        items = [(f"{path}.{index}" if path else str(index), value) for index, value in enumerate(node)]
    else:
        return
    for inner, value in items:
        yield from _mappings(value, inner)


def _has(plain: Any, name: str) -> bool:
    """Return whether a configuration writes a value other than null under a dotted name."""
    return any(path == name.rpartition(".")[0] and node.get(name.rpartition(".")[2]) is not None
               for path, node in _mappings(plain, ""))  # fmt: skip
