"""The sanity check before the first epoch does not run again in resumed segments: it would change restored state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from rank_bench import Bench, differences
from tiny_training import TinyNet, fit
from torch.utils.data import DataLoader, random_split

from lightning_hwtune.training.channel import Report
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training

HORIZON = 3


class Following(TinyNet):
    """Has a buffer that follows all outputs, those of the validation included, as centers of self-distillation do."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(1))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        out = self.layer(batch)
        self.center.data = 0.9 * self.center + 0.1 * out.detach().mean(0)
        return out - self.center

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self(batch[0] if isinstance(batch, list) else batch).square().mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self(batch[0] if isinstance(batch, list) else batch).square().mean())


class WithParameter(Following):
    """Changes a parameter of the validation by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = torch.nn.Parameter(torch.ones(1), requires_grad=False)

    def on_validation_epoch_end(self) -> None:
        self.threshold.mul_(0.5)
        self.log("val_loss", self.threshold.item())

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch)


class Saving(Following):
    """Saves and loads its own counter."""

    seen = 0

    def on_validation_epoch_end(self) -> None:
        self.seen += 1
        self.log("val_loss", float(self.seen))

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["seen"] = self.seen

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.seen = checkpoint["seen"]


class Counting(L.Callback):
    """A callback that saves a count."""

    def __init__(self) -> None:
        self.n_batches = 0

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.n_batches += 1
        self.log("n_batches", float(self.n_batches))

    def state_dict(self) -> dict[str, Any]:
        return {"n_batches": self.n_batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.n_batches = state_dict["n_batches"]


class Example(TinyNet):
    """Trains with what only a validation sets, and never to another value."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.target = float(batch.sum())
        self.log("val_loss", self.layer(batch).square().mean())

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return (self.layer(batch) - self.target).square().mean()


class Split(L.LightningDataModule):
    """Draws its validation rows from the global generator when the loader is created, and its training rows later."""

    def val_dataloader(self) -> Any:
        return DataLoader(random_split(torch.arange(32.0).reshape(16, 2) / 32, [8, 8])[0], 4)  # type: ignore[arg-type]

    def train_dataloader(self) -> Any:
        return DataLoader(random_split(torch.arange(32.0).reshape(16, 2) / 32, [8, 8])[0], 4)  # type: ignore[arg-type]


def _trained(net: type[TinyNet], *callbacks: type[Counting], data: type[Split] | None = None) -> Any:
    def train(trial: Trial) -> None:
        torch.manual_seed(trial.seed)
        made = [callback() for callback in callbacks]
        if data is None:
            fit(trial, net(), *made)
        else:
            trial.fit(net(), data(), callbacks=made, logger=False)

    return train


def _values(bench: Bench, train: Any, pauses: tuple[int, ...]) -> list[Any]:
    reports, resume = [], {}
    for number, end in enumerate([*pauses, HORIZON], start=2):
        said = bench.inline(train, {end: "pause" if end < HORIZON else "stop"}, **resume)
        reports += said.of(Report)
        resume = bench.resume(said, number) if end < HORIZON else {}
    assert [report.resource for report in reports] == [1, 2, 3]
    return [dict(report.metrics) for report in reports]


@pytest.mark.parametrize(
    ("train", "metric"),
    [
        pytest.param(_trained(Following), "val_loss", id="buffer"),
        pytest.param(_trained(WithParameter), "val_loss", id="parameter"),
        pytest.param(_trained(Saving), "val_loss", id="state of the module"),
        pytest.param(_trained(Following, Counting), "n_batches", id="state of a callback"),
        pytest.param(_trained(Example), "val_loss", id="attribute that the check sets"),
        pytest.param(_trained(Following, data=Split), "val_loss", id="loaders that draw"),
    ],
)
def test_a_resumed_segment_begins_with_the_restored_state(bench: Bench, train: Any, metric: str) -> None:
    bench.order = replace(bench.order, metrics=(metric,), max_resource=HORIZON)
    assert differences(_values(bench, train, ()), _values(bench, train, (1, 2))) == []


def test_only_the_first_segment_runs_the_check(bench: Bench) -> None:
    bench.order = replace(bench.order, metrics=("val_loss",), max_resource=HORIZON)
    checked: list[bool] = []

    class Looking(Following):
        def on_validation_start(self) -> None:
            checked.append(self.trainer.sanity_checking)

    trainers: list[Any] = []
    train = lambda trial: trainers.append(fit(trial, Looking()))  # noqa: E731
    first = bench.inline(train, {1: "pause"})
    assert checked == [True, False]
    bench.inline(train, {3: "stop"}, **bench.resume(first, 2))
    assert checked == [True, False, False, False]
    assert [trainer.num_sanity_val_steps for trainer in trainers] == [2, 2]
