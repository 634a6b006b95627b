"""A fit that is not the trial's, such as a pretraining, before the one that counts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import cloudpickle
import lightning.pytorch as L
import pytest
import torch
from digits_training import DigitsData, DigitsNet
from rank_bench import Bench

from lightning_hwtune.training.channel import Report
from lightning_hwtune.training.lightning_tree import RungCallback
from lightning_hwtune.training.trial import Trial
from lightning_hwtune.training.trial_fit import calls_fit

pytestmark = pytest.mark.training


def _trainer(max_epochs: int, **kwargs: Any) -> L.Trainer:
    return L.Trainer(
        max_epochs=max_epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, **kwargs,
    )  # fmt: skip


def _then_trial_fit(trial: Trial) -> None:
    net, data = DigitsNet(), DigitsData(128)
    _trainer(2).fit(net, data)
    trial.fit(net, data)


def _of_the_same_length(trial: Trial) -> None:
    net, data = DigitsNet(), DigitsData(128)
    _trainer(trial.max_epochs).fit(net, data)
    trial.fit(net, data)


def _in_a_function_inside(anything: Any) -> None:
    def finish() -> None:
        anything.fit(DigitsNet(), DigitsData(128))

    _trainer(1, max_steps=3).fit(DigitsNet(), DigitsData(128))
    finish()


def _marked(trial: Trial) -> None:
    net, data = DigitsNet(), DigitsData(128)
    _trainer(7, limit_train_batches=1, callbacks=[RungCallback(reports=False)]).fit(net, data)
    _trainer(trial.max_epochs).fit(net, data)


def _marked_before_the_trials_trainer(trial: Trial) -> None:
    net, data = DigitsNet(), DigitsData(128)
    _trainer(trial.max_epochs, callbacks=[RungCallback(reports=False)]).fit(net, data)
    trial.trainer().fit(net, data, ckpt_path=trial.ckpt_path)


WAYS = [_then_trial_fit, _of_the_same_length, _in_a_function_inside, _marked, _marked_before_the_trials_trainer]


@pytest.mark.parametrize("train", WAYS)
def test_a_pretraining_does_not_report_and_the_fit_after_it_does(bench: Bench, train: Callable[[Trial], None]) -> None:
    first = bench.inline(train, {1: "pause"})
    assert first.ended[0].outcome == "done", first.ended[0].error
    assert [report.resource for report in first.of(Report)] == [1]
    resumed = bench.inline(train, {2: "pause"}, **bench.resume(first, 2))
    assert [report.resource for report in resumed.of(Report)] == [2], resumed.ended[0].error


def test_a_fit_that_was_taken_for_a_pretraining_is_an_error_with_what_to_do(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        if trial["lr"] > 1:
            trial.fit(DigitsNet(), DigitsData(128))
        else:
            _trainer(trial.max_epochs).fit(DigitsNet(), DigitsData(128))

    (ended,) = bench.inline(train, {}).ended
    assert ended.outcome == "error"
    assert "was taken for a pretraining" in ended.error
    assert "callbacks=[RungCallback()]" in ended.error


def test_a_check_shortens_a_pretraining(bench: Bench) -> None:
    n_batches = []

    class Counts(L.Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            n_batches.append(1)

    def train(trial: Trial) -> None:
        _trainer(50, callbacks=[Counts()]).fit(DigitsNet(), DigitsData(16))
        trial.fit(DigitsNet(), DigitsData(16))

    said = bench.inline(train, {1: "pause"}, probe_batches=2)
    assert [report.resource for report in said.of(Report)] == [1]
    assert len(n_batches) == 2


def test_an_unmarked_fit_of_another_length_is_refused_with_what_to_do(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        _trainer(7).fit(DigitsNet(), DigitsData(512))
        _trainer(trial.max_epochs).fit(DigitsNet(), DigitsData(512))

    said = bench.inline(train, {})
    assert "`Trainer(max_epochs=...)` is 7; allowed: 4, the study's horizon" in said.ended[0].error
    assert "as a pretraining: Trainer(callbacks=[hwt.RungCallback(reports=False)])" in said.ended[0].error


class _Trains:
    def __call__(self, trial: Trial) -> None:
        trial.fit(None)

    def method(self, handle: Trial) -> None:
        handle.fit(None)


CALLS: list[tuple[Any, bool]] = [
    (_then_trial_fit, True),
    (_in_a_function_inside, True),
    (_marked, False),
    (_Trains(), True),
    (_Trains().method, True),
    (functools.partial(_then_trial_fit), True),
    (lambda trial: trial.fit(None), True),
    (lambda trial: trial.trainer().fit(None), False),
    (lambda trial: _then_trial_fit(trial), False),
    (print, False),
]


@pytest.mark.parametrize(("train", "is_called"), CALLS)
def test_a_functions_code_says_whether_it_trains_with_trial_fit(train: Any, is_called: bool) -> None:
    assert calls_fit(train) is is_called
    assert calls_fit(cloudpickle.loads(cloudpickle.dumps(train))) is is_called


@pytest.mark.parametrize("tree", ["lightning.pytorch", "pytorch_lightning"])
def test_a_compiled_module_trains_in_its_own_tree(bench: Bench, tree: str) -> None:
    if tree == "pytorch_lightning":
        pl = pytest.importorskip("pytorch_lightning")
    else:
        pl = L

    class Net(pl.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return self.net(batch[0]).mean()

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_error", self.net(batch[0]).mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def train(trial: Trial) -> None:
        rows = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(8, 4)), 4)
        trial.fit(torch.compile(Net(), backend="eager"), rows, rows)

    first = bench.inline(train, {1: "pause"})
    assert first.ended[0].outcome == "done", first.ended[0].error
    resumed = bench.inline(train, {2: "pause"}, **bench.resume(first, 2))
    assert [report.resource for report in resumed.of(Report)] == [2], resumed.ended[0].error
