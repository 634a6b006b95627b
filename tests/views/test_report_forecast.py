"""Forecasts against whole studies on the virtual clock: before the first trial, and while the study runs."""

from __future__ import annotations

import dataclasses
import math
import statistics
from types import SimpleNamespace
from typing import Any

import pytest

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.pace import Pace
from lightning_hwtune.core.schedulers import ASHA, Hyperband, RunToEnd, Scheduler
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.views.amounts import duration
from lightning_hwtune.views.announcements import checked, totals
from lightning_hwtune.views.forecast import TimeLeft, start_ups, time_left, time_left_s
from lightning_hwtune.views.status import rung_forecast, status_entry

SPACE = SearchSpace(x=Float(0, 1), y=Float(0, 1))
CHECK = SimpleNamespace(
    num_devices=1, logged=("error",), epoch_s=1.0, checkpoint_bytes=0, wall_s=3.0, notes=(), gpu_bytes=0,
    units_s={1: 1.0}, startup_s=5.0, warm_up_s=0.0, imports=(("slow_library", 4.5), ("quick", 0.01)),
)  # fmt: skip


def study(scheduler: Scheduler, n_objectives: int = 1, workers: int = 2, **limits: Any) -> tuple[StudyState, Limits]:
    objectives = Objectives([Metric("error", "min"), TrainSeconds()][:n_objectives])
    spec = StudySpec(
        name="s", space=SPACE, objectives=objectives, scheduler=scheduler, searcher=Random(), pool=Pool("cpu", workers)
    )
    return StudyState(spec), Limits(**limits)


def log_of(state: StudyState, limits: Limits, start_s: float) -> list[ev.Event]:
    curves = SyntheticCurves(SPACE, max_resource=state.race.max_resource, seed=1, unit_s=1.0)
    log: list[ev.Event] = []
    simulate(state.spec, curves, limits, start_s=start_s, sink=log.extend)
    return log


@pytest.mark.parametrize("start_s", [1.0, 5.0])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("scheduler", "n_objectives", "n_trials"),
    [
        (ASHA(max_epochs=9, first_rung=1), 1, 40),
        (ASHA(max_epochs=9, first_rung=1), 2, 40),
        (Hyperband(max_epochs=9), 1, 40),
        (RunToEnd(9), 1, 12),
    ],
)
def test_forecasts_are_within_a_factor_of_two_before_and_of_one_and_a_half_at_a_third(
    scheduler: Scheduler, n_objectives: int, n_trials: int, workers: int, start_s: float
) -> None:
    state, limits = study(scheduler, n_objectives, workers, max_trials=n_trials)
    log, pace = log_of(state, limits, start_s), Pace({1: 1.0}, start_s)
    end, is_due = log[-1].at, True
    for event in log:
        if is_due and event.at >= end / 3:
            is_due = False
            left_s = time_left_s(state, state.last_at)  # without a check, as `hwtune status` knows it
            assert (end - state.last_at) / 1.5 < left_s < (end - state.last_at) * 1.5
        state.apply(event)
        if isinstance(event, ev.SessionOpened):
            assert end / 2 < time_left_s(state, event.at, pace) < end * 2
    assert not is_due


def test_a_forecast_changes_nothing_and_repeats() -> None:
    state, limits = study(ASHA(max_epochs=9, first_rung=1), max_trials=9)
    for event in log_of(state, limits, 1.0)[:30]:
        state.apply(event)
    before, now = status_entry(state, state.last_at, 0), state.last_at
    left = time_left(state, now)
    assert 0 < left.low_s < left.left_s < left.high_s
    known = {"time_left_s": left.left_s, "time_left_range_s": [left.low_s, left.high_s]}
    assert status_entry(state, now, 0, left=left) == {**before, **known}
    assert {name: before[name] for name in known} == dict.fromkeys(known)
    stopped = status_entry(state, now, 0, left=left, is_driven=False)
    assert {name: stopped[name] for name in known} == dict.fromkeys(known)
    assert time_left(state, now) == left


