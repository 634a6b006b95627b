"""Which logged values count: those of the present epoch, wherever a module or a callback logs them."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
import torchmetrics
from rank_bench import Bench
from tiny_training import TinyNet, fit, rows

from lightning_hwtune.training.channel import Note, Report
from lightning_hwtune.training.logged_values import WrittenNames
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training


def _values(bench: Bench, train: Any, script: dict[int, str] | None = None, **changes: Any) -> dict[int, Any]:
    """Returns resource -> the value that was reported there."""
    changes = {"metrics": ("value",), "levels": (1, 3), "max_resource": 3, **changes}
    said = bench.inline(train, script or {3: "stop"}, **changes)
    assert said.ended[0].error == "", said.ended[0].error
    return {report.resource: report.metrics["value"] for report in said.of(Report)}


def _error(bench: Bench, train: Any, **changes: Any) -> str:
    changes = {"metrics": ("value",), "levels": (1, 3), "max_resource": 3, **changes}
    return bench.inline(train, {3: "stop"}, **changes).ended[0].error


class InStep(TinyNet):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("value", float(self.current_epoch))


class InModulesLastHook(TinyNet):
    def on_train_epoch_end(self) -> None:
        self.log("value", float(self.current_epoch))


class InValidationEpochEnd(TinyNet):
    def on_validation_epoch_end(self) -> None:
        self.log("value", float(self.current_epoch))


class InTrainingStep(TinyNet):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("value", float(self.current_epoch), on_step=True, on_epoch=True)
        return super().training_step(batch, batch_idx)


class Manual(TinyNet):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()  # type: ignore[union-attr]
        self.manual_backward(self.layer(batch).square().mean())
        optimizer.step()  # type: ignore[union-attr]
        self.log("value", float(self.current_epoch))


class Torchmetric(TinyNet):
    def __init__(self) -> None:
        super().__init__()
        self.mean = torchmetrics.MeanMetric()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.mean.update(float(self.current_epoch))
        self.log("value", self.mean)


class Logs(L.Callback):
    """Logs the epoch in one hook."""

    def __init__(self, hook: str) -> None:
        setattr(self, hook, self.log_now)

    def log_now(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        pl_module.log("value", float(trainer.current_epoch))


class Writes(L.Callback):
    """Writes into the Trainer's dictionary, where Lightning does not know of it."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.callback_metrics["value"] = self.values[trainer.current_epoch]


@pytest.mark.parametrize("net", [InStep, InModulesLastHook, InValidationEpochEnd, InTrainingStep, Manual, Torchmetric])
def test_a_module_may_log_an_objective_in_any_hook(bench: Bench, net: Any) -> None:
    assert _values(bench, lambda trial: fit(trial, net())) == {1: 0.0, 2: 1.0, 3: 2.0}


@pytest.mark.parametrize("hook", ["on_train_epoch_end", "on_validation_epoch_end", "on_train_batch_end"])
def test_a_callback_may_log_an_objective_in_any_hook(bench: Bench, hook: str) -> None:
    assert _values(bench, lambda trial: fit(trial, TinyNet(), Logs(hook))) == {1: 0.0, 2: 1.0, 3: 2.0}


def test_a_callback_that_monitors_may_log_an_objective(bench: Bench) -> None:
    class Saves(L.callbacks.ModelCheckpoint):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            pl_module.log("value", float(trainer.current_epoch))

    train = lambda trial: fit(trial, TinyNet(), Saves())  # noqa: E731
    assert _values(bench, train) == {1: 0.0, 2: 1.0, 3: 2.0}


