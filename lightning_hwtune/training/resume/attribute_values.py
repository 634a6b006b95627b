"""Values of plain attributes as tensors, lists and plain values, which `torch.load(..., weights_only=True)` reads."""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset, TensorDataset

__all__ = ["TooLarge", "UnknownKind", "assigned", "digest", "encoded", "is_mutable"]

_KIND, _ITEMS = "hwtune/kind", "hwtune/items"
_PLAIN = frozenset({bool, int, float, str, type(None)})
_CONTAINERS: dict[type, Any] = {kind: kind for kind in (tuple, set, deque, dict, defaultdict, OrderedDict, Counter)}
_DATA: dict[type, Any] = {TensorDataset: lambda items: TensorDataset(*items), ConcatDataset: ConcatDataset}
_FACTORIES: dict[str, Any] = {kind.__name__: kind for kind in (bool, int, float, str, list, dict, set)}
_MAX_DEPTH, _MAX_BITS = 20, 10_000
_SHORT = 60


class UnknownKind(Exception):
    """A value that is not kept."""


class TooLarge(Exception):
    """A value that would fill the checkpoint."""


def is_mutable(value: Any) -> bool:
    """Return whether code that shares a value sees its changes."""
    return isinstance(value, torch.Tensor | np.ndarray | list | deque | set | dict | TensorDataset)


def encoded(value: Any, left: list[int], depth: int = 0) -> Any:
    """Returns a value as tensors, lists and plain values.

    Args:
        left: how many more items and bytes may be encoded; they are counted down.
        depth: of the value in others.

    Raises:
        UnknownKind, TooLarge: it is not kept.
    """
    kind = type(value)
    _count(value, left)
    if kind in _PLAIN:
        return value if kind is not int else _integer(value)
    if kind is torch.Tensor:
        return _tensor(value, is_part=depth > 0)
    if kind is np.ndarray or isinstance(value, np.generic):
        return _array(value)
    if depth > _MAX_DEPTH or (kind is not list and kind not in _CONTAINERS and kind not in _DATA):
        raise UnknownKind
    if kind in _DATA:
        parts = value.tensors if kind is TensorDataset else value.datasets
        return {_KIND: kind.__name__, _ITEMS: [encoded(part, left, depth + 1) for part in parts]}
    if isinstance(value, dict):
        keys = [_key(key, left, depth) for key in value]
        items = [list(pair) for pair in zip(keys, _items(list(value.values()), left, depth), strict=True)]
    elif kind is set:
        items = sorted((_key(key, left, depth) for key in value), key=repr)
    else:
        items = _items(value, left, depth)
    return items if kind is list else {_KIND: _label(value), _ITEMS: items}


def _count(value: Any, left: list[int]) -> None:
    """Counts a value, without its items."""
    left[0] -= 1
    if isinstance(value, str):
        left[1] -= len(value)
    elif isinstance(value, torch.Tensor | np.ndarray):
        left[1] -= value.nbytes
    elif isinstance(value, list | tuple | set | deque | dict) and len(value) > left[0]:
        raise TooLarge
    if min(left) < 0:
        raise TooLarge


def _items(values: Collection[Any], left: list[int], depth: int) -> list[Any]:
    """Returns the encoded items; those of a list of plain values are counted at once."""
    if not _PLAIN.issuperset(map(type, values)):
        return [encoded(item, left, depth + 1) for item in values]
    left[0] -= len(values)
    left[1] -= sum(len(item) for item in values if type(item) is str)
    if min(left) < 0:
        raise TooLarge
    return [item if type(item) is not int else _integer(item) for item in values]


def _integer(value: int) -> int:
    if value.bit_length() > _MAX_BITS:  # Python does not print it
        raise UnknownKind
    return value


def _key(key: Any, left: list[int], depth: int) -> Any:
    """Returns a key of a dictionary or an item of a set: plain values, and tuples of these."""
    if type(key) not in _PLAIN and type(key) is not tuple and not isinstance(key, np.generic):
        raise UnknownKind
    return encoded(key, left, depth + 1)


def _tensor(value: torch.Tensor, *, is_part: bool) -> Any:
    if value.layout is not torch.strided or value.is_quantized or value.is_meta:
        raise UnknownKind
    if is_part and value.requires_grad and value.is_leaf:  # an optimizer may have it, so it must not be replaced
        raise UnknownKind
    copy = value.detach().resolve_conj().resolve_neg().to("cpu", copy=True, memory_format=torch.contiguous_format)
    return copy if value.device.type == "cpu" else {_KIND: "device", _ITEMS: copy}


