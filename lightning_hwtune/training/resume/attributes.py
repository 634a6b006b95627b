"""Plain attributes that the training changes, such as `self.best = min(self.best, loss)`.

No checkpoint contains them, so a resumed trial would begin with the values of a new one. They are kept for the module,
its submodules, the data module, data sets and the user's own callbacks, if their values are numbers, text, arrays, or
lists and dictionaries of these.

An attribute is saved only if its value differs from that at the beginning of the trial's first epoch. It is restored
only if the resumed training has the value of a new training. So settings are never touched, and neither is an attribute
that user code restores itself.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import torch
from torch.utils.data import Dataset

from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.resume.object_walk import find

__all__ = ["Attributes", "common"]

_LIBRARIES = frozenset({"torch", "torchmetrics", "lightning", "pytorch_lightning", "lightning_fabric", "torchvision"})
_MAX_BYTES, _MAX_ITEMS = 10 * 1000**2, 10_000
_KIND, _ITEMS = "hwtune/kind", "hwtune/items"
_ABSENT = ""
_OWNED = frozenset({"_trainer", "trainer", "_fabric", "_hparams", "_hparams_initial", "_hparams_name"})
_BARE = frozenset(vars(torch.nn.Module()))


class _UnknownKind(Exception):
    """A value that is not kept."""


class _TooLarge(Exception):
    """A value that would fill the checkpoint."""


@final
class Attributes:
    """The plain attributes of one fit."""

    def __init__(self) -> None:
        self._begun: list[dict[str, str]] = []  # the digests of all values at the beginning of this fit, at two times
        self._first: dict[str, list[str]] = {}  # of the restored ones: the same, at the beginning of the trial

    def begins(self, roots: Mapping[str, Any]) -> None:
        """Notes the values before the sanity check and before the first epoch of this fit; both may change them."""
        if len(self._begun) < 2:
            self._begun.append({f"{place}.{name}": digest for place, _, name, digest in _digests(roots)})

    def state(self, roots: Mapping[str, Any], segment: ActiveSegment) -> dict[str, Any]:
        """Returns the attributes that the training has changed, by place."""
        found: dict[str, Any] = {}
        for place, owner in _owners(roots):
            for name in _names(owner):
                key = f"{place}.{name}"
                try:
                    value = _encoded(vars(owner)[name], [_MAX_ITEMS, _MAX_BYTES])
                except _UnknownKind:
                    continue
                except _TooLarge:
                    _note(segment, owner, name)
                    continue
                first = self._first.get(key) or [begun.get(key, _ABSENT) for begun in self._begun]
                if _digest(value) != first[-1]:
                    found[key] = {"value": value, "first": first}
        return found

    def restore(self, roots: Mapping[str, Any], saved: Mapping[str, Any], device: Any) -> None:
        """Gives each attribute its saved value, unless user code has restored it or has given it another one."""
        self.begins(roots)
        self._first = {key: item["first"] for key, item in saved.items()}
        for place, owner in _owners(roots):
            prefix = f"{place}."
            for key in [key for key in saved if key.startswith(prefix) and "." not in key[len(prefix) :]]:
                if any(begun.get(key, _ABSENT) in saved[key]["first"] for begun in self._begun):
                    _assign(owner, key[len(prefix) :], saved[key]["value"], device)


def common(ranks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the saved attributes that all ranks have, with the same value."""
    first, *others = ranks
    return {
        key: item
        for key, item in first.items()
        if all(key in rank and _digest(rank[key]["value"]) == _digest(item["value"]) for rank in others)
    }


def _note(segment: ActiveSegment, owner: Any, name: str) -> None:
    if isinstance(owner, Dataset):  # usually a cache, or the data
        return
    where = f"{type(owner).__name__}.{name}"
    text = (
        f"the values of {where} are lost in a pause: they are above {_MAX_BYTES / 1e6:.0f} MB or {_MAX_ITEMS:,} items"
    )
    segment.note(text, once_per="study", topic=f"attribute {where}")


