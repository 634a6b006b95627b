"""Plain attributes that a training changes have the same values after a pause as without one."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import replace
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from rank_bench import Bench, differences, reported
from tiny_training import TinyNet, rows
from torch.utils.data import DataLoader, Dataset

from lightning_hwtune.training.channel import Note
from lightning_hwtune.training.resume import attributes
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training

HORIZON = 4


class Remembering(TinyNet):
    """Keeps its best value and some history in attributes, as much user code does."""

    def __init__(self) -> None:
        super().__init__()
        self.width, self.best, self.history = 3, float("inf"), [0.5]
        self.best_np: Any = np.float32(9.0)
        self.recent: deque[float] = deque(maxlen=2)
        self.counts: Any = defaultdict(int)
        self.names, self.order, self.kinds = {"a"}, OrderedDict[str, int](), Counter[str]()
        self.average: torch.Tensor | None = None
        self.untouched = torch.ones(3)
        self.alias = self.history

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        # it falls, and then it rises: the best is in the middle
        self.loss = float(self.layer(batch).square().mean()) + abs(self.trainer.current_epoch - 1)

    def on_validation_epoch_end(self) -> None:
        self.best = min(self.best, self.loss)
        self.best_np = np.minimum(self.best_np, np.float32(self.loss))
        self.history.append(self.loss)
        self.recent.append(self.loss)
        self.counts["epochs"] += 1
        self.names.add(str(len(self.history)))
        self.order[f"e{len(self.history)}"] = 1
        self.kinds["x"] += 2
        value = torch.tensor(self.loss)
        self.average = value if self.average is None else 0.9 * self.average + 0.1 * value
        later = getattr(self, "later", 0)
        self.later = later + 1
        self.log("val_loss", self.best)
        total = (
            len(self.alias) + sum(self.recent) + len(self.names) + len(self.order) + self.later + float(self.average)
        )
        self.log("all", total + float(self.best_np) + self.counts["epochs"] + self.kinds["x"])


class Best(L.Callback):
    """The same on a callback, which begins again in `on_train_start`."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.best, self.n_epochs = float("inf"), 0

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self.n_epochs += 1
            self.best = min(self.best, pl_module.loss)
            self.log("on_callback", self.best + self.n_epochs)


class Counting(Dataset[torch.Tensor]):
    """A data set that counts what was read."""

    def __init__(self) -> None:
        self.n_read = 0

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        self.n_read += 1
        return torch.full((2,), 0.01 * self.n_read)


class Saving(Remembering):
    """Saves its state itself, in another form."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["mine"] = {"best": self.best * 2}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.best = checkpoint["mine"]["best"] / 2
        self.history.extend([7.0] * self.trainer.current_epoch)


def fit(trial: Trial, net: Any, *, sanity: int = 0) -> None:
    trial.fit(net, DataLoader(Counting(), 4), rows(4), callbacks=[Best()], num_sanity_val_steps=sanity, logger=False)


@pytest.mark.parametrize("sanity", [0, 1])
@pytest.mark.parametrize("net", [Remembering, Saving])
def test_attributes_that_the_training_changes_are_kept(bench: Bench, net: type[Remembering], sanity: int) -> None:
    bench.order = replace(bench.order, metrics=("val_loss", "all", "on_callback"), max_resource=HORIZON)
    if net is Saving:  # its history is its own
        bench.order = replace(bench.order, metrics=("val_loss", "on_callback"))

    def train(trial: Trial) -> None:
        fit(trial, net(), sanity=sanity)

    whole = bench.inline(train, {HORIZON: "stop"})
    assert differences(reported([whole]), reported(bench.pausing(train, HORIZON))) == []


def test_a_checkpoint_has_only_what_changed_and_can_be_read_without_trust(bench: Bench) -> None:
    bench.order = replace(bench.order, metrics=("val_loss",))
    said = bench.inline(lambda trial: fit(trial, Remembering()), {2: "pause"})
    state = torch.load(said.saved.path, weights_only=True)["lightning_hwtune"]["ranks"][0]["attributes"]
    names = {key.removeprefix("module.") for key in state if key.startswith("module.")}
    assert {"best", "best_np", "history", "recent", "counts", "later", "average"} <= names
    assert not {"width", "untouched", "layer"} & names


def test_what_user_code_sets_otherwise_stays(bench: Bench) -> None:
    bench.order = replace(bench.order, metrics=("val_loss",))
    first = bench.inline(lambda trial: fit(trial, Remembering()), {2: "pause"})
    net = Remembering()
    net.best = 0.125
    bench.inline(lambda trial: fit(trial, net), {3: "pause"}, **bench.resume(first, 2))
    assert net.best == 0.125
    assert len(net.history) == 4


def test_large_histories_are_left_out_with_a_note(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.order = replace(bench.order, metrics=("val_loss",))
    monkeypatch.setattr(attributes, "_MAX_ITEMS", 2)
    said = bench.inline(lambda trial: fit(trial, Remembering()), {2: "pause"})
    assert any("Remembering.history are lost in a pause" in note.text for note in said.of(Note))
