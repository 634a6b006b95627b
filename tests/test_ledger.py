"""A study on an instance type of this host: its log, `hwtune ledger` and `hwtune status`, and a continued study."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))
from study_bench import of_kind

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app
from lightning_hwtune.core import events as ev

BOX = hwt.InstanceType("box", 3600.0, vcpus=1)  # a dollar per second


def study(folder: Path, **settings: object) -> hwt.Study:
    space = hwt.SearchSpace(lr=hwt.Float(0, 1))
    objectives = [hwt.Metric("error", "min"), hwt.Cost()]
    return hwt.Study("s", space, objectives, max_epochs=2, dir=folder, **settings)  # type: ignore[arg-type]


def train(trial: hwt.Trial) -> None:
    for epoch in (1, 2):
        if trial.report(epoch, error=trial["lr"] / epoch).kind != "continue":
            break


def hwtune(folder: Path, *words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--dir", str(folder)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.training
@pytest.mark.slow
def test_a_study_on_an_instance_type_pays_for_each_session(tmp_path: Path) -> None:
    options = {"executor": "inline", "check": False, "progress": False}
    study(tmp_path, pool=hwt.Pool(instance=BOX)).run(train, max_trials=2, **options)
    study(tmp_path).run(train, max_trials=4, **options)  # the type is stored
    again = study(tmp_path)
    released = of_kind(again, ev.NodeReleased)
    assert [event.node for event in released] == [0, 1]
    assert [event.up_s for event in released] == pytest.approx([event.billed_usd for event in released])
    entry = json.loads(hwtune(tmp_path, "ledger", "--format", "json"))
    assert entry["total_usd"] == pytest.approx(sum(event.billed_usd for event in released))
    assert [node["state"] for node in entry["nodes"]] == ["released", "released"]
    lines = {
        row["line"]: float(row["usd"])
        for row in csv.DictReader(io.StringIO(hwtune(tmp_path, "ledger", "--format", "csv")))
    }
    assert lines.pop("total") == pytest.approx(sum(lines.values()))
    assert set(lines) == {"training", "start-ups, saving and lost work", "idle and launch"}
    table = hwtune(tmp_path, "ledger")
    assert "idle and launch" in table
    assert "box" in table
    status = json.loads(hwtune(tmp_path, "status", "--format", "json"))
    assert status["cost_usd"] == pytest.approx(entry["total_usd"])
    assert status["idle_and_launch_usd"] == pytest.approx(entry["idle_and_launch_usd"])
    assert "idle and launch" in hwtune(tmp_path, "status")
    with pytest.raises(hwt.StudyMismatchError, match="usd_per_device_hour"):
        study(tmp_path, pool=hwt.Pool(instance=hwt.InstanceType("box", 1.0, vcpus=1)))


def test_a_type_that_this_host_is_not_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(hwt.ArgumentError, match=r"Pool.instance.*p3.8xlarge.*0 visible gpu devices"):
        study(tmp_path, pool=hwt.Pool(instance="p3.8xlarge"))
    assert list(tmp_path.iterdir()) == []
