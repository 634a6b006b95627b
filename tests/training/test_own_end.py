"""Where the user's own code decides how long a training is: early stopping at a rung, an epoch that a callback adds."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, StochasticWeightAveraging
from rank_bench import Bench
from torch.utils.data import DataLoader

import lightning_hwtune as hwt
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.training.channel import Report
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training

X = torch.linspace(-1, 1, 32).reshape(16, 2)


@pytest.fixture(autouse=True)
def _judged_by_loss(bench: Bench) -> None:
    bench.order = replace(bench.order, metrics=("val_loss",))


class Net(L.LightningModule):
    def __init__(self, lr: float = 0.05) -> None:
        super().__init__()
        self.lr = lr
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return (self.layers(batch) - batch.prod(1, keepdim=True)).square().mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.training_step(batch, batch_idx))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class AsksToStop(L.Callback):
    """Asks for the end in this epoch, at its end or inside."""

    def __init__(self, epoch: int, hook: str = "on_train_epoch_end") -> None:
        setattr(self, hook, self._ask)
        self._epoch = epoch

    def _ask(self, trainer: L.Trainer, *rest: Any) -> None:
        trainer.should_stop |= trainer.current_epoch + 1 == self._epoch


def fit(trial: Any, *callbacks: Any, net: Any = None, **kwargs: Any) -> Any:
    loaders = DataLoader(X, 4, shuffle=True), DataLoader(X, 8)
    return trial.fit(net or Net(), *loaders, callbacks=list(callbacks), logger=False, **kwargs)


class ShorterHorizon(L.Callback):
    """Trains two epochs only."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        trainer.fit_loop.max_epochs = 2


OWN_ENDS: dict[str, Callable[[], L.Callback]] = {
    "patience": lambda: EarlyStopping("val_loss", patience=1, min_delta=100.0),
    "patience, at the epoch's end": lambda: EarlyStopping(
        "val_loss", patience=1, min_delta=100.0, check_on_train_epoch_end=True
    ),
    "a callback that asks": lambda: AsksToStop(2),
    "a horizon of its own": ShorterHorizon,
    "inside the epoch": lambda: AsksToStop(2, "on_train_batch_end"),
}


@pytest.mark.parametrize("name", OWN_ENDS)
def test_a_training_that_ends_by_itself_at_a_rung_is_complete_there(bench: Bench, name: str) -> None:
    evaluated = []

    def train(trial: Trial) -> None:
        trainer = fit(trial, OWN_ENDS[name]())
        evaluated.append((trial.is_paused_or_stopped, len(trainer.validate(trainer.model, DataLoader(X, 8)))))

    said = bench.inline(train, {2: "pause"})
    assert [report.resource for report in said.of(Report)] == [1, 2]
    assert said.ended[0].reached_end
    assert (said.saved.resource, said.saved.is_end) == (2, True)
    assert evaluated == [(False, 1)]


