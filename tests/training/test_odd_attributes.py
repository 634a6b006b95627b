"""Attributes that are shared, odd, large or many: a pause changes no result, and keeping them takes little time."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from dataclasses import replace
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from rank_bench import Bench, differences, reported
from tiny_training import TinyNet, rows
from torch.utils.data import DataLoader, Dataset
from torchmetrics import Metric

from lightning_hwtune.training.channel import Note
from lightning_hwtune.training.resume.attributes import Attributes
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training

HORIZON = 3


def _fit(trial: Trial, net: Any, data: Any = None) -> None:
    loader = rows(4) if data is None else DataLoader(data, 2)
    trial.fit(net, loader, rows(4), num_sanity_val_steps=0, logger=False)


def _pausing_and_whole(bench: Bench, net: Any) -> tuple[list[Any], list[Any]]:
    bench.order = replace(bench.order, metrics=("val_loss",), max_resource=HORIZON)

    def train(trial: Trial) -> None:
        _fit(trial, net())

    whole = bench.inline(train, {HORIZON: "stop"})
    said = bench.pausing(train, HORIZON)
    return reported(said), reported([whole])


class Sharing(TinyNet):
    """Has attributes that share objects with others, or get new ones."""

    def __init__(self) -> None:
        super().__init__()
        self.replaced = self.kept = list[float]()
        self.old, self.tensor = (shared := torch.zeros(2)), shared
        self.weight_view = self.layer.weight.detach()
        self.alpha = torch.ones(1, requires_grad=True)  # its optimizer has it, but no module
        self.recent: deque[float] = deque(maxlen=1)
        self.counts = defaultdict[str, list[int]](list)
        self.one: list[int] | None = None
        self.two: list[int] | None = None

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([*self.parameters(), self.alpha], lr=0.1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) * self.alpha.sum()

    def on_train_epoch_end(self) -> None:
        epoch = self.current_epoch
        self.replaced = [*self.replaced, 1.0]
        self.tensor = self.tensor + 1
        self.recent = deque([*self.recent, float(epoch)], maxlen=2)
        self.counts = defaultdict(list, self.counts)
        self.counts[str(epoch)].append(epoch)
        if epoch == 0:
            self.one = self.two = []
        if self.one is not None:
            self.one.append(epoch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        parts = (
            1000 * len(self.replaced) + 100 * len(self.kept),
            10 * float(self.tensor.sum()) + float(self.old.sum()),
            float(self.weight_view.square().sum()) + float(self.alpha.detach()),
            sum(self.recent) * (self.recent.maxlen or 100) + len(self.counts),
            0 if self.two is None else 0.5 * len(self.two),
        )
        self.log("val_loss", torch.tensor(sum(parts), dtype=torch.float64))


def test_shared_and_replaced_objects_are_the_same_as_without_a_pause(bench: Bench) -> None:
    paused, whole = _pausing_and_whole(bench, Sharing)
    assert differences(whole, paused) == []


class Unprintable:
    """An object of user code."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


class Odd(TinyNet):
    """Has values that no checkpoint can contain, next to some that it can."""

    def on_train_epoch_end(self) -> None:
        self.meta = torch.empty(2, device="meta")
        self.long = np.array([1.0], dtype=np.longdouble)
        self.masked = np.ma.masked_array([1.0, 2.0], mask=[True, False])
        self.cycle: list[Any] = [1]
        self.cycle.append(self.cycle)
        self.deep: Any = 0
        for _ in range(2000):
            self.deep = [self.deep]
        self.objects = {Unprintable(), Unprintable()}
        self.by_tensor = {torch.zeros(1): 1}
        self.number = 10**5000
        self.swapped = np.array([self.current_epoch], dtype=">i4")
        self.complex = torch.complex(torch.ones(2), torch.ones(2)).conj()
        self.nothing = torch.zeros(0, 3)
        self.text = "\ud800"

    def on_validation_epoch_end(self) -> None:
        value = float(self.swapped[0]) + float(self.complex.real.sum()) if self.current_epoch else 0.0
        self.log("val_loss", value)


def test_odd_values_are_kept_or_left_out_and_never_end_a_training(bench: Bench) -> None:
    paused, whole = _pausing_and_whole(bench, Odd)
    assert differences(whole, paused) == []
    said = bench.inline(lambda trial: _fit(trial, Odd()), {1: "pause"})
    state = torch.load(said.saved.path, weights_only=True)["lightning_hwtune"]["ranks"][0]["attributes"]
    assert {key.removeprefix("module.") for key in state} >= {"swapped", "complex", "nothing", "text"}
    assert not {key.removeprefix("module.") for key in state} & {"meta", "long", "masked", "cycle", "deep", "number"}


class _Total(Metric):
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, value: torch.Tensor) -> None:
        self.total += value

    def compute(self) -> Any:
        return self.total


class LightningModule(L.LightningModule):
    """A class of the user with the name of Lightning's, which needs an argument."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.metric = width, _Total()
        self.vocabulary = ["word"] * 20_000


class Delegating(Dataset[int]):
    """Finds what it does not have in another object."""

    def __init__(self) -> None:
        self.words = [f"file_{number}.png" for number in range(100_000)]
        self.images = np.zeros(2 * 1000**3, dtype=np.uint8)  # not in memory, as nothing writes to it
        self.parts = [torch.zeros(3) for _ in range(1000)]
        self.many = [[number] * 9000 for number in range(40)]
        for number in range(10_000):
            setattr(self, f"part_{number}", number)

    def __getattr__(self, name: str) -> Any:
        return vars(self)["other"][name]

    def __len__(self) -> int:
        return 4


def test_large_data_takes_little_time_and_gets_no_note(bench: Bench) -> None:
    class Segment:
        notes = list[Any]()

        def note(self, text: str, **_: Any) -> None:
            self.notes.append(Note(text))

    net, data = LightningModule(3), Delegating()
    roots = {"data": data, "module": net}
    kept, segment = Attributes(), Segment()
    first_s = time.process_time()
    kept.begins(roots)
    begun_s = time.process_time()
    kept.begins(roots)
    data.part_5, net.later = 7, 1.5
    net.metric.update(torch.ones(()))
    state = kept.state(roots, segment)  # type: ignore[arg-type]
    taken_s = time.process_time() - begun_s
    assert {"module.later"} <= set(state) <= {"module.later", "data.part_5"}
    assert segment.notes == []
    assert taken_s < 8 * (begun_s - first_s)  # usually twice
    net.vocabulary.append("another")
    kept.state(roots, segment)  # type: ignore[arg-type]
    assert [note.text.split(" are")[0] for note in segment.notes] == ["the values of LightningModule.vocabulary"]
