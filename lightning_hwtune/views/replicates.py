"""Replicates as tables: the values of a trial, and their mean and spread over its replicates.

The trial itself is left out of mean and spread. It was chosen for its values, so they are better than those of an
ordinary training with its configuration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.record import TrialRecord, TrialState
from lightning_hwtune.core.replication import Replication, replicates_of
from lightning_hwtune.errors import first_line
from lightning_hwtune.views.amounts import counted, number

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "replicate_counts",
    "replicate_entries",
    "replicate_summary",
    "replicates_frame",
    "replicates_hint",
    "replicates_text",
    "replicates_title",
]

_FIXED = ("trial", "replicates", "failed", "open")  # columns


def replicate_entries(state: StudyFacts) -> list[dict[str, Any]]:
    """Returns one entry per trial that has replicates, the best value of the first objective first.

    `objectives` has the trial's own values, `mean` and `std` (the sample standard deviation) those of its complete
    replicates; they are NaN for none, and `std` also for one. `complete`, `failed` and `open` count the replicates.
    `trials` lists them, with seed, state and last values.
    """
    origins = {trial.replicate_of for trial in state.replicates if trial.replicate_of is not None}
    objectives = state.spec.objectives

    def order(trial_id: int) -> tuple[Any, ...]:
        last = state.trials[trial_id].last
        losses = objectives.loss(last.values).tolist() if last is not None else [math.inf]
        return *losses, trial_id

    return [_entry(state, state.trials[trial_id]) for trial_id in sorted(origins, key=order)]


def replicate_summary(state: StudyFacts, trial_id: int) -> dict[str, Any] | None:
    """Returns the counts, `mean` and `std` of a trial's replicates; None if it has none."""
    trials = replicates_of(state, trial_id)
    if not trials:
        return None
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETED and trial.last is not None]
    values = {
        name: np.array([trial.last.values[name] for trial in complete if trial.last is not None], dtype=float)
        for name in state.spec.objectives.names
    }
    with np.errstate(invalid="ignore"):  # the spread of infinite values is NaN
        return {
            "complete": len(complete),
            "failed": sum(trial.state.is_final for trial in trials) - len(complete),
            "open": sum(not trial.state.is_final for trial in trials),
            "mean": {name: float(found.mean()) if len(found) else math.nan for name, found in values.items()},
            "std": {name: float(found.std(ddof=1)) if len(found) > 1 else math.nan for name, found in values.items()},
        }


def _entry(state: StudyFacts, trial: TrialRecord) -> dict[str, Any]:
    names = state.spec.objectives.names
    return {
        "trial_id": trial.trial_id,
        "config": dict(trial.config),
        "devices": trial.num_devices,
        "objectives": _values(trial, names),
        **(replicate_summary(state, trial.trial_id) or {}),
        "trials": [
            {
                "trial_id": one.trial_id,
                "seed": one.seed,
                "state": one.state.value,
                state.ladder.unit: one.resource,
                "objectives": _values(one, names),
                "failure": first_line(one.error),
            }
            for one in replicates_of(state, trial.trial_id)
        ],
    }


def _values(trial: TrialRecord, names: Sequence[str]) -> dict[str, float | None]:
    return {name: trial.last.values[name] if trial.last is not None else None for name in names}


def replicates_frame(state: StudyFacts) -> pd.DataFrame:
    """Returns one row per trial that has replicates: its values, their mean and spread, and how many are complete.

    The columns of an objective are its name (the value of the trial itself), `<name>_mean` and `<name>_std`.
    """
    import pandas as pd

    names = state.spec.objectives.names
    rows = []
    for entry in replicate_entries(state):
        counts = (entry[key] for key in ("trial_id", "complete", "failed", "open"))
        row: dict[str, Any] = dict(zip(_FIXED, counts, strict=True))
        for name in names:
            row[_column(name)] = entry["objectives"][name]
            row |= {f"{name}_{key}": entry[key][name] for key in ("mean", "std")}
        rows.append(row)
    own = [column for name in names for column in (_column(name), f"{name}_mean", f"{name}_std")]
    return pd.DataFrame(rows, columns=[*_FIXED, *own])


def _column(name: str) -> str:
    return f"objective.{name}" if name in _FIXED else name


def replicates_title(name: str) -> str:
    """Returns the title of the table."""
    return f"replicates of {name}, with other seeds"


def replicates_hint(state: StudyFacts) -> str:
    """Returns a warning about trials whose replicates all have the values of the trial itself; usually empty.

    Their training code sets a seed, so the replicates say nothing.
    """
    metrics = state.spec.objectives.metrics
    found = []
    for entry in replicate_entries(state):
        own = [entry["objectives"][name] for name in metrics if name in entry["objectives"]]
        others = [
            [one["objectives"][name] for name in metrics if name in one["objectives"]]
            for one in entry["trials"]
            if one["state"] == TrialState.COMPLETED
        ]
        if own and others and all(values == own for values in others):
            found.append(str(entry["trial_id"]))
    if not found:
        return ""
    which = f"trial {found[0]}" if len(found) == 1 else f"trials {', '.join(found)}"
    text = f"the replicates of {which} have exactly the values of the trial itself: the training code seems to set "
    return f"{text}its own seed. Leave that out, or use `trial.seed`"


def replicates_text(state: StudyFacts, trial: TrialRecord) -> str:
    """Returns a sentence about the replicates of a trial, or about the replicate that it is; empty without either."""
    if trial.refit:
        begin = "scratch" if trial.refit == "scratch" else "the weights of its checkpoint"
        return f"It is a refit of trial {trial.replicate_of}, from {begin}. No rung, front or searcher compares it."
    if trial.replicate_of is not None:
        text = f"It is a replicate of trial {trial.replicate_of}, with another seed."
        return f"{text} No rung, front or searcher compares it."
    found = replicate_summary(state, trial.trial_id)
    if found is None:
        return ""
    counts = [counted(found["complete"], "replicates") + " with other seeds"]
    counts += [f"{found[key]} {word}" for key, word in (("failed", "failed"), ("open", "not ended")) if found[key]]
    if not found["complete"]:
        return f"It has {', '.join(counts)}."
    parts = [f"{name} {_spread(found, name)}" for name in state.spec.objectives.names]
    return f"It has {', '.join(counts)}: {', '.join(parts)} in the mean."


def _spread(found: Mapping[str, Any], name: str) -> str:
    spread = found["std"][name]
    return number(found["mean"][name]) + (f" ± {number(spread)}" if spread == spread else "")


def replicate_counts(state: StudyFacts) -> dict[str, Any]:
    """Returns the numbers of replicates for the status of a study; empty if it never had any.

    Returns:
        replicates: those that have begun. replicates_complete, replicates_failed: those that have ended.
        replicates_to_go: those of the newest session that have not ended; 0 if it did not train replicates.
    """
    if not state.replicates and not state.is_replicating:
        return {}
    ended = [trial for trial in state.replicates if trial.state.is_final]
    n_complete = sum(trial.state is TrialState.COMPLETED for trial in ended)
    wanted = Replication.from_dict(state.session.replication) if state.session and state.is_replicating else None
    return {
        "replicates": len(state.replicates),
        "replicates_complete": n_complete,
        "replicates_failed": len(ended) - n_complete,
        "replicates_to_go": wanted.n_missing(state) if wanted is not None else 0,
    }
