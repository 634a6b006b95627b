"""Plain attributes that the training changes, such as `self.best = min(self.best, loss)`.

No checkpoint contains them, so a resumed trial would begin with the values of a new one. They are kept for the module,
its submodules, the data module, data sets, the user's own callbacks, and objects of the user's own classes that these
contain, such as a meter, if their values are numbers, text, arrays, or lists and dictionaries of these.

An attribute is saved only if its value differs from that at the beginning of the trial's first epoch. It is restored
only if the resumed training has the value of a new training. So settings are never touched, and neither is an attribute
that user code restores itself.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final
from weakref import WeakKeyDictionary

import torch
from torch.utils.data import Dataset, Subset

from lightning_hwtune.host.fork_safety import is_installed
from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.resume.attribute_values import (
    TooLarge,
    UnknownKind,
    assigned,
    digest,
    encoded,
    is_mutable,
)
from lightning_hwtune.training.resume.first_digests import FirstDigests
from lightning_hwtune.training.resume.object_walk import find

__all__ = ["Attributes", "common"]

_LIBRARIES = frozenset(
    {"torch", "torchmetrics", "lightning", "pytorch_lightning", "lightning_fabric", "torchvision", "lightning_hwtune"}
)
_MAX_BYTES, _MAX_ITEMS = 10 * 1000**2, 10_000  # of one attribute
_MOST = {False: (100_000, 50 * 1000**2), True: (20_000, 20 * 1000**2)}  # items and bytes in all; True: of data sets
_OWNED = frozenset({"_trainer", "trainer", "_fabric", "_hparams", "_hparams_initial", "_hparams_name"})
_BARE = frozenset(vars(torch.nn.Module()))


_made: WeakKeyDictionary[Any, dict[str, str]] = WeakKeyDictionary()
"""The digests of the attributes of each owner when this process used it for the first time."""


@final
class Attributes:
    """The plain attributes of one fit."""

    def __init__(self) -> None:
        self._digests = FirstDigests()
        self._objects: dict[str, Any] = {}  # the lists, tensors and so on at the second time
        self._large: dict[str, Any] = {}  # what is known of those that are too large
        self._given: dict[str, Any] = {}  # the restored values
        self._new: set[str] = set()  # those to which the training had assigned another object before this fit

    def begins(self, roots: Mapping[str, Any]) -> None:
        """Notes the values before the sanity check and before the first epoch of this fit; both may change them."""
        self._begins(_owners(roots))

    def _begins(self, owners: Sequence[tuple[str, Any]]) -> None:
        if self._digests.is_complete:
            return
        begun: dict[str, str] = {}
        for key, _, _, value, item in _items(owners):
            begun[key] = _digest(value, item)
            if isinstance(item, TooLarge):
                self._large[key] = _seen(value)
            elif not isinstance(item, UnknownKind) and is_mutable(value):
                self._objects[key] = value
        self._digests.note(_as_made(owners, begun) if self._digests.is_empty else begun)

    def check_begins(self, roots: Mapping[str, Any]) -> None:
        """Notes the values before the sanity check; a resumed fit has none."""
        self._digests.check_begins(_digests(_owners(roots)))

    def check_ended(self, roots: Mapping[str, Any]) -> None:
        """Notes which values the sanity check has changed."""
        self._digests.check_ended(_digests(_owners(roots)))

    def state(self, roots: Mapping[str, Any], segment: ActiveSegment) -> dict[str, Any]:
        """Returns the attributes that the training has changed, by place."""
        found: dict[str, Any] = {}
        keys: dict[int, str] = {}  # the first place of each object
        for key, owner, name, value, item in _items(_owners(roots)):
            same = keys.setdefault(id(value), key) if is_mutable(value) else key
            if isinstance(item, TooLarge) and self._large.get(key) != _seen(value):
                _note(segment, owner, name)
            first = self._digests.of(key)
            if isinstance(item, Exception) or digest(item) == first[-1]:
                continue
            is_new = key in self._new or value is not self._objects.get(key)
            if is_new and getattr(value, "requires_grad", False) and value.is_leaf:
                continue
            found[key] = {"value": item, "first": first, "is_new": is_new, "same": "" if same == key else same}
        return found

    def restore(self, roots: Mapping[str, Any], saved: Mapping[str, Any], device: Any) -> None:
        """Gives each attribute its saved value, unless user code has restored it or has given it another one."""
        found = _owners(roots)
        self._begins(found)
        self._digests.remember(saved)
        self._new = {key for key, item in saved.items() if item["is_new"]}
        by_place: dict[str, list[str]] = {}
        for key in saved:
            by_place.setdefault(key.rpartition(".")[0], []).append(key)
        owners = dict(found)
        for place, owner in found:
            for key in by_place.get(place, ()):
                item, name = saved[key], key[len(place) + 1 :]
                if not self._digests.is_untouched(key) or self._has(key, vars(owner).get(name), item):
                    continue
                at, _, other = item["same"].rpartition(".")
                if item["is_new"] and at in owners and other in vars(owners[at]):
                    self._given[key] = vars(owner)[name] = vars(owners[at])[other]
                    continue
                try:
                    now = vars(owner).get(name)
                    self._given[key] = vars(owner)[name] = assigned(now, item["value"], device, is_new=item["is_new"])
                except UnknownKind:
                    continue

    def _has(self, key: str, value: Any, saved: Mapping[str, Any]) -> bool:
        """Return whether an attribute was restored before and has that value still; loaders may refer to it."""
        if key not in self._given or value is not self._given[key]:
            return False
        return digest(encoded(value, [_MAX_ITEMS, _MAX_BYTES])) == digest(saved["value"])


def _digest(value: Any, item: Any) -> str:
    return digest(item) if not isinstance(item, Exception) else type(value).__name__


def _digests(owners: Sequence[tuple[str, Any]]) -> dict[str, str]:
    return {key: _digest(value, item) for key, _, _, value, item in _items(owners)}


def _as_made(owners: Sequence[tuple[str, Any]], begun: Mapping[str, str]) -> dict[str, str]:
    """Returns the digests without what other trials of this process have left in objects that all of them use."""
    found: dict[str, str] = {}
    for place, owner in owners:
        now = {name: begun[key] for name in _names(owner) if (key := f"{place}.{name}") in begun}
        made = now
        with contextlib.suppress(TypeError):  # a class without a hash
            made = _made.setdefault(owner, now)
        found |= {f"{place}.{name}": made[name] for name in now if name in made}
    return found


def common(ranks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the saved attributes that all ranks have, with the same value."""
    first, *others = ranks
    return {
        key: item
        for key, item in first.items()
        if all(key in rank and digest(rank[key]["value"]) == digest(item["value"]) for rank in others)
    }


