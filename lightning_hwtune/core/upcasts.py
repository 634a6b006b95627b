"""Conversion of older forms of events to the current one.

Each event has the number of its form, from 1, which is increased when the event's fields change. An event without a
number has form 1. Each function here converts the fields of one form to the next. Logs are never rewritten: their
events are converted whenever they are read.

Form 1 is that of release 0.1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightning_hwtune.core.allocation import LOCAL

__all__ = ["form_of", "upcast"]

Fields = dict[str, Any]


def upcast(kind: str, form: int, fields: Fields) -> Fields:
    """Returns the fields of an event of this kind, converted to the current form."""
    for step in _STEPS.get(kind, ())[form - 1 :]:
        fields = step(dict(fields))
    return fields


def form_of(kind: str) -> int:
    """Returns the number of the current form of a kind of event."""
    return 1 + len(_STEPS.get(kind, ()))


def _devices_to_allocation(old: str, new: str, default: int | None = None) -> Callable[[Fields], Fields]:
    """Returns the conversion of a number of devices to an allocation on this host."""

    def step(fields: Fields) -> Fields:
        count = fields.pop(old, default)
        return fields if count is None else {**fields, new: {"instance": LOCAL, "devices": count, "nodes": 1}}

    return step


def _ended(fields: Fields) -> Fields:
    if fields.get("state") == "infeasible":
        fields["state"] = "out-of-memory"
    return _devices_to_allocation("next_devices", "next_allocation")(fields)


def _opened(fields: Fields) -> Fields:
    """Adds the defaults of 0.1.0. The number of finishers was stored; whether the user gave it was not."""
    unlimited = dict.fromkeys(("max_trials", "max_time_s", "max_cost_usd", "max_parallel"))
    limits = fields.get("limits")
    finishers = limits.get("finishers", 1) if isinstance(limits, Mapping) else 1
    return {**fields, "defaults": {**unlimited, "finishers": finishers}}


def _created(fields: Fields) -> Fields:
    """Adds the settings that 0.1.0 did not have, with the values that mean what it did."""
    spec = fields.get("spec")
    scheduler = spec.get("scheduler") if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping) or not isinstance(scheduler, Mapping) or scheduler.get("name") not in _ADDED:
        return fields
    added = {**_ADDED[scheduler["name"]], **scheduler}
    return {**fields, "spec": {**spec, "scheduler": added}}


def _created_with(name: str, **added: Any) -> Callable[[Fields], Fields]:
    """Returns the conversion that adds settings of a searcher, with the values that mean what it did without them."""

    def step(fields: Fields) -> Fields:
        spec = fields.get("spec")
        searcher = spec.get("searcher") if isinstance(spec, Mapping) else None
        if not isinstance(spec, Mapping) or not isinstance(searcher, Mapping) or searcher.get("name") != name:
            return fields
        return {**fields, "spec": {**spec, "searcher": {**added, **searcher}}}

    return step


_ADDED: Mapping[str, Fields] = {"asha": {"keep_front": False}}
"""Scheduler -> settings that were added after the first logs."""


def _unconstrained(fields: Fields) -> Fields:
    """Adds the constraints: before them, a study had none."""
    spec = fields.get("spec")
    return {**fields, "spec": {"constraints": [], **spec}} if isinstance(spec, Mapping) else fields


def _searching(fields: Fields) -> Fields:
    """Adds the replicates of a session: before them, every session searched."""
    return {"replication": {}, **fields}


def _given(fields: Fields) -> Fields:
    """Adds which limits the user gave: before, that was not stored."""
    return {"given": None, **fields}


def _searched(fields: Fields) -> Fields:
    """Adds the trial that a trial repeats: before replicates, every trial was one of the search."""
    return {"replicate_of": None, **fields}


def _not_refit(fields: Fields) -> Fields:
    """Adds from where a refit begins: before refits, each trial was one of the search or a replicate."""
    return {"refit": "", **fields}


def _at_reference(fields: Fields) -> Fields:
    """Adds the conversion to the reference count: before it, the seconds of a report were those of its devices."""
    return {"reference_factor": 1.0, "reference_basis": "", **fields}


def _unmoved(fields: Fields) -> Fields:
    """Adds to which devices a report moves its trial: before that, no report did."""
    return {"next_allocation": None, **fields}


def _without_logged(fields: Fields) -> Fields:
    """Adds the other logged numbers of a report: before that, only those of objectives and constraints were kept."""
    return {"logged": {}, **fields}


def _saved_at_reference(fields: Fields) -> Fields:
    """Adds the seconds at the reference count: before them, they were those that the trial had used."""
    return {"reference_s": None, "reference_device_s": None, **fields}


def _any_batch(fields: Fields) -> Fields:
    """Adds the limit of the batch per device: before it, a trial that ran out of memory only got more devices."""
    return {"max_per_device_batch": None, **fields}


def _own_machine(fields: Fields) -> Fields:
    """Adds the provider's id of a node: before nodes were rented, each was the machine of a session."""
    return {"rented_as": "", **fields}


_STEPS: Mapping[str, tuple[Callable[[Fields], Fields], ...]] = {
    # 0.1.0 asked the policy again on each reading of the log; 0 devices mean the count in the configuration
    "StudyCreated": (
        _created,
        _unconstrained,
        _created_with("tpe", estimator="bohb"),
        _created_with("tpe", gaussian=0.0),
        _created_with("prior", gaussian=0.0, evidence="uniform"),
    ),
    "SessionOpened": (_opened, _searching, _given),
    "TrialCreated": (_devices_to_allocation("num_devices", "allocation", 0), _searched, _not_refit),
    "NodeRequested": (_own_machine,),
    "SegmentStarted": (_devices_to_allocation("num_devices", "allocation"),),
    "Reported": (_at_reference, _unmoved, _without_logged),
    "CheckpointSaved": (_saved_at_reference,),
    "SegmentEnded": (_ended, _any_batch),
}
"""Event -> the conversions from form 1 to 2, from 2 to 3, and so on."""