def test_a_wish_to_stop_that_a_minimum_keeps_waiting_survives_a_pause(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        trainer = trial.trainer(callbacks=[AsksToStop(1)], logger=False)
        trainer.fit_loop.min_epochs = 3
        trainer.fit(Net(), DataLoader(X, 4), DataLoader(X, 8), ckpt_path=trial.ckpt_path)

    paused = bench.inline(train, {2: "pause"})
    assert (paused.ended[0].reached_end, paused.saved.is_end) == (False, False)
    resumed = bench.inline(train, {}, **bench.resume(paused, 2))
    assert [report.resource for report in resumed.of(Report)] == [3]
    assert resumed.ended[0].reached_end


def test_early_stopping_gives_the_values_of_an_uninterrupted_study(tmp_path: Path) -> None:
    def train(trial: hwt.Trial) -> None:
        fit(trial, EarlyStopping("val_loss", patience=1, min_delta=100.0), net=Net(trial["lr"]))

    found = []
    space = hwt.SearchSpace(lr=hwt.Choice([0.01, 0.05, 0.2]))
    for scheduler in (hwt.RunToEnd(max_epochs=4), hwt.ASHA(4, first_rung=1, eta=2)):
        study = hwt.Study(
            type(scheduler).__name__, space, [hwt.Metric("val_loss", "min")],
            scheduler=scheduler, searcher=hwt.Grid(), pool=hwt.Pool("cpu", devices=1), dir=tmp_path,
        )  # fmt: skip
        study.run(train, max_trials=3, finishers=3, executor="inline", check=False, progress=False)
        trials = study.state().trials
        found.append({t.config["lr"]: (str(t.state), t.resource, t.last and t.last.values["val_loss"]) for t in trials})
    assert found[0] == found[1]
    assert {state[:2] for state in found[0].values()} == {("completed", 2)}


def test_a_process_that_ends_after_its_own_early_stopping_leaves_the_trial_complete(tmp_path: Path) -> None:
    def train(trial: hwt.Trial) -> None:
        fit(trial, EarlyStopping("val_loss", patience=1, min_delta=100.0))
        os._exit(0)

    study = hwt.Study(
        "lost", hwt.SearchSpace(x=hwt.Float(0, 1)), [hwt.Metric("val_loss", "min")],
        scheduler=hwt.ASHA(max_epochs=4, first_rung=4), pool=hwt.Pool("cpu", devices=1), dir=tmp_path,
    )  # fmt: skip
    study.run(train, max_trials=1, check=False, progress=False)
    [trial] = study.state().trials
    assert (str(trial.state), trial.resource, trial.n_retries) == ("completed", 2, 0)


def _stop_when_small(trial: Trial) -> None:
    """Train by hand up to epoch 2, where a rule of the loop itself ends it."""
    for epoch in range((trial.load() or 0) + 1, 5):
        verdict = trial.report(epoch, val_loss=1.0 / epoch)
        if epoch == 2:
            return trial.save(epoch, complete=True)
        if verdict.kind != "continue":
            return trial.save(epoch)
    return None


@pytest.mark.parametrize(
    ("script", "resources", "ends"),
    [({}, [1, 2], True), ({2: "pause"}, [1, 2], True), ({1: "pause"}, [1], False), ({2: "stop"}, [1, 2], False)],
)
def test_a_loop_that_reports_by_hand_can_be_complete_where_it_would_pause(
    bench: Bench, script: dict[int, str], resources: list[int], ends: bool
) -> None:
    said = bench.inline(_stop_when_small, script)
    assert [report.resource for report in said.of(Report)] == resources
    assert (said.ended[0].outcome, said.ended[0].reached_end) == ("done", ends)
    assert said.saved.is_end is (2 in resources)


def test_a_loop_is_complete_after_a_report_only_and_reports_no_more(bench: Bench) -> None:
    def early(trial: Trial) -> None:
        trial.save(0, complete=True)

    def late(trial: Trial) -> None:
        trial.report(1, val_loss=1.0)
        trial.save(1, complete=True)
        with pytest.raises(ArgumentError, match=r"no report after trial\.save"):
            trial.report(2, val_loss=1.0)

    assert "a call after a report" in bench.inline(early, {}).ended[0].error
    said = bench.inline(late, {1: "pause"})
    assert (said.ended[0].outcome, said.ended[0].reached_end, len(said.of(Report))) == ("done", True, 1)


def test_the_epoch_that_weight_averaging_adds_for_batch_norms_belongs_to_the_last_one(bench: Bench) -> None:
    nets = []

    def averaged(trial: Any) -> Any:
        nets.append(Net())
        return fit(trial, StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1), net=nets[-1])

    class Plainly:
        """Trains as without a study."""

        def fit(self, *args: Any, **kwargs: Any) -> L.Trainer:
            quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
            trainer = L.Trainer(max_epochs=4, accelerator="cpu", **quiet, **kwargs)
            trainer.fit(*args)
            return trainer

    torch.manual_seed(bench.order.seed)
    plain = averaged(Plainly()).callback_metrics["val_loss"]
    first = bench.inline(averaged, {2: "pause"}, save_every=1)
    said = bench.inline(averaged, {4: "stop"}, save_every=1, **bench.resume(first, 2))
    assert [report.resource for report in said.of(Report)] == [3, 4]
    assert said.of(Report)[-1].metrics["val_loss"] == float(plain)
    saved = torch.load(said.saved.path, weights_only=True)["state_dict"]
    assert said.saved.resource == 4
    assert all(torch.equal(saved[name], weight) for name, weight in nets[0].state_dict().items())
