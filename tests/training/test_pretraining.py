"""A fit that is not the trial's, such as a pretraining, before the one that counts."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import lightning.pytorch as L
import pytest
import torch
from digits_training import DigitsData, DigitsNet
from rank_bench import Bench, ScriptedChannel

import lightning_hwtune as hwt
from lightning_hwtune.engine.check_segment_orders import check_segment_order
from lightning_hwtune.training.channel import Note, Report
from lightning_hwtune.training.lightning_tree import RungCallback
from lightning_hwtune.training.process.rank_main import run_segment
from lightning_hwtune.training.trial import Trial
from lightning_hwtune.training.trial_fit import COUNTED_FIT, calls_fit

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
    assert "was treated as a pretraining" in ended.error
    assert "callbacks=[RungCallback()]" in ended.error


def _finish(trial: Trial, net: Any) -> None:
    trial.fit(net, DigitsData(128))


def _then_a_helper(trial: Trial) -> None:
    net = DigitsNet()
    _trainer(trial.max_epochs).fit(net, DigitsData(128))
    _finish(trial, net)


def _then_the_trials_trainer(trial: Trial) -> None:
    _trainer(trial.max_epochs).fit(DigitsNet(), DigitsData(128))
    trial.trainer().fit(DigitsNet(), DigitsData(128))


def _then_a_marked_trainer(trial: Trial) -> None:
    _trainer(trial.max_epochs).fit(DigitsNet(), DigitsData(128))
    _trainer(trial.max_epochs, callbacks=[RungCallback()]).fit(DigitsNet(), DigitsData(128))


def _then_a_helper_whose_error_is_swallowed(trial: Trial) -> None:
    with contextlib.suppress(Exception):
        _then_a_helper(trial)


LATE = [_then_a_helper, _then_the_trials_trainer, _then_a_marked_trainer, _then_a_helper_whose_error_is_swallowed]


@pytest.mark.parametrize("train", LATE)
@pytest.mark.parametrize("script", [{}, {1: "pause"}, {1: "stop"}], ids=["complete", "paused", "stopped"])
def test_a_marked_fit_after_one_that_has_reported_is_an_error(
    bench: Bench, train: Callable[[Trial], None], script: dict[int, str]
) -> None:
    (ended,) = bench.inline(train, script).ended
    assert ended.outcome == "error"
    assert "called after the fit of another Trainer, which has reported" in ended.error
    assert "callbacks=[hwt.RungCallback(reports=False)]" in ended.error


@pytest.mark.parametrize("train", LATE[:3])
def test_an_order_for_marked_fits_only_makes_the_first_fit_a_pretraining(
    bench: Bench, train: Callable[[Trial], None]
) -> None:
    said = bench.inline(train, {1: "pause"}, only_marked_fits=True)
    assert said.ended[0].outcome == "done", said.ended[0].error
    assert [report.resource for report in said.of(Report)] == [1]
    assert [note.topic for note in said.of(Note)] == [COUNTED_FIT]


class _InAMethod:
    """Its first fit is shorter than the study, so that it would be refused if it were the trial's."""

    def __call__(self, trial: Trial) -> None:
        net = DigitsNet()
        _trainer(2).fit(net, DigitsData(512))
        self.end(trial, net)

    def end(self, trial: Trial, net: Any) -> None:
        trial.fit(net, DigitsData(512))


def _decorated(function: Callable[[Trial], None]) -> Callable[[Trial], None]:
    def call(handle: Trial) -> None:
        function(handle)

    return call


def _study(folder: Path) -> hwt.Study:
    return hwt.Study(
        "s", {"lr": hwt.Choice([0.1])}, [hwt.Metric("val_error", "min")], scheduler=hwt.ASHA(4, first_rung=1, eta=2),
        searcher=hwt.Grid(), pool=hwt.Pool("cpu", devices=1), dir=folder,
    )  # fmt: skip


@pytest.mark.parametrize("train", [_decorated(_then_a_helper), _InAMethod(), _then_the_trials_trainer])
def test_a_check_learns_which_fit_counts_and_the_study_remembers_it(
    tmp_path: Path, train: Callable[[Trial], None]
) -> None:
    study = _study(tmp_path).run(train, max_trials=1, progress=False)
    (trial,) = study.state().trials
    assert trial.state.value == "completed", trial.error
    assert COUNTED_FIT in study.state().topics
    order = check_segment_order(study.spec, trial.config, tmp_path)
    again = ScriptedChannel({})
    again.send(run_segment(train, replace(order, seed=trial.seed, probe_batches=None, only_marked_fits=True), again))
    assert [report.resource for report in again.said.of(Report)] == [1, 2, 3, 4]
    assert again.said.of(Report)[-1].metrics == trial.measurements[-1].values


