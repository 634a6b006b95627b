"""A real study of Lightning code on digits, with bounds on size, memory and error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from study_bench import run, small_study

import lightning_hwtune as hwt
from lightning_hwtune.core.record import TrialState

pytestmark = pytest.mark.training

SPACE = hwt.SearchSpace(lr=hwt.Float(1e-3, 1e-1, log=True), width=hwt.Choice([4, 64]))
LIMIT = 16 * 16 * 4 + 4 + 4 * 10 + 10  # the parameters of a network of width 4


def train(trial: hwt.Trial) -> None:
    """Logs the number of parameters once, before the first epoch."""
    import lightning.pytorch as L

    from datamodules import DigitsDataModule
    from models import DigitsMLP

    class Size(L.Callback):
        def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            pl_module.log("params", float(sum(p.numel() for p in pl_module.parameters())))

    trial.fit(DigitsMLP(lr=trial["lr"], width=trial["width"]), DigitsDataModule(batch_size=128), callbacks=[Size()])


def test_large_networks_end_at_their_first_report_and_small_ones_train(tmp_path: Path) -> None:
    study = small_study(
        tmp_path,
        space=SPACE,
        objectives=[hwt.Metric("val_error", "min", at_most=0.9), hwt.TrainSeconds(), hwt.PeakMemory()],
        constraints=[hwt.Constraint("params", at_most=LIMIT), hwt.Constraint("peak_memory", at_most="64GB")],
        scheduler=hwt.ASHA(max_epochs=3, first_rung=2),
        max_failures=1,
    )
    study.enqueue(*({"lr": lr, "width": width} for lr, width in ((0.01, 64), (0.01, 4), (0.03, 64), (0.02, 4))))
    run(study, train, max_trials=4, finishers=1)
    state = study.state()
    assert {trial.config["width"] for trial in state.trials} == {4, 64}
    assert state.n_failed == 0
    for trial in state.trials:
        assert trial.measurements
        assert all(2**20 < m.values["peak_memory"] < 64e9 for m in trial.measurements)
        peaks = [m.values["peak_memory"] for m in trial.measurements]
        assert peaks == sorted(peaks)
        if trial.config["width"] == 64:
            assert (trial.state, trial.resource) == (TrialState.STOPPED, 1)
            assert state.violation(trial) == pytest.approx(17098 / LIMIT - 1)
        else:
            assert trial.last is not None
            assert trial.last.values["params"] == LIMIT
            assert trial.resource >= 2
    assert set(study.front()["width"]) == {4}
    assert study.best.config["width"] == 4
    assert study.best.infeasible == ""
    large = study.trials().query("width == 64")
    assert large["infeasible"].str.startswith("params is 17098 (at most 1078: ").all()