def _owners(roots: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(find(roots, lambda place, value: _is_owner(value)))


def _is_owner(value: Any) -> bool:
    """Return whether a value is a module, data module, data set or callback of a class of the user."""
    if not hasattr(value, "__dict__") or isinstance(value, type):
        return False
    kinds = [kind for kind in type(value).__mro__ if kind is not object]
    if not kinds or _library(kinds[0]) in _LIBRARIES:
        return False
    if isinstance(value, Dataset):
        return not callable(getattr(value, "load_state_dict", None))
    built_in = {kind.__name__ for kind in kinds if ".callbacks." in kind.__module__ and _library(kind) in _LIBRARIES}
    if built_in:  # Lightning's own callbacks save their state
        return built_in == {"Callback"}
    return isinstance(value, torch.nn.Module) or any(kind.__name__ == "LightningDataModule" for kind in kinds)


def _library(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _names(owner: Any) -> list[str]:
    """Returns the attributes of an owner that user code may have set."""
    bases = ("LightningModule", "LightningDataModule")
    base = next((kind for kind in type(owner).__mro__ if kind.__name__ in bases), None)
    own = frozenset(vars(base())) if base is not None else frozenset()
    return [name for name in vars(owner) if name not in _BARE and name not in _OWNED and name not in own]


def _digests(roots: Mapping[str, Any]) -> Iterator[tuple[str, Any, str, str]]:
    for place, owner in _owners(roots):
        for name in _names(owner):
            yield place, owner, name, _digest_of(vars(owner)[name])


def _digest_of(value: Any) -> str:
    try:
        return _digest(_encoded(value, [_MAX_ITEMS, _MAX_BYTES]))
    except (_UnknownKind, _TooLarge):
        return type(value).__name__  # neither saved nor absent


def _digest(encoded: Any) -> str:
    digest = hashlib.blake2b(digest_size=12)
    _feed(digest, encoded)
    return digest.hexdigest()


def _feed(digest: Any, encoded: Any) -> None:
    if isinstance(encoded, torch.Tensor):
        digest.update(f"{encoded.dtype}{tuple(encoded.shape)}".encode())
        digest.update(encoded.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(encoded, list):
        digest.update(f"[{len(encoded)}".encode())
        for item in encoded:
            _feed(digest, item)
    elif isinstance(encoded, dict):
        digest.update(encoded[_KIND].encode())
        _feed(digest, encoded[_ITEMS])
    else:
        digest.update(f"{type(encoded).__name__}{encoded!r};".encode())


def _encoded(value: Any, left: list[int]) -> Any:
    """Returns a value as tensors, lists and plain values, which `torch.load(..., weights_only=True)` reads.

    Args:
        left: how many more items and bytes may be encoded; they are counted down.

    Raises:
        _UnknownKind, _TooLarge: it is not kept.
    """
    left[0] -= 1
    left[1] -= getattr(value, "nbytes", 0) if isinstance(value, torch.Tensor | np.ndarray) else 0
    if min(left) < 0:
        raise _TooLarge
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is torch.Tensor and value.layout is torch.strided and not value.is_quantized:
        return value.detach().cpu().clone()
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in "biuf":
        kind = "array" if isinstance(value, np.ndarray) else "scalar"
        return {
            _KIND: f"{kind} {value.dtype.str}",
            _ITEMS: torch.from_numpy(np.array(value, order="C").astype(value.dtype)),
        }
    if type(value) in (list, tuple, set, deque):
        items = sorted(value, key=repr) if type(value) is set else value
        encoded = [_encoded(item, left) for item in items]
        return encoded if type(value) is list else {_KIND: type(value).__name__, _ITEMS: encoded}
    if type(value) in (dict, defaultdict, OrderedDict, Counter):
        pairs = [[_encoded(key, left), _encoded(item, left)] for key, item in value.items()]
        return {_KIND: type(value).__name__, _ITEMS: pairs}
    raise _UnknownKind


def _decoded(encoded: Any, device: Any) -> Any:
    if isinstance(encoded, torch.Tensor):
        return encoded.to(device)
    if isinstance(encoded, list):
        return [_decoded(item, device) for item in encoded]
    if not isinstance(encoded, dict):
        return encoded
    kind, _, dtype = encoded[_KIND].partition(" ")
    if dtype:
        array = encoded[_ITEMS].numpy().astype(dtype)
        return array[()] if kind == "scalar" else array
    items = [_decoded(item, device) for item in encoded[_ITEMS]]
    if kind in ("tuple", "set", "deque"):
        return {"tuple": tuple, "set": set, "deque": deque}[kind](items)
    found: dict[Any, Any] = Counter() if kind == "Counter" else OrderedDict() if kind == "OrderedDict" else {}
    found.update({key: item for key, item in items})  # noqa: C416 - the pairs are lists
    return found


def _assign(owner: Any, name: str, saved: Any, device: Any) -> None:
    """Sets an attribute. A container that exists is filled, because other objects may refer to it."""
    now = vars(owner).get(name)
    value = _decoded(saved, now.device if isinstance(now, torch.Tensor) else device)
    if isinstance(now, list) and isinstance(value, list):
        now[:] = value
    elif isinstance(now, deque | set | dict) and isinstance(value, deque | set | dict):
        now.clear()
        (now.extend if isinstance(now, deque) else now.update)(value)
    else:
        object.__setattr__(owner, name, value)
