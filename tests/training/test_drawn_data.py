"""A module that draws its next training data when an epoch ends has the same data after a pause as without one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from rank_bench import Bench, Said, differences, reported
from tiny_training import TinyNet, rows
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset

from lightning_hwtune.training.channel import Note
from lightning_hwtune.training.resume import attributes
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training

HORIZON = 4


class Drawing(TinyNet):
    """Has its data in an attribute, as tensors."""

    data: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.pool = torch.randn(16, 2)
        self.draw()

    def draw(self) -> None:
        self.data = list(torch.randn(8, 2))

    def train_dataloader(self) -> Any:
        return DataLoader(self.data, 4, shuffle=True)

    def on_train_epoch_end(self) -> None:
        every = self.trainer.reload_dataloaders_every_n_epochs
        if (self.trainer.current_epoch + 1) % every == 0:
            self.draw()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch[0] if isinstance(batch, list) else batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_error", self.layer(batch).square().mean())


class Counting(Drawing):
    """Counts its loaders, and begins again when a training starts."""

    def on_train_start(self) -> None:
        self.n_loaders = 0

    def train_dataloader(self) -> Any:
        self.n_loaders = getattr(self, "n_loaders", 0) + 1
        return super().train_dataloader()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_error", float(self.n_loaders))


class Parts(MutableMapping[str, torch.Tensor]):
    """Tensors of a class with its own state, of which one part has another form, as those of libraries."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x = {"rows": x}

    def state_dict(self) -> Any:
        state = OrderedDict({"x.rows": self.x["rows"]})
        state._metadata = {"x": ["rows"]}  # type: ignore[attr-defined]
        return state

    def load_state_dict(self, state: Any) -> None:
        self.x = {name: state[f"x.{name}"] for name in state._metadata["x"]}

    def __getitem__(self, name: str) -> Any:
        return self.x[name]

    def __setitem__(self, name: str, value: torch.Tensor) -> None:
        self.x[name] = value

    def __delitem__(self, name: str) -> None:
        del self.x[name]

    def __iter__(self) -> Any:
        return iter(self.x)

    def __len__(self) -> int:
        return len(self.x)


class InParts(Drawing):
    def draw(self) -> None:
        self.data = Parts(torch.randn(8, 2))

    def train_dataloader(self) -> Any:
        return DataLoader(list(self.data["rows"]), 4, shuffle=True)


class InDataSet(Drawing):
    def draw(self) -> None:
        self.data = TensorDataset(torch.randn(8, 2))


class Growing(Drawing):
    def draw(self) -> None:
        new = TensorDataset(torch.randn(4, 2))
        self.data = ConcatDataset([new] if self.data is None else [*self.data.datasets, new])


class Selecting(Drawing):
    def draw(self) -> None:
        self.data = Subset(self.pool, torch.randperm(16)[:8].tolist())  # type: ignore[arg-type]


class Late(InDataSet):
    """Draws its first data when it is asked for them."""

    def __init__(self) -> None:
        super().__init__()
        self.data = None

    def train_dataloader(self) -> Any:
        if self.data is None:
            self.draw()
        return super().train_dataloader()


class Relabelling(InDataSet):
    """Changes the data set that its loader has."""

    def on_train_epoch_end(self) -> None:
        self.data.tensors = (self.data.tensors[0] + torch.randn(1),)


def _compare(bench: Bench, net: Any, every: int) -> tuple[list[str], list[Said]]:
    bench.order = replace(bench.order, metrics=("val_error",), max_resource=HORIZON)

    def train(trial: Trial) -> None:
        reload = {"reload_dataloaders_every_n_epochs": every}
        trial.fit(net(), val_dataloaders=rows(4), num_sanity_val_steps=0, logger=False, **reload)

    whole = bench.inline(train, {HORIZON: "stop"})
    said = bench.pausing(train, HORIZON)
    return differences(reported([whole]), reported(said)), said


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("net", [Drawing, InDataSet, Growing, Selecting, Late, InParts])
def test_drawn_data_are_kept(bench: Bench, net: type[Drawing], every: int) -> None:
    assert _compare(bench, net, every)[0] == []


def test_what_creates_loaders_may_change_attributes(bench: Bench) -> None:
    assert _compare(bench, Counting, 1)[0] == []


def test_a_data_set_that_changes_under_its_loader_is_kept(bench: Bench) -> None:
    assert _compare(bench, Relabelling, 0)[0] == []


def test_drawn_data_above_the_limit_are_lost_with_a_note(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "_MAX_BYTES", 63)
    found, said = _compare(bench, InDataSet, 1)
    assert found != []
    notes = [note.text for each in said for note in each.of(Note)]
    assert any("the values of InDataSet.data are lost in a pause" in text for text in notes), notes
