"""Studies of Optuna as earlier tasks of a prior; needs the package optuna.

A completed trial counts with its final values. With one objective, every trial also counts with the values that it
reported at each step, so a pruned trial is compared with the others at the steps that it reached
(`copula.chained_scores`). Failed trials, and trials that have not ended, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.searchers.copula import chained_scores
from lightning_hwtune.core.searchers.earlier_studies import EarlierTask
from lightning_hwtune.core.space import MAX_COMBINATIONS
from lightning_hwtune.errors import ArgumentError, MissingDependencyError
from lightning_hwtune.forms import elements, reading

__all__ = ["tasks_of_optuna"]

_STORAGE = "the URL of an Optuna storage such as 'sqlite:///optuna.db', an Optuna storage, or an Optuna study"


def tasks_of_optuna(
    storage: Any, studies: Sequence[str] | None, objectives: Objectives
) -> tuple[list[EarlierTask], Objectives]:
    """Returns one task per Optuna study; see `ParetoPrior.from_optuna`."""
    tasks = []
    for study in _studies(storage, studies):
        modes = [direction.name[:3].lower() for direction in study.directions]
        wanted = [objective.mode for objective in objectives]
        if modes != wanted:
            hint = f"The directions of Optuna's study {study.study_name!r} are {modes}, in this order."
            raise ArgumentError("objectives", wanted, "one objective per direction of the study", hint=hint)
        trials = _records(study, objectives)
        judged, scores = chained_scores(trials, objectives)
        if judged:
            tasks.append(EarlierTask.of(study.study_name, [trial.config for trial in judged], scores))
    if not tasks:
        raise ArgumentError("storage", storage, "an Optuna storage with a completed trial")
    return tasks, objectives


def _studies(storage: Any, names: Sequence[str] | None) -> list[Any]:
    try:
        import optuna
    except ImportError as error:
        raise MissingDependencyError(
            "reading an Optuna storage needs optuna: pip install 'lightning_hwtune[optuna]'"
        ) from error
    if isinstance(storage, optuna.Study):
        return [storage]
    if not isinstance(storage, str | optuna.storages.BaseStorage):
        raise ArgumentError("storage", storage, _STORAGE)
    with reading("storage", storage, _STORAGE):
        known = optuna.get_all_study_names(storage)
    if not known:
        raise ArgumentError("storage", storage, "an Optuna storage with at least one study")
    allowed = f"a list of names of its studies, or None for all: {', '.join(known)}"
    chosen = known if names is None else elements(allowed, MAX_COMBINATIONS).read("studies", names)
    if not chosen or not all(name in known for name in chosen):
        raise ArgumentError("studies", chosen, allowed)
    return [optuna.load_study(study_name=name, storage=storage) for name in chosen]


def _records(study: Any, objectives: Objectives) -> list[TrialRecord]:
    """Returns the trials of an Optuna study, judged at each step that they reported and at their end."""
    trials = [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]
    last = max((step for trial in trials for step in trial.intermediate_values), default=0)
    found = []
    for trial in trials:
        steps = sorted(trial.intermediate_values.items()) if len(objectives) == 1 else []
        results = [(step + 1, [value]) for step, value in steps]
        if trial.state.name == "COMPLETE":
            results.append((last + 2, trial.values))
        if not results:
            continue
        record = TrialRecord(trial.number, trial.params, 0, 0, results[-1][0], 0.0)
        for resource, values in results:
            named = dict(zip(objectives.names, map(float, values), strict=True))
            record.measurements.append(Measurement(resource, named, 0.0, 0.0))
            record.decided[resource] = "continue"
        found.append(record)
    return found
