"""States of torchmetrics, such as a best-so-far value, which Lightning's checkpoints contain only on request.

The state of each rank is saved separately. If a trial resumes on another number of devices, the ranks' states are
reduced as the metric itself would reduce them. Sums and lists are then restored on rank 0, means and extremes on every
rank.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.resume.object_walk import find

__all__ = ["merge_ranks", "metric_states", "restore_metrics"]

_MAX_LIST_BYTES = 10 * 1000**2  # limit for a metric that keeps its samples, which would fill each pause's checkpoint


def metric_states(roots: Mapping[str, Any], segment: ActiveSegment) -> dict[str, Any]:
    """Returns the states of all torchmetrics below `roots`, by place; a note names metrics that are too large."""
    states = {}
    for place, metric in _metrics(roots):
        n_bytes = _list_bytes(metric)
        if n_bytes <= _MAX_LIST_BYTES:
            states[place] = _state(metric)
        else:
            name = place.rpartition(".")[2]
            segment.note(
                f"the samples of the metric {name!r} are lost in a pause: they take {n_bytes / 1e6:.0f} MB, and at "
                f"most {_MAX_LIST_BYTES / 1e6:.0f} MB are kept",
                once_per="study", topic=f"samples of the metric {name}",
            )  # fmt: skip
    return states


def restore_metrics(roots: Mapping[str, Any], states: Mapping[str, Any]) -> None:
    """Restores the states of the metrics that are at the same places and have the same class."""
    for place, tracker in _of_class(roots, "MetricTracker"):
        while any(saved.startswith(f"{place}.{len(tracker)}") for saved in states):
            tracker.increment()  # each call adds one metric, and a new tracker has none
    for place, metric in _metrics(roots):
        saved = states.get(place)
        if saved is not None and saved["class"] == type(metric).__name__:
            _restore(metric, saved)


def merge_ranks(roots: Mapping[str, Any], ranks: Sequence[Mapping[str, Any]], rank: int) -> dict[str, Any]:
    """Returns the states for `rank` in a group of another size than the group whose ranks saved the states."""
    merged = {}
    for place, metric in _metrics(roots):
        saved = [states[place] for states in ranks if place in states]
        if len(saved) < len(ranks) or any(state["class"] != type(metric).__name__ for state in saved):
            continue
        parts = {name: [state["states"][name] for state in saved] for name in saved[0]["states"]}
        reduced = {name: _reduced(metric, name, values, rank) for name, values in parts.items()}
        states = {name: value for name, value in reduced.items() if value is not None}
        merged[place] = {**saved[0], "states": states}
    return merged


def _metrics(roots: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Returns the metrics with their places; the shared state of a collection is first set on all its members."""
    for _, collection in _of_class(roots, "MetricCollection"):
        collection.values(copy_state=False)
    return _of_class(roots, "Metric")


def _of_class(roots: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    """Returns the objects of a class of torchmetrics, without importing it."""

    def is_of_class(place: str, value: Any) -> bool:
        kinds = type(value).__mro__
        return any(kind.__name__ == name and kind.__module__.startswith("torchmetrics.") for kind in kinds)

    return list(find(roots, is_of_class))


def _list_bytes(metric: Any) -> int:
    """Returns the size of the samples that a metric keeps."""
    lists = [value for name in metric._defaults if isinstance(value := getattr(metric, name), list)]
    return sum(tensor.nbytes for tensors in lists for tensor in tensors)


def _state(metric: Any) -> dict[str, Any]:
    """Returns a metric's state on the CPU; `undeclared` are attributes that may change but were not declared."""
    states = {name: _on_cpu(getattr(metric, name)) for name in metric._defaults}
    undeclared = {name: _on_cpu(value) for name, value in vars(metric).items() if _may_change(metric, name, value)}
    return {"class": type(metric).__name__, "updates": metric._update_count, "states": states, "undeclared": undeclared}


def _may_change(metric: Any, name: str, value: Any) -> bool:
    """Return whether an attribute may be part of a metric's state: a tensor, or a number that is not a setting."""
    if name in metric._defaults or name == "_update_count":
        return False
    if isinstance(value, torch.Tensor):
        return name[0] != "_"
    return type(value) in (int, float) and name not in inspect.signature(type(metric).__init__).parameters


def _on_cpu(value: Any) -> Any:
    if isinstance(value, list):
        return [tensor.detach().cpu() for tensor in value]
    return value.detach().cpu().clone() if isinstance(value, torch.Tensor) else value


def _restore(metric: Any, saved: Mapping[str, Any]) -> None:
    for name, value in {**saved["states"], **saved.get("undeclared", saved.get("tensors", {}))}.items():
        if isinstance(value, list):
            setattr(metric, name, [tensor.to(metric.device) for tensor in value])
        else:
            setattr(metric, name, value.to(metric.device) if isinstance(value, torch.Tensor) else value)
    metric._update_count, metric._computed = saved["updates"], None


def _reduced(metric: Any, name: str, values: list[Any], rank: int) -> Any:
    """Returns the part of a reduced state for `rank`; None means that the rank's state is not changed."""
    if all(isinstance(value, list) for value in values):
        return [tensor for tensors in values for tensor in tensors] if rank == 0 else None
    reduction = metric._reductions.get(name)
    kind = getattr(reduction, "__name__", "")
    if reduction is None or not all(isinstance(value, torch.Tensor) for value in values):
        return values[0] if rank == 0 else None
    if kind == "dim_zero_cat":
        return reduction(values) if rank == 0 else None
    reduced = reduction(torch.stack(values))
    return reduced if rank == 0 or kind in ("dim_zero_mean", "dim_zero_max", "dim_zero_min") else None
