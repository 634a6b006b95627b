"""The user's random generators and the counters of samplers, which determine the data of each epoch.

Generators of torch, numpy and `random` are found on loaders, samplers, batch samplers, data sets, modules and
callbacks, and inside other objects. A data set or sampler with `state_dict` and `load_state_dict` defines its own
state. For other samplers of the user, the attributes that are numbers are saved, so a sampler that counts its passes
continues to count. Lightning's own attributes are not saved here, nor are the process's global streams (see `rng`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from lightning_hwtune.training.resume.object_walk import find

__all__ = ["generator_states", "restore_generators", "restore_listed"]

_LIBRARIES = frozenset({"torch", "lightning", "pytorch_lightning", "lightning_fabric"})
_NUMPY = (np.random.Generator, np.random.RandomState, np.random.BitGenerator)


def generator_states(roots: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the state of each generator and sampler below `roots`, by place; loadable with `weights_only=True`."""
    states = ((place, _state(found)) for place, found in find(roots, _has_state))
    return {place: state for place, state in states if state is not None}


def restore_generators(roots: Mapping[str, Any], states: Mapping[str, Any]) -> None:
    """Restores these states; a generator or sampler that is new, or has another type now, is not changed."""
    for place, found in find(roots, _has_state):
        if place in states:
            _restore(found, states[place])


def restore_listed(loaders: list[Any], states: list[torch.Tensor]) -> None:
    """Restores what version 0.1.0 saved: the torch generators of loaders and samplers, in order."""
    owners = [owner for loader in loaders for owner in (loader, getattr(loader, "sampler", None))]
    generators = [getattr(owner, "generator", None) for owner in owners]
    found = {id(generator): generator for generator in generators if isinstance(generator, torch.Generator)}
    if len(found) == len(states):
        for generator, state in zip(found.values(), states, strict=True):
            generator.set_state(state.cpu())


def _has_state(place: str, value: Any) -> bool:
    if isinstance(value, (torch.Generator, random.Random, *_NUMPY)):
        return all(value is not generator for generator in _global_generators())
    return _is_stateful(value) or _is_own_sampler(place, value)


def _global_generators() -> Iterator[Any]:
    """Yields the generators behind the modules' functions, which `rng` saves."""
    yield torch.default_generator
    yield np.random.mtrand._rand
    yield vars(random)["_inst"]


def _is_stateful(value: Any) -> bool:
    """Return whether a value is a data set or sampler that can save its state, such as the position of a stream."""
    methods = (getattr(value, "state_dict", None), getattr(value, "load_state_dict", None))
    return isinstance(value, Dataset | Sampler) and all(map(callable, methods))


def _is_own_sampler(place: str, value: Any) -> bool:
    """Return whether a value is a sampler or batch sampler whose class is not from torch or Lightning."""
    is_sampler = isinstance(value, Sampler) or place.endswith(("sampler", "_sampler"))
    return is_sampler and hasattr(value, "__dict__") and type(value).__module__.partition(".")[0] not in _LIBRARIES


def _state(owner: Any) -> dict[str, Any] | None:
    """Returns an owner's state as tensors and plain values; None if it has none, as `random.SystemRandom`."""
    if isinstance(owner, torch.Generator):
        return {"kind": "torch", "state": owner.get_state().cpu()}
    if isinstance(owner, random.Random):
        try:
            return {"kind": "random", "state": owner.getstate()}
        except NotImplementedError:
            return None
    if isinstance(owner, _NUMPY):
        state = _numpy_state(owner)
        return {"kind": state["bit_generator"], "state": _plain(state)}
    if _is_stateful(owner):
        return {"kind": "stateful", "state": owner.state_dict()}
    return {"kind": "sampler", "state": _numbers(owner)}


def _restore(owner: Any, saved: Mapping[str, Any]) -> None:
    now = _state(owner)
    if now is None or now["kind"] != saved["kind"]:
        return
    if isinstance(owner, torch.Generator):
        owner.set_state(saved["state"])
    elif isinstance(owner, random.Random):
        version, keys, gauss = saved["state"]
        owner.setstate((version, tuple(keys), gauss))
    elif isinstance(owner, np.random.RandomState):
        owner.set_state(_of_plain(saved["state"]))
    elif isinstance(owner, np.random.Generator):
        owner.bit_generator.state = _of_plain(saved["state"])
    elif isinstance(owner, np.random.BitGenerator):
        owner.state = _of_plain(saved["state"])
    elif now["kind"] == "stateful":
        owner.load_state_dict(saved["state"])
    else:
        for name in now["state"].keys() & saved["state"].keys():
            setattr(owner, name, saved["state"][name])


def _numbers(sampler: Any) -> dict[str, int | float]:
    """Returns a sampler's attributes that are numbers."""
    return {name: value for name, value in vars(sampler).items() if type(value) in (int, float, bool)}


def _numpy_state(owner: Any) -> Any:
    if isinstance(owner, np.random.RandomState):
        return owner.get_state(legacy=False)
    return owner.bit_generator.state if isinstance(owner, np.random.Generator) else owner.state


def _plain(value: Any) -> Any:
    """Returns a value with its arrays as lists of numbers."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "values": value.tolist()}
    return value.item() if isinstance(value, np.generic) else value


def _of_plain(value: Any) -> Any:
    if isinstance(value, Mapping) and value.keys() == {"dtype", "values"}:
        return np.array(value["values"], dtype=value["dtype"])
    return {key: _of_plain(item) for key, item in value.items()} if isinstance(value, Mapping) else value
