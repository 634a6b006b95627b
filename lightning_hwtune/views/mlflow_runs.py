"""A study as runs of MLflow: a parent run with one child run per trial.

A later export of the same study deletes the runs of the earlier one in the same experiment, so that each trial has one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.record import TrialRecord, TrialState
from lightning_hwtune.errors import MissingDependencyError, StorageError
from lightning_hwtune.views.amounts import number
from lightning_hwtune.views.front_points import front_points

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

__all__ = ["write_runs"]

_STUDY, _TRIAL, _PARENT = "hwtune.study", "hwtune.trial", "mlflow.parentRunId"
_ENDED = {TrialState.FAILED: "FAILED", TrialState.OUT_OF_MEMORY: "FAILED", TrialState.RUNNING: "RUNNING"}
_MOST_METRICS, _MOST_PARAMS = 1000, 100  # of one request


def write_runs(state: StudyFacts, uri: str, experiment: str | None = None) -> str:
    """Writes a study; returns the id of the parent run.

    Args:
        uri: the tracking URI, e.g. "file:mlruns", "sqlite:///mlflow.db" or "http://localhost:5000".
        experiment: the name of the experiment; that of the study by default.

    Raises:
        StorageError: MLflow cannot write there.
        MissingDependencyError: MLflow is not installed.
    """
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise MissingDependencyError("an export to MLflow needs mlflow-skinny: pip install mlflow-skinny") from error
    try:
        return _written(MlflowClient(tracking_uri=uri), state, experiment or state.spec.name)
    except (MlflowException, OSError) as error:
        raise StorageError(f"MLflow cannot write to {uri!r}: {error}") from error


def _written(client: MlflowClient, state: StudyFacts, experiment: str) -> str:
    found = client.get_experiment_by_name(experiment)
    experiment_id = found.experiment_id if found is not None else client.create_experiment(experiment)
    source = state.study_id or state.spec.name
    _delete(client, experiment_id, source)
    front = [point.trial.trial_id for point in front_points(state)]
    tags = {_STUDY: source, "mlflow.runName": state.spec.name, "hwtune.front": " ".join(map(str, front))}
    parent: str = client.create_run(experiment_id, start_time=_ms(_first_at(state)), tags=tags).info.run_id
    for key, value in (("trials", len(state.searched)), ("fully_trained", state.n_full), ("front_size", len(front))):
        client.log_metric(parent, key, value)
    for trial in state.searched:
        _child(
            client, experiment_id, state, trial, {_STUDY: source, _PARENT: parent}, is_on_front=trial.trial_id in front
        )
    client.set_terminated(parent, "RUNNING" if state.closed is None else "FINISHED", _ms(state.last_at))
    return parent


def _delete(client: MlflowClient, experiment_id: str, source: str) -> None:
    """Deletes the runs of an earlier export of this study."""
    token, earlier = None, list[str]()
    while True:
        page = client.search_runs([experiment_id], f"tags.`{_STUDY}` = '{source}'", page_token=token)
        earlier += [run.info.run_id for run in page]
        token = page.token
        if not token:
            break
    for run_id in earlier:
        client.delete_run(run_id)


def _child(
    client: MlflowClient,
    experiment_id: str,
    state: StudyFacts,
    trial: TrialRecord,
    tags: dict[str, str],
    *,
    is_on_front: bool,
) -> None:
    from mlflow.entities import Metric, Param

    own = {
        _TRIAL: str(trial.trial_id),
        "mlflow.runName": f"trial_{trial.trial_id:03d}",
        "hwtune.state": trial.state.value,
    }
    own |= {"hwtune.on_front": str(is_on_front).lower()}
    run_id = client.create_run(experiment_id, start_time=_ms(trial.created_at), tags=tags | own).info.run_id
    params = [Param(name, number(value)) for name, value in trial.config.items()]
    for start in range(0, len(params), _MOST_PARAMS):
        client.log_batch(run_id, params=params[start : start + _MOST_PARAMS])
    segments = [segment for segment in state.segments if segment.trial_id == trial.trial_id]
    at = _ms(trial.created_at)
    metrics = [
        Metric(name, value, at, measured.resource)
        for measured in trial.measurements
        for name, value in measured.values.items()
        if math.isfinite(value)
    ]
    for start in range(0, len(metrics), _MOST_METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + _MOST_METRICS])
    ends = [segment.ended_at for segment in segments if segment.ended_at is not None]
    client.set_terminated(run_id, _ENDED.get(trial.state, "FINISHED"), _ms(max(ends, default=trial.created_at)))


def _first_at(state: StudyFacts) -> float:
    return min((trial.created_at for trial in state.searched), default=state.last_at)


def _ms(at: float) -> int:
    return int(at * 1000)
