"""The counts of `benchmarks/faults.py`: a broken promise is seen."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

import lightning_hwtune as hwt
from benchmarks import faults, write_results
from benchmarks.fault import bench as bench_module
from benchmarks.fault.bench import Bench
from benchmarks.fault.study import NAME


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench with a finished study of two trials."""
    monkeypatch.setattr(bench_module, "_ORPHAN_S", 0.3)

    def train(trial: hwt.Trial) -> None:
        trial.report(1, error=trial["x"])
        trial.save({"epoch": 1})

    space, scheduler = hwt.SearchSpace(x=hwt.Float(0.0, 1.0)), hwt.RunToEnd(max_epochs=1)
    study = hwt.Study(NAME, space, [hwt.Metric("error", "min")], scheduler=scheduler, dir=tmp_path)
    study.run(train, max_trials=2, executor="inline", progress=False)
    return Bench(tmp_path)


def counts(bench: Bench) -> dict[str, int]:
    bench.count_losses(2)
    bench.count_orphans()
    return {name: getattr(bench, name) for name in ("lost", "orphaned", "hung", "wrong")}


def test_a_whole_study_has_lost_nothing(bench: Bench) -> None:
    assert counts(bench) == {"lost": 0, "orphaned": 0, "hung": 0, "wrong": 0}


def test_a_missing_checkpoint_is_lost(bench: Bench) -> None:
    next(bench.study_dir.glob("trials/001/checkpoints/*")).unlink()
    assert counts(bench)["lost"] == 1


def test_a_report_that_was_answered_and_is_not_in_the_log_is_lost(bench: Bench) -> None:
    (bench.study_dir / "witnesses").mkdir()
    (bench.study_dir / "witnesses" / "000_01.txt").write_text("0 1 1\n0 1 2\n")
    assert counts(bench)["lost"] == 1


def test_a_process_that_stays_is_orphaned(bench: Bench) -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        (bench.study_dir / "pids").write_text(str(process.pid))
        assert counts(bench)["orphaned"] == 1
        assert process.wait() != 0  # and it is ended


@pytest.mark.parametrize("name", ["pymp-abc", "hwtune-1-2-3-4-abc"])
def test_a_folder_that_stays_is_orphaned(bench: Bench, name: str) -> None:
    (bench.temporary / name).mkdir()
    assert counts(bench)["orphaned"] == 1


def test_every_fault_has_a_row_with_a_target() -> None:
    document: dict[str, Any] = {"figures": {"lost": 0, "broken": {"server_killed": 1, "rank_stop": 0}}}
    table = write_results.figures_table(document)
    assert "| `broken: server_killed` | **1** | <= 0 |" in table
    assert "| `broken: rank_stop` | 0 | <= 0 |" in table
    assert {"server_killed", "log_lost", "controller_killed", "text_surrogate"} <= set(faults.FAULTS)
