"""A script that calls `Tuner(trainer)` before it trains with the same Trainer, as libraries do that have an option."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.tuner import Tuner
from rank_bench import Bench, differences
from study_bench import states
from tiny_training import TinyNet
from torch.utils.data import DataLoader

import lightning_hwtune as hwt
from lightning_hwtune.training.channel import Report
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training

HORIZON = 3
QUIET: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}


class Net(TinyNet):
    def __init__(self) -> None:
        super().__init__()
        self.lr, self.batch_size = 1e-3, 1

    def train_dataloader(self) -> Any:
        rows = torch.randn(24, 2, generator=torch.Generator().manual_seed(1))
        return DataLoader(rows, self.batch_size, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(torch.ones(4, 2), 4)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return (self.layer(batch) - batch.sum(1, keepdim=True)).square().mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_error", (self.layer(batch) - 2).square().mean() + self.lr + self.batch_size)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def _rate(trainer: L.Trainer, net: Net) -> None:
    found = Tuner(trainer).lr_find(net, num_training=20, early_stop_threshold=None)
    assert found is not None
    assert found.suggestion() == net.lr


def _batch(trainer: L.Trainer, net: Net) -> None:
    Tuner(trainer).scale_batch_size(net, max_trials=2, steps_per_trial=1)


def _plain(trial: Trial, tune: Callable[[L.Trainer, Net], None]) -> None:
    trainer, net = L.Trainer(max_epochs=HORIZON, accelerator="cpu", default_root_dir=trial.dir, **QUIET), Net()
    tune(trainer, net)
    trainer.fit(net)


def _own(trial: Trial, tune: Callable[[L.Trainer, Net], None]) -> None:
    trainer, net = trial.trainer(default_root_dir=trial.dir, **QUIET), Net()
    tune(trainer, net)
    trainer.fit(net, ckpt_path=trial.ckpt_path)


@pytest.mark.parametrize("tune", [_rate, _batch])
@pytest.mark.parametrize("script", [_plain, _own])
def test_a_resumed_trial_finds_the_same_value_and_continues(bench: Bench, script: Any, tune: Any) -> None:
    bench.order = replace(bench.order, metrics=("val_error",), max_resource=HORIZON)

    def train(trial: Trial) -> None:
        script(trial, tune)

    whole = bench.inline(train, {HORIZON: "stop"})
    first = bench.inline(train, {1: "pause"})
    second = bench.inline(train, {HORIZON: "stop"}, **bench.resume(first, 2))
    reports = [report for said in (first, second) for report in said.of(Report)]
    assert [report.resource for report in reports] == [1, 2, 3]
    assert differences([r.metrics for r in whole.of(Report)], [r.metrics for r in reports]) == []


@pytest.mark.slow
def test_a_study_and_its_check_accept_it(tmp_path: Path) -> None:
    objectives, scheduler = [hwt.Metric("val_error", "min")], hwt.ASHA(max_epochs=HORIZON, first_rung=1, eta=3)
    pool = hwt.Pool("cpu", devices=1)
    study = hwt.Study("s", {"x": hwt.Float(0, 1)}, objectives, scheduler=scheduler, pool=pool, dir=tmp_path)
    study.run(lambda trial: _plain(trial, _rate), max_trials=2, finishers=2, progress=False)
    assert states(study) == {"completed": 2}
