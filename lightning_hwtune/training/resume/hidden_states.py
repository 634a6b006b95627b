"""State that no checkpoint of Lightning contains, although it has a standard form.

- Objects with `state_dict` and `load_state_dict` that Lightning does not know: the averaged copy of a model in a
  callback, a teacher in a list, an optimizer or a schedule that is only an attribute, the averages of other libraries.
- Buffers that were registered with `persistent=False`.

A state is saved only if it differs from that at the beginning of the trial's first epoch, and restored only if the
resumed training has the state of a new training, so user code may restore it itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, final

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.resume.attribute_values import TooLarge, UnknownKind, assigned, digest, encoded
from lightning_hwtune.training.resume.first_digests import FirstDigests
from lightning_hwtune.training.resume.object_walk import find

__all__ = ["HiddenStates"]

_STATE, _BUFFERS = "state_dict()", "buffers()"
_MIN_BYTES, _MAX_ITEMS = 10 * 1000**2, 1_000_000
_CLOSED = frozenset({"lightning", "pytorch_lightning", "lightning_fabric", "lightning_hwtune", "torchmetrics"})
_SAVED_ELSEWHERE = frozenset({
    "Callback", "LightningModule", "LightningDataModule", "Metric", "MetricCollection", "MetricTracker", "Logger",
})  # fmt: skip


@final
class HiddenStates:
    """The hidden states of one fit."""

    def __init__(self) -> None:
        self._digests = FirstDigests()

    def begins(self, roots: Mapping[str, Any]) -> None:
        """Notes the states before the sanity check and before the first epoch of this fit."""
        if not self._digests.is_complete:
            self._digests.note(_digests(roots))

    def check_begins(self, roots: Mapping[str, Any]) -> None:
        """Notes the states before the sanity check; a resumed fit has none."""
        self._digests.check_begins(_digests(roots))

    def check_ended(self, roots: Mapping[str, Any]) -> None:
        """Notes which states the sanity check has changed."""
        self._digests.check_ended(_digests(roots))

    def state(self, roots: Mapping[str, Any], segment: ActiveSegment) -> dict[str, Any]:
        """Returns the states that the training has changed, by place."""
        found: dict[str, Any] = {}
        for key, owner, item in _items(roots):
            if isinstance(item, TooLarge):
                _note(segment, owner, _limit(roots))
            if isinstance(item, Exception):
                continue
            first = self._digests.of(key)
            if digest(item) != first[-1]:
                found[key] = {"value": item, "first": first}
        return found

    def restore(self, roots: Mapping[str, Any], saved: Mapping[str, Any], device: Any) -> None:
        """Restores each state, unless user code has done so or has given it another value."""
        self.begins(roots)
        self._digests.remember(saved)
        for place, owner, kind in list(_hidden(roots)):
            key = f"{place}.{kind}"
            if key in saved and self._digests.is_untouched(key):
                _load(owner, kind, assigned(None, saved[key]["value"], device, is_new=True))


def _items(roots: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yields the key, the owner and the encoded value of each state; an exception if it is not kept."""
    limit = _limit(roots)
    for place, owner, kind in _hidden(roots):
        item: Any
        try:
            item = encoded(_state_of(owner, kind), [_MAX_ITEMS, limit])
        except (UnknownKind, TooLarge) as reason:
            item = reason
        except Exception:  # of a class of the user, or of another library
            item = UnknownKind()
        yield f"{place}.{kind}", owner, item


def _digests(roots: Mapping[str, Any]) -> dict[str, str]:
    return {key: type(item).__name__ if isinstance(item, Exception) else digest(item) for key, _, item in _items(roots)}


def _limit(roots: Mapping[str, Any]) -> int:
    """Returns how many bytes of one state are kept: a copy of the model is, and an optimizer's averages."""
    module = roots.get("module")
    tensors = [*module.parameters(), *module.buffers()] if isinstance(module, torch.nn.Module) else []
    n_bytes = sum(tensor.nbytes for tensor in tensors if not torch.nn.parameter.is_lazy(tensor))
    return max(_MIN_BYTES, 2 * n_bytes)


def _note(segment: ActiveSegment, owner: Any, limit: int) -> None:
    if not any(tensor.requires_grad for tensor in getattr(owner, "parameters", list)()):
        return  # a large network that only helps, such as that of a perceptual loss
    where = type(owner).__name__
    text = f"the state of {where}, which only an attribute holds, is lost in a pause: it is above {limit / 1e6:.0f} MB"
    segment.note(text, once_per="study", topic=f"state of {where}")


def _hidden(roots: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yields the objects with such state, their places, and which state it is.

    Parts of a module that is yielded with its state are left out.
    """
    known = {id(item) for item in _known(roots.get("module"))}
    for place, value in find(roots, lambda place, value: _has_state(value) or bool(_buffers(value))):
        if _buffers(value):
            yield place, value, _BUFFERS
        if not _has_state(value) or id(value) in known:
            continue
        if isinstance(value, torch.nn.Module):
            known.update(map(id, value.modules()))
        yield place, value, _STATE


def _state_of(value: Any, kind: str) -> Any:
    """Returns this state of such an object, without the version numbers that torch attaches to it."""
    if kind == _BUFFERS:
        return _buffers(value)
    state = value.state_dict()
    return dict(state) if isinstance(value, torch.nn.Module) else state


def _load(value: Any, kind: str, state: Any) -> None:
    """Restores this state of such an object."""
    if kind == _BUFFERS:
        for name, buffer in state.items():
            value._buffers[name] = buffer
    elif isinstance(value, torch.nn.Module):
        value.load_state_dict(state, strict=False)  # parts that cannot be saved are missing
    else:
        own = getattr(value.state_dict(), "_metadata", None)  # of a TensorDict: which keys belong to its parts
        if own is not None and isinstance(state, OrderedDict):
            state._metadata = own  # type: ignore[attr-defined]
        value.load_state_dict(state)


def _known(pl_module: Any) -> Iterator[Any]:
    """Yields what Lightning saves, or what is saved with the module."""
    if isinstance(pl_module, torch.nn.Module):
        yield from pl_module.modules()
    trainer = getattr(pl_module, "_trainer", None)
    if trainer is not None:
        yield from trainer.optimizers
        yield from (config.scheduler for config in trainer.lr_scheduler_configs)


def _buffers(value: Any) -> dict[str, Any]:
    """Returns a module's own buffers that its `state_dict` leaves out."""
    if not isinstance(value, torch.nn.Module):
        return {}
    names = value._non_persistent_buffers_set
    return {name: buffer for name, buffer in value._buffers.items() if name in names and buffer is not None}


def _has_state(value: Any) -> bool:
    if isinstance(value, type | Dataset | Sampler | DataLoader):
        return False
    kinds = type(value).__mro__
    if kinds[0].__module__.partition(".")[0] in _CLOSED or any(kind.__name__ in _SAVED_ELSEWHERE for kind in kinds):
        return False
    return all(callable(getattr(kinds[0], name, None)) for name in ("state_dict", "load_state_dict"))
