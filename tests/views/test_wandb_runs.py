"""A study as runs of Weights & Biases, written offline by the real library and read from its files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from wandb_files import stored_records

from lightning_hwtune.errors import StorageError
from lightning_hwtune.views.wandb_runs import write_wandb

wandb = pytest.importorskip("wandb")


def runs_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns the stored runs by name: group, job type, configuration, history and summary."""
    from wandb.proto import wandb_internal_pb2 as records

    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        run: dict[str, Any] = {"history": [], "summary": {}}
        for data in stored_records(path.read_bytes()):
            record = records.Record()
            record.ParseFromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                run |= {"name": record.run.display_name, "group": record.run.run_group, "job": record.run.job_type}
                run["config"] = {item.key: json.loads(item.value_json) for item in record.run.config.update}
            elif kind == "history":
                run["history"].append(_items(record.history.item))
            elif kind == "summary":
                run["summary"] |= _items(record.summary.update)
            elif kind == "exit":
                run["exit_code"] = record.exit.exit_code
        found[run["name"]] = run
    return found


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


@pytest.mark.slow
def test_a_parent_run_with_one_run_per_trial(paper: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()
    write_wandb(paper.state, "papers", "first", tmp_path)
    wandb.teardown()  # its service has then written everything
    runs = runs_of(tmp_path)
    assert sorted(runs) == ["first", "trial_000", "trial_001", "trial_002", "trial_003"]
    assert {run["group"] for run in runs.values()} == {"first"}
    assert [runs[name]["job"] for name in ("first", "trial_000")] == ["study", "trial"]
    trial = paper.state.trials[1]
    child = runs["trial_001"]
    assert child["config"]["lr"] == trial.config["lr"]
    measured = {(item["_step"], item["error"]) for item in child["history"]}
    assert measured == {(m.resource, m.values["error"]) for m in trial.measurements}
    assert all("error" not in item for item in runs["trial_002"]["history"])  # NaN
    assert [runs[f"trial_00{index}"]["summary"]["on_front"] for index in range(4)] == [True, True, False, False]
    assert [runs[f"trial_00{index}"]["exit_code"] for index in range(4)] == [0, 0, 0, 1]
    assert runs["first"]["summary"]["fully_trained"] == 2


def test_without_a_login_it_says_what_to_do(paper: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WANDB_MODE": "online", "HOME": str(tmp_path), "NETRC": str(tmp_path / "none")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    wandb.teardown()  # it keeps the settings of the first run
    with pytest.raises(StorageError, match="WANDB_MODE=offline"):
        write_wandb(paper.state, "papers", None, tmp_path)