def _array(value: Any) -> Any:
    if value.dtype.kind not in "biuf":
        raise UnknownKind
    native = value.dtype.newbyteorder("=")
    try:
        copy = torch.from_numpy(np.array(value, dtype=native, order="C"))
    except TypeError:  # torch has no such numbers
        raise UnknownKind from None
    return {_KIND: f"{'array' if isinstance(value, np.ndarray) else 'scalar'} {value.dtype.str}", _ITEMS: copy}


def _label(value: Any) -> str:
    """Returns the kind of a container, with what else its copy needs."""
    name = type(value).__name__
    if type(value) is deque:
        return f"{name}:{'' if value.maxlen is None else value.maxlen}"
    if type(value) is defaultdict:
        factory = getattr(value.default_factory, "__name__", "")
        return f"{name}:{factory if _FACTORIES.get(factory) is value.default_factory else '?'}"
    return name


def digest(item: Any) -> str:
    """Returns the digest of an encoded value; that of a short plain value is its text."""
    if type(item) in _PLAIN and len(text := f"{item!r}") < _SHORT:
        return text
    found = hashlib.blake2b(digest_size=12)
    _feed(found, item)
    return found.hexdigest()


def _feed(found: Any, item: Any) -> None:
    if isinstance(item, torch.Tensor):
        found.update(f"{item.dtype}{tuple(item.shape)}".encode())
        if item.numel():
            found.update(item.reshape(-1).view(torch.uint8).numpy().data)
    elif isinstance(item, list) and not _PLAIN.issuperset(map(type, item)):
        found.update(f"[{len(item)}".encode())
        for part in item:
            _feed(found, part)
    elif isinstance(item, dict):
        found.update(item[_KIND].encode())
        _feed(found, item[_ITEMS])
    else:
        found.update(f"{item!r};".encode("utf-8", "surrogatepass"))


def _decoded(item: Any, device: Any, now: Any = None) -> Any:
    """Returns the value.

    Raises:
        UnknownKind: it needs something that is not saved, and `now` does not have it either.
    """
    if isinstance(item, list):
        return [_decoded(part, device) for part in item]
    if not isinstance(item, dict):
        return item
    kind, _, dtype = item[_KIND].partition(" ")
    if kind == "device":
        return item[_ITEMS].to(device)
    if dtype:
        array = item[_ITEMS].numpy().astype(dtype)
        return array[()] if kind == "scalar" else array
    items = [_decoded(part, device) for part in item[_ITEMS]]
    name, _, more = kind.partition(":")
    if name == "defaultdict":
        if more == "?" and not isinstance(now, defaultdict):
            raise UnknownKind
        factory = now.default_factory if more == "?" else _FACTORIES[more] if more else None
        return defaultdict(factory, items)
    if name == "deque":
        return deque(items, int(more) if more else None)
    make = next(make for kind, make in (_CONTAINERS | _DATA).items() if kind.__name__ == name)
    return make(dict(items)) if make in _CONTAINERS and issubclass(make, dict) else make(items)


def assigned(now: Any, item: Any, device: Any, *, is_new: bool) -> Any:
    """Returns the value that an attribute gets.

    Args:
        now: the value that it has.
        item: the encoded value.
        device: of tensors that were not on the CPU.
        is_new: whether the training has assigned another object. If not, the object is filled, because others may
            refer to it.

    Raises:
        UnknownKind: it cannot be made.
    """
    value = _decoded(item, device, now)
    if is_new or type(now) is not type(value):
        return value
    if isinstance(now, list):
        now[:] = value
    elif isinstance(now, deque | set | dict):
        now.clear()
        (now.extend if isinstance(now, deque) else now.update)(value)
    elif isinstance(now, TensorDataset):
        now.tensors = value.tensors
    elif isinstance(now, torch.Tensor | np.ndarray) and (now.shape, now.dtype) == (value.shape, value.dtype):
        return _filled(now, value)
    else:
        return value
    return now


def _filled(now: Any, value: Any) -> Any:
    """Returns a tensor or an array after it got other numbers, or the new one if it cannot be changed."""
    try:
        if isinstance(now, torch.Tensor):
            now.detach().copy_(value)
        else:
            np.copyto(now, value)
    except (RuntimeError, ValueError):
        return value
    return now