def _note(segment: ActiveSegment, owner: Any, name: str) -> None:
    if isinstance(owner, Dataset):  # usually a cache, or the data
        return
    where = f"{type(owner).__name__}.{name}"
    text = (
        f"the values of {where} are lost in a pause: they are above {_MAX_BYTES / 1e6:.0f} MB or {_MAX_ITEMS:,} items"
    )
    segment.note(text, once_per="study", topic=f"attribute {where}")


def _seen(value: Any) -> tuple[Any, ...]:
    """Returns what shows cheaply that a large value has changed; a change inside an array does not show."""
    size = len(value) if isinstance(value, list | tuple | dict | str) else tuple(getattr(value, "shape", ()))
    is_counted = isinstance(value, torch.Tensor) and not value.is_inference()
    return id(value), size, value._version if is_counted else 0


def _items(owners: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, Any, str, Any, Any]]:
    """Yields the key, owner, name, value and encoded value of each attribute; an exception if it is not kept."""
    left = {kind: list(most) for kind, most in _MOST.items()}
    for place, owner in owners:
        shared = left[isinstance(owner, Dataset)]
        for name in _names(owner):
            value = vars(owner).get(name)
            before = [min(most, rest) for most, rest in zip((_MAX_ITEMS, _MAX_BYTES), shared, strict=True)]
            rest = list(before)
            item: Any
            try:
                item = encoded(value, rest)
            except (UnknownKind, TooLarge) as reason:
                item = reason
            except Exception:  # of a class of the user, or of a value that another thread changes
                item = UnknownKind()
            if not isinstance(item, TooLarge):
                shared[:] = [had - (start - end) for had, start, end in zip(shared, before, rest, strict=True)]
            yield f"{place}.{name}", owner, name, value, item


def _owners(roots: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(find(roots, lambda place, value: _is_owner(value)))


def _is_owner(value: Any) -> bool:
    """Return whether a value is a module, data module, data set, callback or plain object of a class of the user."""
    if not hasattr(value, "__dict__") or isinstance(value, type):
        return False
    kinds = [kind for kind in type(value).__mro__ if kind is not object]
    if not kinds or _library(kinds[0]) in _LIBRARIES:
        return type(value) is Subset  # active learning changes its indices
    if isinstance(value, Dataset):
        return not callable(getattr(type(value), "load_state_dict", None))
    if any(_library(kind) == "torchmetrics" for kind in kinds):  # their states are kept, and reduced over ranks
        return False
    built_in = {kind.__name__ for kind in kinds if ".callbacks." in kind.__module__ and _library(kind) in _LIBRARIES}
    if built_in:  # Lightning's own callbacks save their state
        return built_in == {"Callback"}
    if isinstance(value, torch.nn.Module) or _base(type(value)) is not None:
        return True
    kind: Any = type(value)
    return _is_plain(kind)


@functools.cache
def _is_plain(kind: Any) -> bool:
    """Return whether a class and its bases are from the user's own files, and do not define their state themselves."""
    if callable(getattr(kind, "load_state_dict", None)):
        return False
    return all(_is_own(base) for base in kind.__mro__ if base is not object and _library(base) not in ("abc", "typing"))


def _is_own(kind: type) -> bool:
    library = _library(kind)
    if library in _LIBRARIES or library in sys.stdlib_module_names:
        return False
    return not is_installed(getattr(sys.modules.get(kind.__module__), "__file__", None))


def _library(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _base(kind: type) -> Any:
    """Returns Lightning's class of a module or data module, from which a class is derived."""
    names = ("LightningModule", "LightningDataModule")
    bases = [base for base in kind.__mro__ if base.__name__ in names and _library(base) in _LIBRARIES]
    return bases[0] if bases else None


@functools.cache
def _own_names(base: Any) -> frozenset[str]:
    return frozenset(vars(base()))


def _names(owner: Any) -> list[str]:
    """Returns the attributes of an owner that user code may have set."""
    base = _base(type(owner))
    own = _own_names(base) if base is not None else frozenset()
    return [name for name in vars(owner) if name not in _BARE and name not in _OWNED and name not in own]
