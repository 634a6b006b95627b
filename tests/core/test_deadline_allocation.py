"""Devices chosen for a deadline: the rule on single moments, and studies that are simulated with it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate

SPACE = hwt.SearchSpace(x=hwt.Float(0, 1), y=hwt.Float(0, 1))
SPEEDS = {1: 1.0, 2: 1.8, 4: 3.0, 8: 4.0}


def paces(speeds: Mapping[int, float], unit_s: float = 10.0, start_s: float = 0.0) -> dict[int, hwt.ExpectedPace]:
    return {
        count: hwt.ExpectedPace(unit_s / speed, is_measured=True, start_s=start_s) for count, speed in speeds.items()
    }


MOMENT = hwt.Moment(
    trial_id=0, config={}, allocation=hwt.Allocation(1), first=hwt.Allocation(1), resource=9, target=27,
    levels=(3, 9, 27), rule="promotion", is_running=False, space=SPACE, pool=hwt.Pool("cpu", 8), counts=(1, 2, 4, 8),
    free=8, paces=paces(SPEEDS), left_s=math.inf, left_usd=math.inf, left_device_s=math.inf, n_running=0, n_waiting=0,
    n_new=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "devices"),
    [
        ({}, 1),  # no limit
        ({"left_s": 200}, 1),  # 18 epochs take 180 s on one device, 100 s on two, 60 s on four, 45 s on eight
        ({"left_s": 185.5}, 2),  # 97 % of it is too short for one device
        ({"left_s": 110}, 2),
        ({"left_s": 100}, 4),
        ({"left_s": 47}, 8),
        ({"left_s": 40}, 8),  # nothing is in time, and eight devices still do half the work each
        ({"left_s": 40, "paces": paces({1: 1, 2: 1.8, 4: 3.0, 8: 3.9})}, 4),
        ({"left_s": 100, "free": 3}, 4),  # drained for the last climb
        ({"left_s": 40, "free": 3}, 2),
        ({"left_s": 150, "free": 3, "resource": 3, "target": 9}, 2),  # other promotions take what is free
        ({"left_s": 100, "counts": (1, 2)}, 2),
        ({"left_s": 100, "paces": paces({1: 1, 2: 0.9, 4: 0.8, 8: 0.7})}, 1),  # more devices are slower
        ({"left_s": 100, "paces": paces({1: 1, 2: 0.9, 4: 3, 8: 3})}, 4),
        ({"left_s": 100, "paces": paces(SPEEDS, unit_s=0)}, 1),  # nothing is known yet
        ({"left_s": 110, "paces": paces(SPEEDS, start_s=10)}, 4),
        ({"left_s": 110, "is_running": True, "allocation": hwt.Allocation(4)}, 4),  # it is in time: no pause
        ({"left_s": 110, "is_running": True}, 2),
        ({"left_s": 285, "target": 9, "resource": 3, "paces": paces(SPEEDS, start_s=20)}, 2),  # two more starts
        ({"left_s": 110, "left_device_s": 190, "left_usd": 1.0}, 8),  # money for one device, but not the time
        ({"left_device_s": 190, "left_usd": 1.0}, 1),
    ],
)
def test_the_least_number_of_devices_in_time_is_chosen(changed: dict[str, Any], devices: int) -> None:
    moment = dataclasses.replace(MOMENT, **changed)
    assert hwt.DeadlineAllocation().next(moment) == hwt.Allocation(devices)


@pytest.mark.parametrize(
    ("most", "pool", "counts"),
    [(None, 8, (1, 2, 4, 8)), (None, 6, (1, 2, 4)), (2, 8, (1, 2)), (3, 8, (1, 2)), (1, 1, (1,))],
)
def test_counts_are_powers_of_two(most: int | None, pool: int, counts: tuple[int, ...]) -> None:
    assert hwt.DeadlineAllocation(most).counts(SPACE, hwt.Pool("cpu", pool)) == counts


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "two"])
def test_wrong_settings_are_refused(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="max_devices"):
        hwt.DeadlineAllocation(wrong)


def test_more_devices_than_the_pool_are_refused() -> None:
    with pytest.raises(ArgumentError, match="at most 4"):
        hwt.DeadlineAllocation(8).counts(SPACE, hwt.Pool("cpu", 4))


class Scaled:
    """Curves whose trials are faster on more devices, by known factors."""

    def __init__(self, speeds: Mapping[int, float], seed: int) -> None:
        self._curves, self._speeds = SyntheticCurves(SPACE, 27, seed), speeds
        self.metrics, self.max_resource = self._curves.metrics, 27
        self.values, self.usd_per_s = self._curves.values, self._curves.usd_per_s

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        """Returns the seconds of training from scratch."""
        return 10.0 * resource / self._speeds[num_devices]


def simulated(
    speeds: Mapping[int, float], limits: Limits, policy: hwt.AllocationPolicy, seed: int, n_devices: int = 4
) -> list[ev.Event]:
    events: list[ev.Event] = []
    spec = StudySpec(
        name="timed", space=SPACE, objectives=Objectives([hwt.Metric("error", "min")]), searcher=Random(), seed=seed,
        scheduler=ASHA(max_epochs=27, first_rung=1, eta=3), pool=hwt.Pool("cpu", n_devices, 1.0), allocation=policy,
    )  # fmt: skip
    simulate(spec, Scaled(speeds, seed), limits, start_s=2.0, sink=events.extend)
    return events


def counts(events: list[ev.Event]) -> list[int]:
    return [event.allocation.devices for event in events if isinstance(event, ev.SegmentStarted)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("limits", [Limits(max_time_s=250.0), Limits(max_time_s=250.0, max_cost_usd=0.25)])
def test_a_study_that_is_too_short_for_one_device_ends_with_a_full_training(limits: Limits, seed: int) -> None:
    events = simulated({1: 1.0, 2: 1.9, 4: 3.6}, limits, hwt.DeadlineAllocation(), seed)
    assert max(counts(events)) > 1
    assert any(isinstance(event, ev.Reported) and event.resource == 27 for event in events)
    assert events[-1].at <= 250.0
    fixed = simulated({1: 1.0, 2: 1.9, 4: 3.6}, limits, hwt.FixedAllocation(), seed)
    assert not any(isinstance(event, ev.Reported) and event.resource == 27 for event in fixed)


def test_on_two_devices_a_trial_moves_to_both_of_them_to_end_in_time() -> None:
    events = simulated({1: 1.0, 2: 1.6}, Limits(max_time_s=220.0), hwt.DeadlineAllocation(), 0, n_devices=2)
    assert any(isinstance(event, ev.Reported) and event.resource == 27 for event in events)
    assert max(counts(events)) == 2


@pytest.mark.parametrize("seed", range(2))
def test_a_finisher_that_would_take_most_of_the_time_does_not_replace_exploring(seed: int) -> None:
    events = simulated({1: 1.0, 2: 1.9, 4: 3.6}, Limits(max_time_s=110.0), hwt.DeadlineAllocation(), seed)
    assert sum(isinstance(event, ev.TrialCreated) for event in events) > 15, "77 of 110 s on all devices are too many"


@pytest.mark.parametrize("limits", [Limits(max_trials=12), Limits(max_trials=12, max_time_s=1e6)])
def test_with_enough_time_it_is_the_study_on_one_device(limits: Limits) -> None:
    ours, fixed = (
        simulated({1: 1.0, 2: 1.9, 4: 3.6}, limits, policy, 0)
        for policy in (hwt.DeadlineAllocation(), hwt.FixedAllocation())
    )
    assert counts(ours) == [1] * len(counts(ours))
    reports = [
        [(e.at, e.trial_id, e.resource) for e in events if isinstance(e, ev.Reported)] for events in (ours, fixed)
    ]
    assert reports[0] == reports[1]