def test_most_studies_end_within_the_range() -> None:
    n_within, widths = 0, []
    for seed in range(12):
        state, limits = study(ASHA(max_epochs=9, first_rung=1), max_trials=30)
        state.spec = dataclasses.replace(state.spec, seed=seed)
        log = log_of(state, limits, 1.0)
        for event in log:
            if event.at < log[-1].at / 3:
                state.apply(event)
        left_s, found = log[-1].at - state.last_at, time_left(state, state.last_at)
        n_within += found.low_s <= left_s <= found.high_s
        widths.append((found.high_s - found.low_s) / left_s)
    assert n_within >= 8
    assert 0.0 < statistics.median(widths) < 0.7


def test_a_range_ends_at_the_limit_of_time_and_needs_simulations() -> None:
    state, limits = study(ASHA(max_epochs=9, first_rung=1), max_trials=50, max_time_s=30.0)
    log = log_of(state, limits, 1.0)
    for event in log[:20]:
        state.apply(event)
    left_s = 30.0 - state.wall_s(state.last_at)
    limited = time_left(state, state.last_at)
    assert limited is not None
    assert (limited.left_s, limited.low_s, limited.high_s) == pytest.approx((left_s, left_s, left_s))
    state.limits = dataclasses.replace(state.limits, max_trials=None)
    found = time_left(state, state.last_at)
    assert (found.left_s, found.range_s) == (left_s, None)


def test_limits_of_time_bound_a_forecast_and_a_closed_study_has_none() -> None:
    state, limits = study(ASHA(max_epochs=9, first_rung=1), max_trials=50, max_time_s=10.0)
    log = log_of(state, limits, 1.0)
    for event in log[:2]:
        state.apply(event)
    assert time_left_s(state, state.last_at, Pace({1: 1.0}, 1.0)) <= 10.0
    for event in log[2:]:
        state.apply(event)
    assert status_entry(state, state.last_at, 0, left=TimeLeft(5.0))["time_left_s"] is None
    assert "left" not in totals(state, state.last_at)
    assert "9.6 s of 10 s so far, about 3 min 05 s left · " in totals(state, state.last_at, 185.0)


@pytest.mark.parametrize("max_epochs", [3, 9, 10])
def test_no_first_rung_is_advised_that_leaves_nothing_to_stop_early(max_epochs: int) -> None:
    state, limits = study(ASHA(max_epochs=max_epochs, first_rung=1), max_trials=8)
    state.limits = limits.resolved(state.spec)
    found = start_ups(state, Pace({1: 0.1}, 50.0))
    assert found is not None
    assert found.first_rung is None or len(ASHA(max_epochs=max_epochs, first_rung=found.first_rung).levels) > 1


def test_a_slow_start_is_noted_with_its_share_and_a_first_rung_that_halves_it() -> None:
    state, limits = study(ASHA(max_epochs=27, first_rung=1), max_trials=27)
    state.limits = limits.resolved(state.spec)
    found = start_ups(state, Pace({1: 1.0}, 5.0))
    assert found is not None
    assert 0.4 < found.share < 0.9
    assert found.first_rung is not None
    halved, _ = study(ASHA(max_epochs=27, first_rung=found.first_rung), max_trials=27)
    halved.limits = state.limits
    later = start_ups(halved, Pace({1: 1.0}, 100.0))
    assert later is not None
    assert start_ups(state, Pace({1: 10.0}, 5.0)) is None
    lines = [str(line) for line in checked(state, CHECK)]
    call = f"`ASHA(max_epochs=27, first_rung={found.first_rung})` halves"
    assert any("takes 5 s to start" in line and call in line for line in lines)
    [advice] = [line for line in lines if "halves" in line]
    epochs = [rung_forecast(item.spec.scheduler, 27, state.limits.n_finishers)["epochs"] for item in (halved, state)]
    more = f"trains longer: about {epochs[0]} epochs instead of {epochs[1]}, {duration(epochs[0] - epochs[1])} more of"
    assert epochs[0] > epochs[1]
    assert more in advice  # an epoch takes a second
    assert any("slow_library 4.5 s" in line and "preload=['slow_library']" in line for line in lines)


