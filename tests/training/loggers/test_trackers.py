"""Trackers that name a run by a variable: the same run in every segment of a trial, and in no other trial."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from digits_training import DigitsData, DigitsNet
from lightning.pytorch.loggers import MLFlowLogger
from rank_bench import Bench

from lightning_hwtune.training.loggers.trackers import tracker_runs
from lightning_hwtune.training.trial import Trial

_NAMES = ("WANDB_RUN_ID", "WANDB_RESUME", "WANDB_MODE", "MLFLOW_RUN_ID")


def _seen(bench: Bench, rank: int = 0, **changes: Any) -> dict[str, str]:
    """Returns the run variables that user code sees in a segment."""
    with tracker_runs(replace(bench.order, **changes), rank):
        return {name: os.environ[name] for name in _NAMES if name in os.environ}


def test_every_segment_names_the_same_run_in_weights_and_biases(bench: Bench) -> None:
    first, later = _seen(bench), _seen(bench, segment=2)
    assert first == later
    assert first["WANDB_RESUME"] == "allow"
    assert first["WANDB_RUN_ID"].startswith("study-017-")


def test_studies_of_one_name_have_runs_of_their_own(bench: Bench, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert _seen(bench)["WANDB_RUN_ID"] != _seen(bench, trial_dir=str(other))["WANDB_RUN_ID"]


def test_a_name_that_would_be_no_run_id_is_made_one(bench: Bench) -> None:
    run_id = _seen(bench, study="a/b: c?" + "x" * 80)["WANDB_RUN_ID"]
    assert run_id.startswith("a-b--c-x")
    assert len(run_id) <= 64


def test_the_run_around_a_study_is_hidden_from_its_trials(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _NAMES:
        monkeypatch.setenv(name, "outside")
    seen = _seen(bench)
    assert "outside" not in (seen["WANDB_RUN_ID"], seen["WANDB_RESUME"])
    assert "MLFLOW_RUN_ID" not in seen
    assert seen["WANDB_MODE"] == "outside"
    assert _seen(bench, rank=1) == {"WANDB_MODE": "outside"}
    assert [os.environ[name] for name in _NAMES] == ["outside"] * 4


def test_a_check_has_no_run(bench: Bench) -> None:
    assert _seen(bench, probe_batches=2) == {"WANDB_MODE": "disabled"}


@pytest.mark.parametrize(("error", "exit_code"), [(None, 0), (SystemExit(0), 0), (SystemExit(1), 1), (ValueError(), 1)])
def test_a_run_that_user_code_leaves_open_is_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: BaseException | None, exit_code: int
) -> None:
    """The package that stands in has the two names that are used; it is not a dependency of the tests."""
    ended: list[int] = []
    wandb: Any = SimpleNamespace(run=None, finish=lambda exit_code: ended.append(exit_code))
    monkeypatch.setitem(sys.modules, "wandb", wandb)

    def train() -> None:
        with tracker_runs(bench.order, 0):
            wandb.run = object()
            if error is not None:
                raise error

    if error is None:
        train()
    else:
        with pytest.raises(type(error)):
            train()
    assert ended == [exit_code]
    with tracker_runs(bench.order, 0):
        pass  # the run is whose who called, and stays open
    assert ended == [exit_code]


# ---------------------------------------------------------------------- MLflow


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of a store on this disk, which code that names no store uses too."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'runs'}")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"file:{tmp_path / 'runs'}")
    yield mlflow.tracking.MlflowClient()
    mlflow.set_tracking_uri(before)


def _runs(client: Any) -> list[Any]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments))


def _steps(client: Any, run: Any, name: str) -> list[int]:
    return sorted(metric.step for metric in client.get_metric_history(run.info.run_id, name))


def _training(make: Callable[[], MLFlowLogger]) -> Callable[[Trial], None]:
    def train(trial: Trial) -> None:
        trial.fit(DigitsNet(), DigitsData(64), logger=make(), log_every_n_steps=1)

    return train


@pytest.mark.training
def test_an_unchanged_mlflow_logger_has_one_run(bench: Bench, client: Any, tmp_path: Path) -> None:
    during: list[str] = []

    def make() -> MLFlowLogger:
        logger = MLFlowLogger("net", tracking_uri=f"file:{tmp_path / 'runs'}")
        logger.log_hyperparams({"app": f"as composed {len(during)}", f"segment {len(during)}": "began"})
        logger.log_metrics({"free_gb": 3.0}, step=0)
        return logger

    class Watched(DigitsNet):
        def on_train_start(self) -> None:
            during.append(client.get_run(self.logger.run_id).info.status)

    def train(trial: Trial) -> None:
        trial.fit(Watched(), DigitsData(64), logger=make(), log_every_n_steps=1)

    first = bench.inline(train, {2: "pause"})
    (run,) = _runs(client)
    assert run.info.status == "FINISHED"
    last = bench.inline(train, {3: "pause"}, **bench.resume(first, 2))
    assert [said.ended[0].error for said in (first, last)] == ["", ""]
    (again,) = _runs(client)
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert during == ["RUNNING", "RUNNING"]
    assert _steps(client, again, "val_error") == [7, 15, 23]
    assert _steps(client, again, "train_loss_step") == list(range(24))
    assert _steps(client, again, "free_gb") == [0, 0]
    assert [metric.value for metric in client.get_metric_history(run.info.run_id, "hwtune/rung")] == [1.0, 2.0]
    params = again.data.params
    assert (params["segment 0"], params["segment 1"]) == ("began", "began")
    assert (params["app"], params["lr"], params["hwtune/config/lr"]) == ("as composed 0", "0.003", "0.003")


@pytest.mark.training
def test_a_run_that_was_deleted_is_not_revived(bench: Bench, client: Any, tmp_path: Path) -> None:
    train = _training(lambda: MLFlowLogger("net", tracking_uri=f"file:{tmp_path / 'runs'}"))
    first = bench.inline(train, {2: "pause"})
    (run,) = _runs(client)
    client.delete_run(run.info.run_id)
    bench.inline(train, {3: "pause"}, **bench.resume(first, 2))
    (new,) = _runs(client)
    assert new.info.run_id != run.info.run_id
    assert _steps(client, new, "val_error") == [23]


def _start_a_run(trial: Trial) -> None:
    """A loop that reports by hand, in a run that it leaves open."""
    import mlflow

    mlflow.start_run()
    resource = trial.segment
    mlflow.log_metric("error", 1.0 / resource, step=resource)
    trial.report(resource, val_error=1.0 / resource)
    if trial.segment == 3:
        raise ValueError("third time unlucky")


def test_a_started_run_goes_on_and_is_ended_as_its_segment_ends(bench: Bench, client: Any) -> None:
    statuses = []
    for segment in (1, 2, 3):
        bench.inline(_start_a_run, {}, segment=segment)
        (run,) = _runs(client)
        statuses.append(run.info.status)
    assert statuses == ["FINISHED", "FINISHED", "FAILED"]
    assert _steps(client, run, "error") == [1, 2, 3]


def test_trials_start_runs_of_their_own(bench: Bench, client: Any, tmp_path: Path) -> None:
    other = tmp_path / "018"
    other.mkdir()
    bench.inline(_start_a_run, {})
    bench.inline(_start_a_run, {}, trial_id=18, trial_dir=str(other))
    bench.inline(_start_a_run, {}, segment=2)
    assert sorted(_steps(client, run, "error") for run in _runs(client)) == [[1], [1, 2]]
