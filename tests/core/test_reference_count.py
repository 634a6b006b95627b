"""Seconds at the number of devices that a trial began with, for trials that move to another number."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_driver import Driver, rebuilt_state, spec

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.constraints import Constraint
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Done, Resume, Start
from lightning_hwtune.core.hardware.policy import AllocationPolicy
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import DeviceSeconds, Metric, Objective, Objectives, TrainSeconds
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.core.reference_count import Basis
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec

MEASURED = (TrainSeconds(), DeviceSeconds())
PAID = (Constraint("cost_usd", at_most=1e6),)
SPACE = SearchSpace(lr=Float(1e-4, 1e-1, log=True))


@dataclass(frozen=True, slots=True)
class OneFirst(AllocationPolicy):
    """All trials begin on one device, and get two if they run out of memory."""

    name: ClassVar[str] = "one-first"

    def counts(self, space: SearchSpace, pool: Pool) -> tuple[int, ...]:
        return (1, 2)

    def first(self, space: SearchSpace, pool: Pool, config: Mapping[str, Any]) -> Allocation:
        return Allocation(1)


def study(
    objectives: Collection[Objective] = MEASURED, constraints: Collection[Constraint] = PAID, seed: int = 0
) -> StudySpec:
    named = Objectives([Metric("error", "min"), *objectives], constraints)
    return spec(space=SPACE, objectives=named, devices=4, seed=seed, allocation=OneFirst())


class Moving(Driver):
    """Trials with certain numbers run out of memory on one device, at the beginning of a segment.

    An epoch takes a time that depends on the trial, divided by the speed-up of its devices.
    """

    speed_ups = {1: 1.0, 2: 1.6}
    moves: Collection[int] = ()
    moves_from = 1  # the segment that runs out of memory

    def pace_s(self, trial_id: int) -> float:
        return 5.0 + trial_id % 7

    def begin(self, decision: Start | Resume) -> None:
        self._trial_id = decision.trial_id
        super().begin(decision)

    def epoch(self, trial_id: int) -> None:
        self._trial_id = trial_id
        segment = self.state.running[trial_id]
        if trial_id in self.moves and segment.num_devices == 1 and segment.number >= self.moves_from:
            self.end(trial_id, Outcome.OUT_OF_MEMORY)
        else:
            super().epoch(trial_id)

    def epoch_s(self, devices: int) -> float:
        return self.pace_s(self._trial_id) / self.speed_ups[devices]

    def reports(self) -> list[ev.Reported]:
        return [event for event in self.log if isinstance(event, ev.Reported)]


def trained(
    limit: int, moves: Collection[int] = (), moves_from: int = 1, study_spec: StudySpec | None = None
) -> Moving:
    driver = Moving(study_spec or study(), Limits(limit))
    driver.moves, driver.moves_from = moves, moves_from
    assert isinstance(driver.run(), Done)
    return driver


def is_moved(driver: Driver, trial_id: int) -> bool:
    return len({s.num_devices for s in driver.state.segments if s.trial_id == trial_id}) > 1


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 12))
def test_nothing_is_converted_as_long_as_no_trial_changes_its_devices(seed: int, n: int) -> None:
    driver = trained(n, study_spec=study(seed=seed))
    for report in driver.reports():
        assert (report.reference_factor, report.reference_basis) == (1.0, Basis.NONE)
        assert report.values["train_s"] == report.train_s  # exactly
        assert report.values["device_s"] == report.device_s
    for trial in driver.state.trials:
        assert trial.checkpoint is None or trial.checkpoint.reference_s == trial.checkpoint.train_s


@pytest.mark.parametrize("moves_from", [1, 2])
def test_by_a_known_law_a_moved_trial_has_the_seconds_of_one_that_stayed(moves_from: int) -> None:
    """The first trials move before anything is known; those from 12 on have trials of both kinds before them."""
    moves = range(0, 40, 3)
    driver = trained(40, moves, moves_from)
    found = [report for report in driver.reports() if report.reference_basis == Basis.MODEL]
    assert len({report.trial_id for report in found}) >= 3
    for report in found:
        segment = next(s for s in driver.state.segments if (s.trial_id, s.number) == (report.trial_id, report.segment))
        alone_s = report.resource * driver.pace_s(report.trial_id)
        if moves_from == 2 or segment.resource == 0:  # else a part was converted by a guess
            assert report.values["train_s"] == pytest.approx(alone_s, rel=0.12)
            assert report.values["device_s"] == pytest.approx(report.values["train_s"])  # on one device
            assert report.values["cost_usd"] == pytest.approx(report.values["device_s"] * 3.6 / 3600)
            assert report.train_s < 0.95 * alone_s  # what it has really used


def test_with_a_trial_that_has_trained_on_both_counts_the_factor_is_its_own() -> None:
    driver = trained(9, range(9), moves_from=2)
    moved = [report for report in driver.reports() if report.reference_basis]
    assert moved
    assert {report.reference_basis for report in moved} == {Basis.MODEL}
    for report in moved:
        assert report.reference_factor == pytest.approx(1.6, rel=0.01)
        assert report.values["train_s"] == pytest.approx(report.resource * driver.pace_s(report.trial_id), rel=0.01)


def test_moved_trials_rank_like_those_that_stayed() -> None:
    """Time is the only objective that differs, so the order of a rung is that of the paces."""
    same = Objectives([Metric("error", "min"), TrainSeconds()])
    order: dict[bool, list[int]] = {}
    really: dict[bool, list[int]] = {}
    for moves in ((), range(0, 27, 2)):
        driver = Moving(dataclasses.replace(study(), objectives=same), Limits(27), curve=lambda config, epoch: 1.0)
        driver.moves, driver.moves_from = moves, 2
        driver.run()
        last = {trial.trial_id: trial.last for trial in driver.state.trials}
        seconds = {i: m.values["train_s"] / m.resource for i, m in last.items() if m is not None}
        really_s = {i: m.train_s / m.resource for i, m in last.items() if m is not None}
        order[bool(moves)] = sorted(seconds, key=lambda i: (round(seconds[i], 1), i))
        really[bool(moves)] = sorted(really_s, key=lambda i: (round(really_s[i], 1), i))
    assert order[True] == order[False] == really[False]
    assert really[True] != really[False]


@pytest.mark.parametrize(
    ("objectives", "constraints", "converted"),
    [
        (MEASURED, (), True),
        ((), (Constraint("train_s", at_most=1e6),), True),
        ((), (), False),
        ((), (Constraint("peak_memory", at_most=1e6),), False),
    ],
)
def test_only_studies_with_seconds_or_costs_fit_a_model(objectives: Any, constraints: Any, converted: bool) -> None:
    driver = trained(6, [0, 1], study_spec=study(objectives, constraints=constraints))
    assert is_moved(driver, 0)
    assert any(report.reference_basis for report in driver.reports()) is converted


def test_recorded_values_never_change_after_more_data() -> None:
    driver = Moving(study(), Limits(20))
    driver.moves = range(0, 20, 2)
    seen: dict[tuple[int, int], dict[str, float]] = {}
    for _ in range(200):
        if isinstance(driver.fill(), Done):
            break
        driver.step()
        now = {(t.trial_id, m.resource): dict(m.values) for t in driver.state.trials for m in t.measurements}
        assert {key: now[key] for key in seen} == seen
        seen = now
    assert len(seen) > 20
    again = rebuilt_state(driver.controller.spec, driver.log)
    assert {(t.trial_id, m.resource): dict(m.values) for t in again.trials for m in t.measurements} == seen


def test_without_a_comparable_trial_the_speed_up_is_said_to_be_a_guess() -> None:
    driver = trained(1, [0])
    moved = driver.reports()
    assert {report.reference_basis for report in moved} == {Basis.GUESS}
    for report in moved:
        assert report.reference_factor == 2.0**0.8
        assert report.values["device_s"] == pytest.approx(report.values["train_s"])
        assert report.values["train_s"] == pytest.approx(2.0**0.8 * report.train_s)


def test_a_guess_of_seconds_ends_no_trial() -> None:
    """Its trial is only ranked behind feasible ones; one of another quantity is ended."""
    limit_s = 9 * 5.0 / 1.6 * 1.4  # between the real seconds of trial 0 and those that are guessed
    driver = trained(1, [0], study_spec=study((), constraints=[Constraint("train_s", at_most=limit_s)]))
    assert driver.state.trials[0].resource == 9
    assert driver.state.violation(driver.state.trials[0]) > 0
    alone = trained(1, study_spec=study((), constraints=[Constraint("train_s", at_most=limit_s)]))
    assert alone.state.trials[0].resource == math.ceil(limit_s / 5.0)


def test_seconds_continue_from_the_checkpoint_of_another_count() -> None:
    driver = trained(12, range(12), moves_from=2)
    for trial in driver.state.trials:
        segments = [s for s in driver.state.segments if s.trial_id == trial.trial_id]
        for before, after in itertools.pairwise(segments):
            if before.reached == after.resource and before.num_devices != after.num_devices:
                assert after.base_reference_s == pytest.approx(after.resource * driver.pace_s(trial.trial_id))
    checkpoints = [t.checkpoint for t in driver.state.trials if t.checkpoint and is_moved(driver, t.trial_id)]
    assert checkpoints
    assert all(c.reference_s > c.train_s and c.reference_device_s < c.device_s for c in checkpoints)


def test_what_was_spent_is_real() -> None:
    stayed, moved = trained(1), trained(1, [0])
    assert moved.state.trials[0].last is not None
    assert moved.state.trials[0].last.train_s == pytest.approx(9 * 5.0 / 1.6)
    assert moved.state.billed_usd(moved.now) == pytest.approx(
        sum(s.wall_s * s.num_devices for s in moved.state.segments) * 3.6 / 3600
    )
    assert moved.now < stayed.now + 5.0


def test_a_study_of_an_earlier_version_keeps_the_seconds_of_the_devices_that_trials_had() -> None:
    driver = trained(6, range(6), moves_from=2)
    opened = [event for event in driver.log if isinstance(event, ev.StudyCreated)]
    older = {key: value for key, value in opened[0].spec.items() if key != "seconds_at"}
    log: list[ev.Event] = [dataclasses.replace(opened[0], spec=older), *driver.log[1:2]]
    again = Moving(driver.controller.spec, Limits(6), log=log)
    again.moves, again.moves_from = range(6), 2
    again.run()
    assert any(is_moved(again, trial.trial_id) for trial in again.state.trials)
    assert all(report.values["train_s"] == report.train_s for report in again.reports())


def test_a_report_in_the_first_form_has_nothing_converted() -> None:
    report = trained(1).reports()[0]
    old = {
        key: value
        for key, value in ev.to_dict(report).items()
        if key not in ("form", "reference_factor", "reference_basis")
    }
    assert ev.from_dict(old) == report


@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_controller_that_was_rebuilt_finds_the_same_factor(number: int) -> None:
    whole = trained(15, range(0, 15, 2))
    reports = [n for n, event in enumerate(whole.log) if isinstance(event, ev.Reported) and event.reference_basis]
    cut = reports[number]
    report = whole.log[cut]
    assert isinstance(report, ev.Reported)
    again = rebuilt_state(whole.controller.spec, whole.log[:cut])
    segment, written = again.running[report.trial_id], list[ev.Event]()
    metrics = {"error": report.values["error"]}
    train_s = (report.resource - segment.resource) * whole.pace_s(report.trial_id) / whole.speed_ups[2]
    Controller(again, written.extend).report(report.trial_id, report.resource, metrics, train_s, report.at)
    assert written == [report]


def test_a_guess_moves_to_what_the_trials_show() -> None:
    """On CPUs, two ranks may be slower than one: the first guess would put every moved trial last."""
    driver = Moving(study(), Limits(14))
    driver.speed_ups, driver.moves = {1: 1.0, 2: 0.7}, range(1, 14, 2)
    driver.run()
    moved = {report.trial_id: report for report in driver.reports() if report.reference_basis}
    factors = [moved[trial_id].reference_factor for trial_id in sorted(moved)]
    assert len(factors) > 4
    assert moved[1].reference_basis == Basis.GUESS
    assert 2.0 >= factors[0] > factors[-1]
    assert factors[-1] == pytest.approx(0.7, rel=0.35)
