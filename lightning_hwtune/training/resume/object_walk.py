"""Finds objects that user code stores anywhere below its loaders, modules and callbacks, and their places.

A place is the path of attribute names, keys and indices that leads to an object. It is the same in each segment,
because each segment runs the same code. The search does not look into tensors, tables or long lists.
"""

from __future__ import annotations

import functools
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

__all__ = ["find"]

_MAX_DEPTH = 8
_MAX_ITEMS = 100  # longer lists and dictionaries are not searched
_MAX_OBJECTS = 5000
_PLAIN = (str, bytes, int, float, complex, type(None), type, types.ModuleType, torch.Tensor, np.ndarray, torch.dtype)
# objects of these packages lead to the whole program; user classes derived from theirs are searched
_CLOSED = frozenset({
    "lightning", "pytorch_lightning", "lightning_fabric", "lightning_hwtune", "pandas", "pyarrow", "multiprocessing",
    "threading", "logging",
})  # fmt: skip
_BARE_MODULE = frozenset(vars(torch.nn.Module()))
_SKIPPED = frozenset({"_trainer", "trainer", "_fabric", "_iterator", "log", "log_dict"})


def find(roots: Mapping[str, Any], is_wanted: Callable[[str, Any], bool]) -> Iterator[tuple[str, Any]]:
    """Yields each wanted object once with its place, those with the shortest paths first.

    Args:
        roots: the objects to search, by name.
        is_wanted: returns whether an object is wanted; called with its place and the object.
    """
    queue = deque((name, root, 0) for name, root in roots.items())
    seen: set[int] = set()
    while queue and len(seen) < _MAX_OBJECTS:
        place, value, depth = queue.popleft()
        if id(value) in seen or isinstance(value, _PLAIN):
            continue
        seen.add(id(value))
        if is_wanted(place, value):
            yield place, value
        if depth < _MAX_DEPTH and (depth == 0 or not _is_closed(value)):
            queue.extend((f"{place}.{name}", child, depth + 1) for name, child in _children(value))


def _is_closed(value: Any) -> bool:
    """Return whether an object's parts are not searched; Lightning's samplers and data sets are searched."""
    return type(value).__module__.partition(".")[0] in _CLOSED and not isinstance(value, Sampler | Dataset)


def _children(value: Any) -> list[tuple[str, Any]]:
    """Returns the named parts of an object."""
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()] if len(value) <= _MAX_ITEMS else []
    if isinstance(value, list | tuple):
        return [(str(i), item) for i, item in enumerate(value)] if len(value) <= _MAX_ITEMS else []
    if isinstance(value, functools.partial):
        return [("args", value.args), ("keywords", value.keywords)]
    if isinstance(value, types.MethodType):
        return [("self", value.__self__)]
    if isinstance(value, types.FunctionType):
        return _captured(value)
    parts = list(getattr(value, "__dict__", {}).items())
    if isinstance(value, torch.nn.Module):
        own = [(name, part) for name, part in parts if name not in _BARE_MODULE]
        parts = [*value._modules.items(), *own]
    return [(name, part) for name, part in parts if name not in _SKIPPED]


def _captured(function: types.FunctionType) -> list[tuple[str, Any]]:
    """Returns the objects that a function references: its closure and its default values."""
    names, cells = function.__code__.co_freevars, function.__closure__ or ()
    closure = [(name, _content(cell)) for name, cell in zip(names, cells, strict=True)]
    return [*closure, ("defaults", function.__defaults__ or ()), ("keywords", function.__kwdefaults__ or {})]


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None
