"""A study as a study of Optuna, for tools that read Optuna's storage, such as optuna-dashboard.

A mirror is written as a whole: trials that have ended cannot be changed in Optuna, but a paused trial here may resume.
So a mirror of the same study is deleted first, and any other study of that name is left alone.

Fully trained trials are complete there; paused and stopped ones are pruned. Optuna's front is then the front here.
Values of complete trials are rounded to the resolution of their objectives, since Optuna knows none; the attribute
`values` has the exact ones. Optuna has one series of intermediate values: those of the first objective.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.parameters import Float, Int, Parameter
from lightning_hwtune.core.record import TrialRecord, TrialState
from lightning_hwtune.errors import ArgumentError, MissingDependencyError, StorageError
from lightning_hwtune.views.amounts import number
from lightning_hwtune.views.infeasible import infeasible_text

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

__all__ = ["write_mirror"]

_SOURCE = "lightning_hwtune"
"""The attribute of a mirror with the id of its study."""

_STATES = {
    TrialState.WAITING: "WAITING",
    TrialState.RUNNING: "RUNNING",
    TrialState.PAUSED: "PRUNED",
    TrialState.STOPPED: "PRUNED",
    TrialState.COMPLETED: "COMPLETE",
    TrialState.FAILED: "FAIL",
    TrialState.OUT_OF_MEMORY: "FAIL",
}


def write_mirror(state: StudyFacts, url: str, name: str | None = None) -> int:
    """Writes a study into a storage of Optuna; returns the number of its trials.

    Args:
        url: the storage, as for `optuna.create_study`, e.g. "sqlite:///optuna.db".
        name: the name of the study there; that of the study by default.

    Raises:
        ArgumentError: another study there has this name.
        StorageError: the storage cannot be opened.
        MissingDependencyError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        text = "an export to Optuna needs optuna: pip install 'lightning_hwtune[optuna]'"
        raise MissingDependencyError(text) from error
    name, source = name or state.spec.name, state.study_id or state.spec.name
    try:
        storage = optuna.storages.get_storage(url)
        if name in optuna.get_all_study_names(storage):
            known = optuna.load_study(study_name=name, storage=storage).user_attrs.get(_SOURCE)
            if known != source:
                raise ArgumentError("name", name, "a name that no other study in the storage has", hint="Give --name.")
            optuna.delete_study(study_name=name, storage=storage)
        kind = optuna.study.StudyDirection
        directions = [kind.MINIMIZE if item.mode == "min" else kind.MAXIMIZE for item in state.spec.objectives]
        study = optuna.create_study(study_name=name, storage=storage, directions=directions)
        with warnings.catch_warnings():  # it may change: the names are only shown
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(state.spec.objectives.names))
        study.set_user_attr(_SOURCE, source)
        ends = {one.trial_id: one.ended_at for one in state.segments if one.ended_at is not None}
        study.add_trials([_frozen(state, trial, ends) for trial in state.searched])
    except _storage_errors() as error:
        raise StorageError(f"cannot write to the storage {url!r} of Optuna: {error}") from error
    return len(state.searched)


def _storage_errors() -> tuple[type[Exception], ...]:
    from sqlalchemy.exc import SQLAlchemyError

    return (OSError, ImportError, SQLAlchemyError)  # ImportError: the driver of the database is missing


def _frozen(state: StudyFacts, trial: TrialRecord, ends: Mapping[int, float]) -> FrozenTrial:
    import optuna
    from optuna.trial import create_trial

    objectives = state.spec.objectives
    word = _STATES[trial.state]
    values = _rounded(state, trial) if word == "COMPLETE" else None
    if word == "COMPLETE" and values is None:  # Optuna has no place for a value that is not finite
        word = "FAIL"
    first = objectives.names[0]
    series = {m.resource: m.values[first] for m in trial.measurements if math.isfinite(m.values[first])}
    found = create_trial(
        state=optuna.trial.TrialState[word],
        values=values,
        params={name: _value(state.spec.space[name], value) for name, value in trial.config.items()},
        distributions={name: _distribution(state.spec.space[name]) for name in trial.config},
        user_attrs=_attributes(state, trial),
        intermediate_values=series,
        **_constraint(state, trial),
    )
    if word != "WAITING":
        found.datetime_start = datetime.fromtimestamp(trial.created_at)
    if found.state.is_finished():
        found.datetime_complete = datetime.fromtimestamp(ends.get(trial.trial_id, trial.created_at))
    return found


def _rounded(state: StudyFacts, trial: TrialRecord) -> list[float] | None:
    """Returns the values as fronts compare them; None if one is not finite."""
    if trial.last is None:
        return None
    values = [[trial.last.values[name] for name in state.spec.objectives.names]]
    losses = state.spec.objectives.losses(values)[0].tolist()
    if not all(map(math.isfinite, losses)):
        return None
    return [loss if item.mode == "min" else -loss for loss, item in zip(losses, state.spec.objectives, strict=True)]


def _constraint(state: StudyFacts, trial: TrialRecord) -> dict[str, Any]:
    """Returns by how much a trial violates the bounds, as an argument of `create_trial`; empty without bounds."""
    from optuna.trial import create_trial

    if not state.spec.objectives.is_constrained or trial.last is None:
        return {}
    violation = state.violation(trial)
    if "constraints" in inspect.signature(create_trial).parameters:  # since 5.0
        return {"constraints": {"violation": violation}}
    return {"system_attrs": {"constraints": [violation]}}


def _attributes(state: StudyFacts, trial: TrialRecord) -> dict[str, Any]:
    found: dict[str, Any] = {
        "trial": trial.trial_id,
        "state": trial.state.value,
        state.ladder.unit: trial.resource,
        "devices": trial.num_devices,
        "segments": trial.segment,
    }
    if trial.last is not None:
        found["values"] = {
            key: number(value) if not math.isfinite(value) else value for key, value in trial.last.values.items()
        }
    texts = {"infeasible": infeasible_text(state, trial), "failure": trial.error.partition("\n")[0]}
    return found | {key: text for key, text in texts.items() if text}


def _distribution(parameter: Parameter) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(parameter, Float):
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, Int):
        return IntDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
    return CategoricalDistribution([_value(parameter, option) for option in parameter.levels()])


def _value(parameter: Parameter, value: Any) -> Any:
    """Returns a value that Optuna can store: lists and mappings as text."""
    is_plain = isinstance(parameter, Float | Int) or value is None or isinstance(value, bool | int | float | str)
    return value if is_plain else number(value)
