"""Finders of Lightning on two ranks: a resumed trial trains as an uninterrupted one."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from rank_bench import Bench
from tiny_training import TinyNet, fit

from lightning_hwtune.training.channel import Report

pytestmark = pytest.mark.training


class Net(TinyNet):
    def __init__(self) -> None:
        super().__init__()
        self.lr = 1e-6
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return (self.layer(batch) - batch.sum(1, keepdim=True)).square().mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_error", self.lr, sync_dist=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class InEveryEpoch(LearningRateFinder):
    """Looks for a learning rate in the first two epochs, as Lightning's guide shows."""

    def on_fit_start(self, *args: Any, **kwargs: Any) -> None:
        return

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch < 2:
            self.lr_find(trainer, pl_module)


def train(trial: Any, finder: L.Callback) -> None:
    rows = torch.randn(128, 2, generator=torch.Generator().manual_seed(1))
    fit(trial, Net(), finder, train=torch.utils.data.DataLoader(rows, 2))


@pytest.mark.parametrize("finder", [LearningRateFinder, InEveryEpoch])
def test_a_learning_rate_that_two_ranks_found_survives_a_pause(bench: Bench, finder: type[LearningRateFinder]) -> None:
    def find(trial: Any) -> None:
        train(trial, finder(num_training_steps=25))

    whole = bench.segment(find, {}, num_devices=2, max_resource=3)
    paused = bench.segment(find, {1: "pause"}, num_devices=2, max_resource=3)
    resumed = bench.segment(find, {}, num_devices=2, max_resource=3, **bench.resume(paused, 2))
    found = [said.of(Report) for said in (whole, paused, resumed)]
    rates = [[report.metrics["val_error"] for report in reports] for reports in found]
    assert rates[1] + rates[2] == rates[0]
    assert min(rates[0]) > 1e-5, "nothing was found"


def test_a_batch_size_finder_on_two_ranks_fails_with_lightnings_reason(bench: Bench) -> None:
    said = bench.segment(lambda trial: train(trial, BatchSizeFinder()), {}, num_devices=2)
    assert "not supported with distributed strategies" in said.ended[0].error
