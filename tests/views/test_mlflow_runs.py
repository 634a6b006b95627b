"""A study as runs of MLflow, in a real file store."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lightning_hwtune.views.mlflow_runs import write_runs

mlflow = pytest.importorskip("mlflow")


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # newer versions refuse a file store without it
    return (tmp_path / "mlruns").as_uri()


def runs_of(uri: str, experiment: str):
    client = mlflow.tracking.MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    return client, client.search_runs([found.experiment_id])


def test_a_parent_run_with_one_run_per_trial(paper, uri):
    parent = write_runs(paper.state, uri)
    client, runs = runs_of(uri, "paper")
    children = {run.data.tags["hwtune.trial"]: run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent}
    assert sorted(children) == ["0", "1", "2", "3"]
    assert len(runs) == 5
    assert {name: run.info.status for name, run in children.items()} == {
        "0": "FINISHED", "1": "FINISHED", "2": "FINISHED", "3": "FAILED",
    }  # fmt: skip
    assert children["0"].data.params == {"lr": "0.01", "devices": "1"}
    history = client.get_metric_history(children["1"].info.run_id, "error")
    trial = paper.state.trials[1]
    assert {(m.step, m.value) for m in history} == {(m.resource, m.values["error"]) for m in trial.measurements}
    assert "error" not in children["2"].data.metrics  # NaN
    assert math.isfinite(children["2"].data.metrics["train_s"])
    [whole] = [run for run in runs if run.info.run_id == parent]
    assert whole.data.metrics["fully_trained"] == 2
    assert [children[name].data.tags["hwtune.on_front"] for name in "0123"] == ["true", "true", "false", "false"]


def test_a_second_export_replaces_the_first(paper, uri):
    first = write_runs(paper.state, uri, "mine")
    second = write_runs(paper.state, uri, "mine")
    _, runs = runs_of(uri, "mine")
    assert len(runs) == 5
    assert first not in {run.info.run_id for run in runs}
    assert second in {run.info.run_id for run in runs}
