"""Limits of time and money are kept, also by segments whose pace is not known yet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Resume, Start
from lightning_hwtune.core.hardware.catalogue import InstanceType
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.core.schedulers import ASHA, Hyperband, RunToEnd, Scheduler, SuccessiveHalving
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.simulation.executor import simulate

TOP = 9
SPACE = SearchSpace(x=Float(0.0, 1.0))
SCHEDULERS = (ASHA(TOP), ASHA(TOP, first_rung=1), Hyperband(TOP), SuccessiveHalving(TOP, bracket_size=9), RunToEnd(TOP))


@dataclass
class Paces:
    """Curves whose epochs take exactly the same time for a whole trial: the paces of the trials are a list."""

    paces: list[float]
    metrics: ClassVar[tuple[str, ...]] = ("error",)
    max_resource: int = TOP

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        return {"error": config["x"] + 1.0 / resource}

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        return resource * self.paces[int(config["x"] * 1000) % len(self.paces)] / num_devices

    def usd_per_s(self, config: Mapping[str, Any], num_devices: int) -> float:
        return num_devices / 3600


def used(state: StudyState) -> float:
    """Returns the part of the limit that was used."""
    parts = [0.0]
    if state.limits.max_time_s is not None:
        parts.append(state.wall_s(state.last_at) / state.limits.max_time_s)
    if state.limits.max_cost_usd is not None:
        parts.append(state.billed_usd(state.last_at) / state.limits.max_cost_usd)
    return max(parts)


@settings(max_examples=25, deadline=None)
@given(
    paces=st.lists(st.sampled_from([0.1, 1.0, 3.0, 10.0, 70.0]), min_size=1, max_size=6),
    start_s=st.sampled_from([0.0, 0.7, 20.0]),
    restore_s=st.sampled_from([0.0, 5.0, 60.0]),
    devices=st.sampled_from([1, 3, 8]),
    scheduler=st.sampled_from(SCHEDULERS),
    seconds=st.floats(2.0, 400.0),
    kinds=st.sampled_from(["time", "money", "both"]),
    is_two=st.booleans(),
    seed=st.integers(0, 3),
)
def test_no_limit_is_exceeded_whatever_the_paces_and_start_ups_are(
    paces: list[float], start_s: float, restore_s: float, devices: int, scheduler: Scheduler, seconds: float,
    kinds: str, is_two: bool, seed: int,
) -> None:  # fmt: skip
    objectives = Objectives([Metric("error", "min"), TrainSeconds()][: 1 + is_two])
    study = StudySpec("limits", SPACE, objectives, scheduler, Random(), Pool("cpu", devices, 1.0), seed=seed)
    bound = Limits(
        max_trials=60,
        max_time_s=seconds if kinds != "money" else None,
        max_cost_usd=seconds * devices / 3600 if kinds != "time" else None,
    )
    state = simulate(study, Paces(paces), bound, start_s=start_s, restore_s=restore_s)
    assert used(state) <= 1.0 + 1e-9
    assert not state.running


@pytest.mark.parametrize("paces", [[70.0], [1.0, 70.0], [0.1, 3.0, 10.0]])
@pytest.mark.parametrize("seconds", [65.0, 130.0])
def test_a_node_is_not_paid_beyond_the_limit(paces: list[float], seconds: float) -> None:
    box = InstanceType("box", 36.0, vcpus=4)  # one cent per second
    study = StudySpec("limits", SPACE, Objectives([Metric("error", "min")]), ASHA(TOP), Random(), Pool(instance=box))
    state = simulate(study, Paces(paces), Limits(max_cost_usd=seconds / 100), start_s=2.0, restore_s=20.0)
    assert state.billed_usd(state.last_at) <= seconds / 100 * (1.0 + 1e-9)


def controller(devices: int, **limits: float) -> Controller:
    """Returns the controller of a study in which each of the devices costs 1 USD per second."""
    pool = Pool("cpu", devices, 3600.0)
    study = StudySpec("limits", SPACE, Objectives([Metric("error", "min")]), ASHA(TOP, first_rung=1), Random(), pool)
    found = Controller(StudyState(study), lambda events: None)
    found.open(Limits(max_trials=5, **limits), 0.0, "host", 1, "0")
    for slot in range(devices):
        answer = found.ask(0.0, devices - slot)
        assert isinstance(answer, Start | Resume)
        found.begin(answer, [slot], 0.0)
    return found


def test_without_a_limit_of_time_nothing_is_late() -> None:
    assert controller(1).late_s(1e9) == math.inf
    assert controller(1, max_cost_usd=1e6).end_late(1e9) == []  # the guard of the budget ends segments


@pytest.mark.parametrize("devices", [1, 2, 5])
def test_segments_without_a_report_are_late_when_the_time_is_over(devices: int) -> None:
    study = controller(devices, max_time_s=100.0)
    assert (study.late_s(30.0), study.end_late(99.0)) == (70.0, [])
    assert [trial_id for trial_id, _ in study.end_late(100.0)] == list(range(devices))


def test_a_segment_that_has_reported_is_not_ended() -> None:
    study = controller(2, max_time_s=100.0)
    study.report(0, 1, {"error": 0.5}, 10.0, 10.0)
    [(trial_id, why)] = study.end_late(101.0)
    assert trial_id == 1
    assert "101 s of 100 s are used" in why


def test_a_resumed_segment_without_a_report_is_ended() -> None:
    study = controller(1, max_time_s=100.0)
    study.report(0, 1, {"error": 0.5}, 10.0, 10.0)
    study.saved(0, "weights", "digest", 1, 1, 10.0, 10.0)
    study.tell(0, 10.0, Outcome.INTERRUPTED)
    answer = study.ask(10.0, 1)
    assert isinstance(answer, Resume)
    study.begin(answer, [0], 10.0)
    assert [trial_id for trial_id, _ in study.end_late(100.0)] == [0]
