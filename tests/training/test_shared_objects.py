"""Callbacks and generators that a script creates once, and that all trials of a process use."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor
from rank_bench import Bench, differences
from tiny_training import TinyNet, fit
from torch.utils.data import DataLoader

from lightning_hwtune.training.channel import Note, Report
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training


class Net(TinyNet):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_error", self.layer(batch).square().mean())


class Averaging(L.Callback):
    """Begins again in each training, as it should."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.mean = pl_module.layer.weight.detach().clone()

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self.mean = 0.5 * self.mean + 0.5 * pl_module.layer.weight.detach()
            self.log("val_error", self.mean.sum())


def test_a_shared_callback_is_restored_although_another_trial_has_used_it(bench: Bench) -> None:
    def train(trial: Trial, callback: Any) -> None:
        torch.manual_seed(trial.seed)
        net = TinyNet()
        fit(trial, net, callback)

    def reports(*callbacks: Any) -> list[Any]:
        first = bench.inline(lambda trial: train(trial, callbacks[0]), {1: "pause"})
        bench.inline(lambda trial: train(trial, callbacks[1]), {4: "stop"}, trial_id=18, seed=6)
        last = bench.inline(lambda trial: train(trial, callbacks[2]), {4: "stop"}, **bench.resume(first, 2))
        return [report.metrics for said in (first, last) for report in said.of(Report)]

    shared = Averaging()
    assert differences(reports(Averaging(), Averaging(), Averaging()), reports(shared, shared, shared)) == []


def _loader(generator: Any) -> DataLoader[Any]:
    return DataLoader(torch.ones(8, 2), 4, shuffle=True, generator=generator)


@pytest.mark.parametrize(
    ("kind", "callbacks", "generator"),
    [
        ("EarlyStopping", [EarlyStopping("val_error", mode="max", patience=1)], None),
        ("DataLoader", [], torch.Generator().manual_seed(3)),
        ("", [LearningRateMonitor(logging_interval="epoch"), Averaging()], None),
    ],
)
def test_what_a_trial_leaves_to_the_next_is_noted(
    bench: Bench, kind: str, callbacks: list[Any], generator: Any
) -> None:
    loader = _loader(generator)

    def train(trial: Trial) -> None:
        trial.fit(Net(), loader, _loader(None), callbacks=callbacks, logger=L.loggers.CSVLogger(trial.dir))

    first = bench.inline(train, {})
    bench.order = replace(bench.order, trial_id=18)
    second = bench.inline(train, {})
    notes = [[note.text for note in said.of(Note) if "several trials" in note.text] for said in (first, second)]
    assert notes[0] == []
    assert [text.split(" is used")[0] for text in notes[1]] == ([f"a {kind}"] if kind else [])