def test_the_callback_that_reports_is_there_only_during_the_fit(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        trainer = fit(trial, InStep())
        assert trainer.checkpoint_callbacks == []
        assert type(trainer.callback_metrics) is dict
        assert trainer.callback_metrics["value"] == 2.0

    assert _values(bench, train) == {1: 0.0, 2: 1.0, 3: 2.0}


def test_names_with_suffixes(bench: Bench) -> None:
    assert _values(bench, lambda trial: fit(trial, InTrainingStep()), metrics=("value_epoch", "value"))[3] == 2.0

    class TwoLoaders(TinyNet):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            self.log("value", float(dataloader_idx))
            self.log("plain", float(self.current_epoch), add_dataloader_idx=False) if dataloader_idx else None

    said = bench.inline(
        lambda trial: fit(trial, TwoLoaders(), val=[rows(4), rows(8)]),
        {3: "stop"},
        metrics=("value/dataloader_idx_1", "plain"),
    )
    assert [dict(report.metrics) for report in said.of(Report)] == [
        {"value/dataloader_idx_1": 1.0, "plain": float(epoch)} for epoch in range(3)
    ]


@pytest.mark.parametrize(
    "value",
    [
        2,
        True,
        np.bool_(True),
        torch.tensor(True),
        np.array(0.5),
        np.float32(0.5),
        np.array([3]),
        torch.tensor([[0.5]]),
        torch.tensor(3),
        0.5,
    ],
)
def test_any_single_number_counts_also_when_the_same_object_is_written_again(bench: Bench, value: Any) -> None:
    train = lambda trial: fit(trial, TinyNet(), Writes(value, value, value))  # noqa: E731
    assert _values(bench, train) == dict.fromkeys((1, 2, 3), float(np.asarray(value).item()))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("0.5", "'0.5' was logged"),
        (None, "None was logged"),
        (torch.zeros(3), "a Tensor of shape (3,) was logged"),
        (np.zeros((2, 2)), "a ndarray of shape (2, 2) was logged"),
        (1j, "1j was logged"),
    ],
)
def test_what_is_not_a_single_number_is_refused_by_name(bench: Bench, value: Any, told: str) -> None:
    error = _error(bench, lambda trial: fit(trial, TinyNet(), Writes(value)))
    assert f"the objective 'value' must be a single number; {told}" in error


class InEpochs(TinyNet):
    """Logs in some epochs only, counted from 1."""

    def __init__(self, *epochs: int) -> None:
        super().__init__()
        self.chosen = epochs

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("other", 1.0)
        if self.current_epoch + 1 in self.chosen:
            self.log("value", float(self.current_epoch))


def test_a_metric_that_is_logged_at_rungs_only_is_fine(bench: Bench) -> None:
    assert _values(bench, lambda trial: fit(trial, InEpochs(1, 3))) == {1: 0.0, 3: 2.0}
    assert _values(bench, lambda trial: fit(trial, InEpochs(2, 3)), levels=(2, 3)) == {2: 1.0, 3: 2.0}


@pytest.mark.parametrize(
    ("epochs", "levels", "told"),
    [
        ((1,), (1, 3), "'value' was logged before, but not in epoch 3, which is a rung; logged names: 'other'"),
        ((1, 2), (1, 3), "'value' was logged before, but not in epoch 3"),
        ((2, 3), (1, 3), "'value' was never logged; logged names: 'other'"),
        ((), (3,), "'value' was never logged; logged names: 'other'"),
    ],
)
def test_a_value_of_an_earlier_epoch_does_not_stand_for_a_rung(
    bench: Bench, epochs: tuple[int, ...], levels: tuple[int, ...], told: str
) -> None:
    assert told in _error(bench, lambda trial: fit(trial, InEpochs(*epochs)), levels=levels)


