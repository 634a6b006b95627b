"""Studies in steps and samples: validations inside an epoch are reported, and a trial can stop there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from rank_bench import Bench, Said, differences
from tiny_training import TinyNet, fit, rows

from lightning_hwtune.training.channel import Report

pytestmark = pytest.mark.training

STEPS: dict[str, Any] = {"unit": "steps", "metrics": ("value",), "levels": (2, 4, 12), "max_resource": 12}


class Counts(TinyNet):
    """Logs the steps that it was validated after."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("value", float(self.global_step))


def _train(trial: Any) -> Any:
    """Ten steps per epoch, a validation after each second one."""
    return fit(trial, Counts(), train=rows(40), val_check_interval=2)


def _reported(said: Said) -> list[tuple[int, float, bool]]:
    assert said.ended[0].error == "", said.ended[0].error
    return [(report.resource, report.metrics["value"], report.is_inside) for report in said.of(Report)]


def test_each_validation_is_reported_and_the_horizon_ends_training_inside_an_epoch(bench: Bench) -> None:
    said = bench.inline(_train, {}, **STEPS)
    assert _reported(said) == [(n, float(n), n != 10) for n in (2, 4, 6, 8, 10, 12)]
    assert (said.ended[0].resource, said.saved.resource) == (12, 12)


def test_a_stop_inside_an_epoch_ends_training_at_once(bench: Bench) -> None:
    said = bench.inline(_train, {4: "stop"}, **STEPS)
    assert [resource for resource, _, _ in _reported(said)] == [2, 4]
    assert said.ended[0].resource == 4
    assert not said.ended[0].reached_end


def test_a_pause_inside_an_epoch_is_obeyed_at_its_end(bench: Bench) -> None:
    whole = bench.inline(_train, {}, **STEPS)
    first = bench.inline(_train, {4: "pause"}, **STEPS)
    assert [resource for resource, _, _ in _reported(first)] == [2, 4]
    assert first.saved.resource == 10
    second = bench.inline(_train, {}, **STEPS, **bench.resume(first, 2))
    assert _reported(second) == [(12, 12.0, True)]
    states = [torch.load(said.saved.path, weights_only=False)["state_dict"] for said in (whole, second)]
    assert differences(*states) == []


def test_samples_and_accumulated_steps_are_counted(bench: Bench) -> None:
    order = {**STEPS, "unit": "samples", "levels": (8, 48), "max_resource": 48}
    said = bench.inline(_train, {}, **order)
    assert [resource for resource, _, _ in _reported(said)] == [8, 16, 24, 32, 40, 48]

    accumulating = lambda trial: fit(  # noqa: E731
        trial, Counts(), train=rows(40), val_check_interval=2, accumulate_grad_batches=4
    )
    said = bench.inline(accumulating, {}, **{**STEPS, "levels": (1, 3), "max_resource": 3})
    assert [resource for resource, _, _ in _reported(said)] == [1, 2, 3]  # no step is reported twice


def test_validations_across_epochs_are_reported_where_they_fall(bench: Bench) -> None:
    train = lambda trial: fit(  # noqa: E731
        trial, Counts(), train=rows(16), val_check_interval=6, check_val_every_n_epoch=None
    )
    said = bench.inline(train, {}, **STEPS)
    assert _reported(said) == [(6, 6.0, True), (8, 6.0, False), (12, 12.0, False)]


def test_an_objective_of_every_second_validation_is_reported_only_there(bench: Bench) -> None:
    class Seldom(TinyNet):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            if self.global_step % 4 == 0:
                self.log("value", float(self.global_step))

    said = bench.inline(lambda trial: fit(trial, Seldom(), train=rows(40), val_check_interval=2), {}, **STEPS)
    assert _reported(said) == [(4, 4.0, True), (8, 8.0, True), (10, 8.0, False), (12, 12.0, True)]


def test_epochs_are_reported_at_their_end_only(bench: Bench) -> None:
    said = bench.inline(_train, {2: "stop"}, metrics=("value",))
    assert _reported(said) == [(1, 10.0, False), (2, 20.0, False)]


@pytest.mark.parametrize(
    ("kwargs", "first"), [({"val_check_interval": 5}, 5), ({}, 10), ({"val_check_interval": 0.5}, 5)]
)
def test_a_horizon_inside_the_first_validation_interval_is_refused(bench: Bench, kwargs: Any, first: int) -> None:
    order = {**STEPS, "levels": (2, 4), "max_resource": 4}
    error = bench.inline(lambda trial: fit(trial, Counts(), train=rows(40), **kwargs), {}, **order).ended[0].error
    assert f"`max_steps` is 4; allowed: at least {first}, the steps up to the first validation" in error
    enough = bench.inline(
        lambda trial: fit(trial, Counts(), train=rows(40), **kwargs),
        {},
        **{**order, "max_resource": first, "levels": (first,)},
    )
    assert [resource for resource, _, _ in _reported(enough)] == [first]


@pytest.mark.parametrize(
    ("every", "levels", "missed"),
    [(6, (1, 2, 4), 1), (6, (2, 3, 4), 4), (6, (2, 3, 5), None), (3, (1, 2, 4), None), (9, (3,), None)],
)
@pytest.mark.parametrize("probe", [{}, {"probe_batches": 2}], ids=["trial", "check"])
def test_a_rung_that_an_interval_across_epochs_leaves_without_validation_is_found_by_the_check(
    bench: Bench, every: int, levels: tuple[int, ...], missed: int | None, probe: dict[str, int]
) -> None:
    """Four batches per epoch; a trial fails at the same rung for the same reason."""

    def train(trial: Any) -> Any:
        return fit(trial, Counts(), train=rows(16), val_check_interval=every, check_val_every_n_epoch=None)

    order = {"metrics": ("value",), "levels": levels, "max_resource": levels[-1]}
    error = bench.inline(train, {}, **order, **probe).ended[0].error
    said = f"epoch {missed} is a rung, but has no validation. An epoch has 4 batches, and "
    assert error == "" if missed is None else f"{said}Trainer(val_check_interval=...) is {every}" in error


def test_an_objective_of_the_training_needs_no_validation_in_a_rung(bench: Bench) -> None:
    class InTraining(TinyNet):
        def on_train_epoch_end(self) -> None:
            self.log("value", 1.0)

    def train(trial: Any) -> Any:
        return fit(trial, InTraining(), train=rows(16), val_check_interval=6, check_val_every_n_epoch=None)

    order = {"metrics": ("value",), "levels": (1, 2), "max_resource": 2}
    errors = [bench.inline(train, {}, **order, **probe).ended[0].error for probe in ({}, {"probe_batches": 2})]
    assert errors == ["", ""]


def test_two_ranks_report_inside_an_epoch_together(bench: Bench) -> None:
    train = lambda trial: fit(trial, Counts(), train=rows(80), val_check_interval=2)  # noqa: E731
    said = bench.segment(train, {4: "stop"}, num_devices=2, **STEPS)
    assert _reported(said) == [(2, 2.0, True), (4, 4.0, True)]
    assert [ended.error for ended in said.ended] == ["", ""]
