"""The guard in a running study: whatever the trainings do, the bill never exceeds `max_cost`."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.budget import ranks_of
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.hardware.catalogue import InstanceType
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.schedulers import ASHA, Scheduler, SuccessiveHalving
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import Failures, Speeds, simulate

SPACE = SearchSpace(lr=Float(1e-4, 1e-1, log=True), devices=NumDevices(1, 2))
POOLS = {
    "per device": Pool("cpu", devices=3, usd_per_device_hour=36.0),  # a cent per second
    "own machine": Pool(instance=InstanceType("box", 36.0, vcpus=3)),
    "by the second": Pool(instance=InstanceType("aws", 36.0, devices=3, provider="aws")),
}


def spec(pool: str = "per device", scheduler: Scheduler | None = None, seed: int = 0) -> StudySpec:
    objectives = Objectives(Metric("error", "min"))
    return StudySpec("s", SPACE, objectives, scheduler or ASHA(9), Random(), POOLS[pool], seed=seed)


def simulated(study: StudySpec, usd: float, **given_options: Any) -> tuple[StudyState, list[ev.Event]]:
    log: list[ev.Event] = []
    limits = Limits(max_cost_usd=usd, max_trials=20)
    state = simulate(study, SyntheticCurves(SPACE, 9), limits, start_s=0.5, sink=log.extend, **given_options)
    return state, log


def most_usd(study: StudySpec, log: list[ev.Event]) -> float:
    """Returns the largest bill at any event; a bill never falls, so it is also the largest at any time."""
    state, most = StudyState(study), 0.0
    for event in log:
        most = max(most, state.billed_usd(event.at) if state.clock.is_open else 0.0)
        state.apply(event)
        most = max(most, state.billed_usd(event.at))
    return most


@given(
    st.sampled_from(sorted(POOLS)),
    st.sampled_from([ASHA(9), ASHA(9, type="stopping"), SuccessiveHalving(9)]),
    st.floats(0.01, 4.0),
    st.floats(0.0, 2.5),
    st.one_of(st.none(), st.floats(3.0, 100.0)),
    st.integers(0, 3),
)
@settings(max_examples=30, deadline=None)
def test_stragglers_noise_and_failures_never_exceed_the_budget(
    pool: str, scheduler: Scheduler, usd: float, spread: float, mean_s: float | None, seed: int
) -> None:
    study = spec(pool, scheduler, seed)
    failures = None if mean_s is None else Failures(mean_s, seed)
    state, log = simulated(study, usd, speeds=Speeds(spread, seed), failures=failures)
    assert most_usd(study, log) <= usd
    assert not state.running
    assert state.closed is not None


@pytest.mark.parametrize("pool", sorted(POOLS))
def test_a_segment_that_takes_too_long_is_ended_between_reports(pool: str) -> None:
    study, usd = spec(pool), 1.0
    state, log = simulated(study, usd, speeds=Speeds(3.0, seed=5))
    ended = [event for event in log if isinstance(event, ev.SegmentEnded) and "USD are spent" in event.error]
    assert {event.outcome for event in ended} == {"interrupted"}
    assert state.n_failed == 0
    assert state.closed is not None
    assert "USD" in state.closed.reason
    assert 0.9 * usd < most_usd(study, log) <= usd


def test_a_study_of_an_earlier_version_has_no_guard() -> None:
    study, log = spec(), list[ev.Event]()
    old = {key: value for key, value in study.to_dict().items() if key != "budget"}
    for kept, is_guarded in ((old, False), (study.to_dict(), True)):
        state = StudyState(study)
        state.apply(ev.StudyCreated(at=0.0, study="s", spec=kept))
        controller = Controller(state, log.extend)
        controller.open(Limits(max_cost_usd=1.0), 0.0, "host", 1, "0")
        assert state.has_guard == is_guarded
        controller.begin(controller.ask(0.0, 3), (0,), 0.0)  # type: ignore[arg-type]
        assert controller.end_unpaid(1e3) == ([] if not is_guarded else [(0, controller.end_unpaid(1e3)[0][1])])


@pytest.mark.parametrize(("limits", "is_endless"), [(Limits(max_trials=3), True), (Limits(max_cost_usd=1.0), False)])
def test_without_a_limit_of_money_no_look_is_due(limits: Limits, is_endless: bool) -> None:
    state, log = StudyState(spec()), list[ev.Event]()
    controller = Controller(state, log.extend)
    controller.create(0.0)
    controller.open(limits, 0.0, "host", 1, "0")
    controller.begin(controller.ask(0.0, 3), (0,), 0.0)  # type: ignore[arg-type]
    n_devices = state.running[0].num_devices
    assert controller.budget.spare_s(10.0) == pytest.approx(float("inf") if is_endless else 100.0 / n_devices - 10.0)
    assert controller.end_unpaid(10.0) == []


@pytest.mark.parametrize(
    ("reached", "order"),
    [
        ([(1, 0.5), (1, 0.3), (1, 0.4)], [1, 2, 0]),
        ([(3, 0.9), (1, 0.1), (0, 0.0)], [0, 1, 2]),
        ([(1, float("nan")), (1, 0.9), (3, 0.9)], [2, 1, 0]),
        ([(1, 0.5), (1, 0.5), (1, 0.5)], [0, 1, 2]),
    ],
)
def test_the_trial_in_the_deepest_rung_with_the_best_value_ranks_first(
    reached: list[tuple[int, float]], order: list[int]
) -> None:
    study = dataclasses.replace(spec(), space=SearchSpace(lr=Float(0, 1)), allocation=None)
    state, log = StudyState(study), list[ev.Event]()
    controller = Controller(state, log.extend)
    controller.create(0.0)
    controller.open(Limits(max_trials=3), 0.0, "host", 1, "0")
    for trial_id in range(3):
        controller.begin(controller.ask(0.0, 3 - trial_id), (trial_id,), 0.0)  # type: ignore[arg-type]
    for trial_id, (level, error) in enumerate(reached):
        state.trials[trial_id].decided = {each: "continue" for each in (1, 3, 9) if each <= level}
        if level:
            controller.state.apply(
                ev.Reported(
                    at=1.0, trial_id=trial_id, segment=1, resource=level, values={"error": error}, train_s=1.0,
                    device_s=1.0, level=None, verdict="continue", target=9, rule="", reason="",
                )
            )  # fmt: skip
    ranks = ranks_of(state)
    assert sorted(ranks, key=lambda trial_id: ranks[trial_id]) == order