@pytest.mark.parametrize("hook", ["on_train_epoch_end", "on_validation_epoch_end"])
def test_a_callback_that_logs_once_does_not_stand_for_later_epochs(bench: Bench, hook: str) -> None:
    class Once(Logs):
        def log_now(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            if trainer.current_epoch == 0:
                super().log_now(trainer, pl_module)

    assert "logged before, but not in epoch 3" in _error(bench, lambda trial: fit(trial, TinyNet(), Once(hook)))


def test_what_is_logged_before_the_first_epoch_counts_in_all_of_them(bench: Bench) -> None:
    class Sized(TinyNet):
        def on_train_start(self) -> None:
            self.log("value", 3.0)

    assert _values(bench, lambda trial: fit(trial, Sized())) == dict.fromkeys((1, 2, 3), 3.0)
    assert _values(bench, lambda trial: fit(trial, Sized(), num_sanity_val_steps=0)) == dict.fromkeys((1, 2, 3), 3.0)


def test_the_sanity_check_does_not_log_objectives(bench: Bench) -> None:
    class InSanityCheck(TinyNet):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            if self.trainer.sanity_checking:
                self.log("value", 1.0)

    assert "'value' was never logged" in _error(bench, lambda trial: fit(trial, InSanityCheck()))


def test_a_resumed_segment_does_not_count_what_the_last_one_logged(bench: Bench) -> None:
    order = {"metrics": ("value",), "levels": (1, 3), "max_resource": 3}
    first = bench.inline(lambda trial: fit(trial, InEpochs(1)), {1: "pause"}, **order)
    again = bench.inline(lambda trial: fit(trial, InEpochs(1)), {}, **order, **bench.resume(first, 2))
    assert again.of(Report) == []
    assert "'value' was never logged" in again.ended[0].error


def test_without_a_validation_loop_training_metrics_count(bench: Bench) -> None:
    train = lambda trial: fit(trial, InTrainingStep(), limit_val_batches=0)  # noqa: E731
    assert _values(bench, train) == {1: 0.0, 2: 1.0, 3: 2.0}


def test_training_metrics_are_reported_in_epochs_without_validation(bench: Bench) -> None:
    train = lambda trial: fit(trial, InTrainingStep(), check_val_every_n_epoch=3)  # noqa: E731
    assert _values(bench, train, levels=(3,)) == {1: 0.0, 2: 1.0, 3: 2.0}


def test_a_check_reports_what_there_is_before_the_first_rung(bench: Bench) -> None:
    said = bench.inline(
        lambda trial: fit(trial, InEpochs(3)), {1: "stop"}, metrics=("value",), levels=(3,), probe_batches=2
    )
    (report,) = said.of(Report)
    assert said.ended[0].error == ""
    assert report.probe is not None
    assert (dict(report.metrics), report.probe.logged) == ({}, ("other",))


def test_written_names_follow_every_way_to_write() -> None:
    names = WrittenNames({"old": 1})
    names["a"] = 1
    names.update({"b": 2}, c=3)
    names |= {"d": 4}
    assert names.setdefault("e", 5) == 5
    assert names.setdefault("old", 9) == 1
    assert names.in_epoch == {"a", "b", "c", "d", "e"}
    assert dict(names) == {"old": 1, "a": 1, "b": 2, "c": 3, "d": 4, "e": 5}


def test_a_later_fit_of_a_trainer_that_failed_does_not_report(bench: Bench) -> None:
    class FailsOnce(InStep):
        has_failed = False

        def on_train_epoch_end(self) -> None:
            if self.current_epoch == 1 and not self.has_failed:
                self.has_failed = True
                raise RuntimeError("once")

    def train(trial: Trial) -> None:
        trainer = trial.trainer(logger=False)
        net = FailsOnce()
        with pytest.raises(RuntimeError, match="once"):
            trainer.fit(net, rows(8), rows(4))
        trainer.fit(net, rows(8), rows(4))
        assert trainer.checkpoint_callbacks == []

    said = bench.inline(train, {}, metrics=("value",), levels=(1, 3), max_resource=3)
    assert [report.resource for report in said.of(Report)] == [1]


class InBoth(TinyNet):
    """Logs one name in the validation and, later, in the training epoch."""

    def __init__(self, **how: bool) -> None:
        super().__init__()
        self.how = how

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("value", 77.0, **self.how)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("value", 1.0)


@pytest.mark.parametrize(
    ("how", "counts"),
    [({"on_step": False, "on_epoch": True}, 77.0), ({"on_step": True, "on_epoch": True}, 77.0), ({}, 1.0)],
)
def test_a_value_of_the_validation_that_the_training_replaces_is_noted(
    bench: Bench, how: dict[str, bool], counts: float
) -> None:
    changes = {"metrics": ("value",), "levels": (1, 3), "max_resource": 3}
    said = bench.inline(lambda trial: fit(trial, InBoth(**how)), {3: "stop"}, **changes)
    assert [report.metrics["value"] for report in said.of(Report)] == [counts] * 3  # as callbacks of Lightning see it
    notes = [note for note in said.of(Note) if "is logged in the validation, and again in the training" in note.text]
    assert [note.once_per for note in notes] == ["study"] * (counts == 77.0)