def test_a_check_says_the_first_error_where_no_fit_is_marked(tmp_path: Path) -> None:
    def train(trial: Trial) -> None:
        for n_epochs in (7, trial.max_epochs):
            _trainer(n_epochs).fit(DigitsNet(), DigitsData(512))

    study = _study(tmp_path)
    with pytest.raises(hwt.TrialError, match=r"max_epochs=\.\.\.\)` is 7; allowed: 4"):
        study.run(train, max_trials=1, progress=False)
    assert not study.state().topics


def _twice(trial: Trial) -> None:
    net = DigitsNet()
    for _ in range(2):
        _trainer(trial.max_epochs).fit(net, DigitsData(512))


def _twice_with_one_trainer(trial: Trial) -> None:
    net, trainer = DigitsNet(), _trainer(trial.max_epochs)
    for _ in range(2):
        trainer.fit(net, DigitsData(512))


class _Around(DigitsNet):
    """Another module that contains the layers of a pretrained one."""

    def __init__(self, pretrained: DigitsNet) -> None:
        super().__init__()
        self.pretrained = pretrained


def _then_a_module_around_the_first(trial: Trial) -> None:
    net = DigitsNet()
    _trainer(trial.max_epochs).fit(net, DigitsData(512))
    _trainer(trial.max_epochs).fit(_Around(net), DigitsData(512))


def _twice_with_a_swallowed_error(trial: Trial) -> None:
    with contextlib.suppress(Exception):
        _twice(trial)


TWICE = [_twice, _twice_with_one_trainer, _then_a_module_around_the_first, _twice_with_a_swallowed_error]


@pytest.mark.parametrize("train", TWICE)
@pytest.mark.parametrize("script", [{}, {1: "pause"}], ids=["complete", "paused"])
def test_a_check_asks_which_of_two_fits_of_the_same_weights_counts(
    bench: Bench, train: Callable[[Trial], None], script: dict[int, str]
) -> None:
    said = bench.inline(train, script, probe_batches=2)
    assert said.ended[0].outcome == "error"
    assert "called twice for the same weights, with Trainers that are not marked" in said.ended[0].error
    assert "callbacks=[lightning_hwtune.RungCallback(reports=False)]" in said.ended[0].error


def _two_modules(trial: Trial) -> None:
    for _ in range(2):
        _trainer(trial.max_epochs).fit(DigitsNet(), DigitsData(512))


def _fit_then_test(trial: Trial) -> None:
    net, trainer = DigitsNet(), _trainer(trial.max_epochs)
    trainer.fit(net, DigitsData(512))
    trainer.validate(net, DigitsData(512))


def _the_first_is_marked(trial: Trial) -> None:
    net = DigitsNet()
    _trainer(trial.max_epochs, callbacks=[RungCallback()]).fit(net, DigitsData(512))
    _trainer(trial.max_epochs).fit(net, DigitsData(512))


def _marked_as_pretraining(trial: Trial) -> None:
    net = DigitsNet()
    _trainer(trial.max_epochs, callbacks=[RungCallback(reports=False)]).fit(net, DigitsData(512))
    _trainer(trial.max_epochs).fit(net, DigitsData(512))


@pytest.mark.parametrize("train", [_two_modules, _fit_then_test, _the_first_is_marked, _marked_as_pretraining])
def test_a_check_asks_nothing_where_it_is_known_which_fit_counts(bench: Bench, train: Callable[[Trial], None]) -> None:
    said = bench.inline(train, {1: "pause"}, probe_batches=2)
    assert said.ended[0].outcome == "done", said.ended[0].error
    assert [report.resource for report in said.of(Report)] == [1]


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
    assert "`Trainer(max_epochs=...)` is 7; allowed: 4, the full training" in said.ended[0].error
    assert "only a pretraining, give its Trainer callbacks=[hwt.RungCallback(reports=False)]" in said.ended[0].error


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
