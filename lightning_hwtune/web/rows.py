"""What the page draws, as compact JSON: one array per trial, curve or segment, and one object about the study.

The values are those of `views.tables.trial_entries`, the answer of `hwtune trials --format json`. A mapping whose keys
all trials share becomes an array, because at 20,000 trials the names would be most of the text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.objectives import Metric, Objective
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.views.amounts import unit_of
from lightning_hwtune.views.export import json_text
from lightning_hwtune.views.phases import phases
from lightning_hwtune.views.prior_facts import has_prior
from lightning_hwtune.views.tables import trial_entries

__all__ = ["about", "curve_texts", "segment_texts", "trial_keys", "trial_texts"]

_LEFT_OUT = ("checkpoint",)
TRAIN_S = "train_s"
"""The key of a row that a trial's entry does not have: the training seconds of its last measurement."""
DRAW = "draw"
"""Another one: the number of the searcher's draw; None for a configuration that the user enqueued."""


def about(state: StudyFacts) -> dict[str, Any]:
    """Returns what the page must know of the study to draw it; it changes with the study's sessions only."""
    from lightning_hwtune.views.effects.slices import scale_of  # imports scipy

    spec, limits = state.spec, state.limits
    return {
        "study": spec.name,
        "study_id": state.study_id,
        "unit": str(state.ladder.unit),
        "levels": list(state.ladder.levels),
        "objectives": [_objective(item) for item in spec.objectives],
        "constraints": [item.name for item in spec.objectives.constraints],
        "units": {item.name: item.unit for item in (*spec.objectives, *spec.objectives.constraints)},
        "parameters": list(spec.space),
        "scales": {name: scale_of(parameter) for name, parameter in spec.space.items()},
        "searcher": spec.searcher.name,
        "has_prior": has_prior(state),
        "devices_key": spec.space.devices_key,
        "accelerator": spec.pool.accelerator,
        "n_slots": spec.pool.size,
        "n_devices": spec.pool.size if spec.pool.has_several_kinds else None,
        "has_price": spec.has_price,
        "limits": {name: getattr(limits, name) for name in ("max_trials", "max_time_s", "max_cost_usd")},
        "trial_keys": trial_keys(state),
    }


def _objective(item: Objective) -> dict[str, Any]:
    bounds = (item.at_most, item.at_least) if isinstance(item, Metric) else (None, None)
    found = {"name": item.name, "mode": item.mode, "unit": unit_of(item), "at_most": bounds[0], "at_least": bounds[1]}
    return {**found, "resolution": item.resolution, "is_relative": item.is_measured}


def trial_keys(state: StudyFacts) -> list[str]:
    """Returns what the places of a trial's array mean."""
    extra = ("constraints", "infeasible", "violation") if state.spec.objectives.is_constrained else ()
    return [
        "trial_id", "state", str(state.ladder.unit), "target", "devices", "max_per_device_batch", "segments",
        "objectives", *extra, "reference", "config", "bracket", "rungs", "ended_early", "retries", "failure",
        "replicate_of", "refit", "logged", "notes", "test", "test_error", TRAIN_S, DRAW,
    ]  # fmt: skip


def trial_texts(state: StudyFacts, trial_ids: Collection[int] | None = None) -> dict[int, str]:
    """Returns one JSON array per trial, by trial id; of all trials, or of those with these ids."""
    keys = trial_keys(state)
    names = {
        "objectives": state.spec.objectives.names,
        "constraints": [item.name for item in state.spec.objectives.constraints],
        "config": list(state.spec.space),
    }
    return {
        entry["trial_id"]: _text([_cell(entry, key, names, state.trials[entry["trial_id"]]) for key in keys])
        for entry in trial_entries(state, trial_ids)
    }


def _cell(entry: Mapping[str, Any], key: str, names: Mapping[str, Sequence[str]], trial: TrialRecord) -> Any:
    if key == TRAIN_S:
        return trial.last.train_s if trial.last is not None else None
    if key == DRAW:
        return trial.draw
    value = entry.get(key)
    if key in names and isinstance(value, Mapping) and list(value) == list(names[key]):
        return list(value.values())
    return value  # a configuration with absent parameters keeps its names


def curve_texts(state: StudyFacts, trial_ids: Collection[int] | None = None) -> dict[int, str]:
    """Returns one JSON array per trial with measurements: its id, the resources, and the values per objective."""
    names = state.spec.objectives.names
    trials = state.trials if trial_ids is None else [state.trials[index] for index in sorted(trial_ids)]
    return {trial.trial_id: _curve(trial, names) for trial in trials if trial.measurements}


def _curve(trial: TrialRecord, names: Sequence[str]) -> str:
    values = [[item.values[name] for item in trial.measurements] for name in names]
    return _text([trial.trial_id, [item.resource for item in trial.measurements], *values])


def segment_texts(state: StudyFacts, trial_ids: Collection[int] | None = None) -> dict[tuple[int, int], str]:
    """Returns one JSON array per segment, by trial and number.

    It has: trial, number, slots, seconds of the study's clock at which it started and ended (None while it runs), the
    seconds of its phases in the sequence of `views.phases.PHASES`, the resource from which and to which it trained, its
    outcome, node, bill, and share of a device.
    """
    chosen = state.segments if trial_ids is None else [item for item in state.segments if item.trial_id in trial_ids]
    return {(item.trial_id, item.number): _segment(item) for item in chosen}


def _segment(item: Segment) -> str:
    end_s = item.started_clock_s + item.wall_s if item.ended_at is not None else None
    seconds = [round(part, 3) for part in phases(item).seconds]
    return _text(
        [item.trial_id, item.number, list(item.slots), item.started_clock_s, end_s, seconds, item.resource,
         max(item.reached, item.resource), item.outcome, item.node, item.billed_usd, item.allocation.per_device]
    )  # fmt: skip


def _text(row: list[Any]) -> str:
    return json_text(row, indent=None)
