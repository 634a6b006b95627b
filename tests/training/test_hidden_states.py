"""State in objects of the user that Lightning does not save has the same values after a pause as without one."""

from __future__ import annotations

import copy
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from rank_bench import Bench, differences
from tiny_training import TinyNet, fit, rows

from lightning_hwtune.training.channel import Note, Report
from lightning_hwtune.training.resume import hidden_states
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training

HORIZON = 4


class Net(TinyNet):
    """Logs `extra`, which subclasses compute from their own state."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_error", self.layer(batch).square().mean() + self.extra())

    def extra(self) -> Any:
        return 0.0


class Meter:
    """A plain class of the user, as in many training scripts."""

    def __init__(self) -> None:
        self.total, self.n = 0.0, 0

    def update(self, value: float) -> None:
        self.total, self.n = self.total + value, self.n + 1


class WithMeter(Net):
    def __init__(self) -> None:
        super().__init__()
        self.meter = Meter()

    def extra(self) -> Any:
        self.meter.update(self.trainer.current_epoch + 1)
        return self.meter.total / self.meter.n


@dataclass
class Buffer:
    """A replay buffer."""

    samples: deque[torch.Tensor] = field(default_factory=lambda: deque(maxlen=5))


class WithBuffer(Net):
    def __init__(self) -> None:
        super().__init__()
        self.buffer = Buffer()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.buffer.samples.append(batch + torch.randn(1))
        return super().training_step(random.choice(self.buffer.samples), batch_idx)


class WithTeacher(Net):
    """Keeps a module where Lightning does not see it."""

    def __init__(self) -> None:
        super().__init__()
        self.teachers = [copy.deepcopy(self.layer)]

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        teacher = self.teachers[0]
        with torch.no_grad():
            for mean, weight in zip(teacher.parameters(), self.layer.parameters(), strict=True):
                mean.lerp_(weight, 0.1)
        return super().training_step(batch, batch_idx) + (self.layer(batch) - teacher(batch)).square().mean()


class WithOptimizer(Net):
    """Has an optimizer and a schedule that only it knows."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.own.step()
        return super().training_step(batch, batch_idx) * (self.alpha - 1).exp()

    def on_train_epoch_end(self) -> None:
        self.schedule.step()

    def configure_optimizers(self) -> Any:
        self.own = torch.optim.Adam([self.alpha], lr=0.1)
        optimizer = torch.optim.SGD(self.layer.parameters(), lr=0.1, momentum=0.5)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, HORIZON)
        return optimizer


class WithUnsavedBuffer(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("queue", torch.zeros(3), persistent=False)

    def extra(self) -> Any:
        self.queue = torch.cat([self.queue[1:], self.layer.bias.detach()])
        return self.queue.sum()


class Average:
    """An average of weights that is not a module."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.shadow = {name: value.clone() for name, value in module.state_dict().items()}

    def update(self, module: torch.nn.Module) -> None:
        for name, value in module.state_dict().items():
            self.shadow[name].lerp_(value, 0.1)


class Averaging(L.Callback):
    """Validates with averaged weights, and keeps an average as an object or as a copy of the module."""

    def __init__(self, is_module: bool) -> None:
        self.is_module = is_module

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self.average: Any = copy.deepcopy(pl_module.layer) if self.is_module else Average(pl_module.layer)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        if self.is_module:
            for mean, weight in zip(self.average.parameters(), pl_module.layer.parameters(), strict=True):
                mean.data.lerp_(weight.data, 0.1)
        else:
            self.average.update(pl_module.layer)

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.kept = copy.deepcopy(pl_module.layer.state_dict())
        pl_module.layer.load_state_dict(self.average.state_dict() if self.is_module else self.average.shadow)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        pl_module.layer.load_state_dict(self.kept)


class GrowingGroups(L.Callback):
    """Adds parameters to the optimizer in the course of the training, without `BaseFinetuning`."""

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            trainer.optimizers[0].add_param_group({"params": [pl_module.head.weight], "lr": 0.05})
        if trainer.current_epoch == 2:
            trainer.optimizers[0].add_param_group({"params": [pl_module.head.bias]})


class WithHead(Net):
    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(1, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.head(self.layer(batch)).square().mean()

    def extra(self) -> Any:
        return self.head.weight.sum() + self.head.bias.sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.layer.parameters(), lr=0.1, momentum=0.5)


def _of(net: type[Net], *callbacks: Any) -> Any:
    def train(trial: Trial) -> None:
        torch.manual_seed(trial.seed)
        fit(trial, net(), *copy.deepcopy(callbacks), train=rows(12))

    return train


@pytest.mark.parametrize(
    "train",
    [
        pytest.param(_of(WithMeter), id="meter"),
        pytest.param(_of(WithBuffer), id="replay buffer"),
        pytest.param(_of(WithTeacher), id="teacher in a list"),
        pytest.param(_of(WithOptimizer), id="optimizer as an attribute"),
        pytest.param(_of(WithUnsavedBuffer), id="buffer that is not saved"),
        pytest.param(_of(Net, Averaging(is_module=True)), id="averaged copy in a callback"),
        pytest.param(_of(Net, Averaging(is_module=False)), id="averaging object in a callback"),
        pytest.param(_of(WithHead, GrowingGroups()), id="groups that a callback adds"),
    ],
)
def test_it_is_equal_after_pauses(bench: Bench, train: Any) -> None:
    whole = bench.inline(train, {HORIZON: "stop"})
    segments = bench.pausing(train, HORIZON)
    reports = [report for said in segments for report in said.of(Report)]
    assert len(reports) == HORIZON
    assert differences([r.metrics for r in whole.of(Report)], [r.metrics for r in reports]) == []


def test_a_copy_as_large_as_the_model_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_states, "_MIN_BYTES", 1)
    said = bench.inline(_of(Net, Averaging(is_module=True)), {2: "pause"})
    state = torch.load(said.saved.path, weights_only=True)["lightning_hwtune"]["ranks"][0]["hidden"]
    assert any(key.endswith("average.state_dict()") for key in state)
    assert not [note for note in said.of(Note) if "lost in a pause" in note.text]