@pytest.mark.parametrize(
    ("scheduler", "n_trials"),
    [(ASHA(27, first_rung=1), 20), (ASHA(9, first_rung=1), 20), (Hyperband(27), 20)],
)
def test_over_several_studies_a_forecast_is_neither_too_high_nor_too_low(scheduler: Scheduler, n_trials: int) -> None:
    """Three objectives, one or two devices, paces that differ by a factor of 16: in the mean it is right."""
    space = SearchSpace(x=Float(0, 1), y=Float(0, 1), z=Float(0, 1), devices=NumDevices(1, 2))
    logs = []
    for seed in range(5):
        spec = StudySpec(
            name="s", space=space, objectives=Objectives([Metric("error", "min"), TrainSeconds(), Cost()]),
            scheduler=scheduler, searcher=Random(), pool=Pool("cpu", 2, usd_per_device_hour=1.0), seed=seed,
        )  # fmt: skip
        curves = SyntheticCurves(space, max_resource=scheduler.max_resource, seed=seed, unit_s=0.3, scaling=0.4)
        log: list[ev.Event] = []
        simulate(spec, curves, Limits(max_trials=n_trials), start_s=0.5, sink=log.extend)
        end, state = log[-1].at, StudyState(spec)
        for event in log:
            if event.at >= end / 3:
                break
            state.apply(event)
        logs.append(math.log(time_left_s(state, end / 3) / (end * 2 / 3)))
    assert all(abs(log_ratio) < math.log(1.75) for log_ratio in logs)
    assert abs(statistics.fmean(logs)) < math.log(1.25)


def test_a_study_limited_by_money_alone_lasts_as_long_as_its_rate_so_far_allows() -> None:
    state, limits = study(RunToEnd(9), workers=2, max_cost_usd=1.0)
    state = StudyState(dataclasses.replace(state.spec, pool=Pool("cpu", 2, usd_per_device_hour=36.0)))
    log = log_of(state, limits, 1.0)
    end = log[-1].at
    for event in log:
        if event.at > end / 3:
            break
        state.apply(event)
    assert time_left_s(state, end / 3) == pytest.approx(end * 2 / 3, rel=0.15)
    assert time_left_s(StudyState(state.spec), 0.0) != time_left_s(state, end / 3)


@pytest.mark.parametrize("max_time_s", [None, 3600.0])
def test_nothing_is_left_of_a_study_whose_trials_are_all_done(max_time_s: float | None) -> None:
    state, limits = study(ASHA(max_epochs=9, first_rung=1), max_trials=5, max_time_s=max_time_s)
    for event in log_of(state, limits, 1.0):
        state.apply(event)
    again = ev.SessionOpened(at=state.last_at + 5.0, limits=limits.to_dict(), host="h", pid=1, version="0")
    state.apply(again)
    assert time_left_s(state, again.at) == 0.0


@pytest.mark.parametrize(
    ("scheduler", "limits"), [(ASHA(max_epochs=9, first_rung=1), {}), (RunToEnd(3), {"max_cost_usd": 10.0})]
)
def test_of_very_many_trials_only_some_are_run_forward(scheduler: Scheduler, limits: dict[str, float]) -> None:
    state, given = study(scheduler, max_trials=400, **limits)
    state = StudyState(dataclasses.replace(state.spec, pool=Pool("cpu", 2, usd_per_device_hour=36.0)))
    log = log_of(state, given, 1.0)
    end = log[-1].at
    for event in log:
        if event.at > end / 5:
            break
        state.apply(event)
    assert len(state.trials) < 300 - 100
    assert end * 0.8 / 1.4 < time_left_s(state, end / 5) < end * 0.8 * 1.4
