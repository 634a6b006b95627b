"""The advised policy: probes, the recommended number, and whole studies that are simulated with it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.hardware.policies import policy_from_settings
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate

SPACE, POOL = hwt.SearchSpace(x=hwt.Float(0, 1), y=hwt.Float(0, 1)), hwt.Pool("cpu", 8)
GOOD, NONE = {1: 1.0, 2: 1.9, 4: 3.5, 8: 6.0}, {1: 1.0, 2: 0.9, 4: 0.8, 8: 0.7}
TWO = {1: 1.0, 2: 1.9, 4: 2.4, 8: 2.6}
POLICY = hwt.AdvisedAllocation()


def known(speeds: Mapping[int, float], up_to: int) -> dict[str, Any]:
    """What a moment knows if these numbers of devices are measured up to a largest one."""
    expected = {count: hwt.ExpectedSpeed(speed, is_measured=count <= up_to) for count, speed in speeds.items()}
    paces = {count: hwt.ExpectedPace(10.0 / speed, True, start_s=1.0) for count, speed in speeds.items()}
    return {"speeds": expected, "paces": paces}


MOMENT = hwt.Moment(
    trial_id=3, config={"x": 0.1, "y": 0.2}, allocation=hwt.Allocation(1), first=hwt.Allocation(1), resource=3,
    target=9, levels=(1, 3, 9, 27), rule="promotion", is_running=False, space=SPACE, pool=POOL, counts=(1, 2, 4, 8),
    free=8, left_s=math.inf, left_usd=math.inf, left_device_s=math.inf, n_running=0, n_waiting=0, n_new=36, n_begun=4,
    scheduler={"name": "asha", **ASHA(27, first_rung=1).settings()}, **known(GOOD, 1),
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "devices"),
    [
        ({}, 2),  # the first probe
        ({"others": (2, 1)}, 1),  # it is under way
        ({"n_new": 0}, 1),  # no trial is left that would profit
        ({"n_new": None}, 1),
        (known(GOOD, 2), 4),
        ({**known(TWO, 4), "others": (8,)}, 2),
        ({**known(TWO, 4), "free": 3}, 2),  # a probe on the whole pool waits until all of it is free
        (known(NONE, 2), 1),  # two are slower, so four are not probed
        ({**known({1: 1, 2: 1.9, 4: 1.9, 8: 1.9}, 4)}, 2),  # four do not do half the work each
        ({**known(TWO, 8), "is_running": True, "n_new": 0, "n_begun": 40}, 2),
        ({**known(TWO, 8), "is_running": True, "target": 4, "resource": 4}, 1),  # nothing is gained
        ({**known(NONE, 8), "is_running": True, "allocation": hwt.Allocation(8)}, 1),  # back from a probe
    ],
)
def test_a_probe_comes_first_then_the_recommended_number(changed: dict[str, Any], devices: int) -> None:
    moment = dataclasses.replace(MOMENT, **changed)
    assert POLICY.next(moment) == hwt.Allocation(devices)


@pytest.mark.parametrize(
    ("changed", "devices"),
    [
        ({}, 1),  # trials that reach a rung make the probe
        ({"levels": (27,)}, 2),  # without rungs, new trials make it
        (known(TWO, 8), 2),
        ({**known(TWO, 8), "n_new": None}, 1),
        ({**known(GOOD, 8), "n_new": 4, "n_begun": 0}, 8),  # otherwise half of the pool is idle from the beginning
    ],
)
def test_a_new_trial_begins_on_the_recommended_number(changed: dict[str, Any], devices: int) -> None:
    moment = dataclasses.replace(MOMENT, rule="new", resource=0, target=1, **changed)
    assert POLICY.begin(moment) == hwt.Allocation(devices)


def test_it_is_named_in_files_and_has_settings() -> None:
    assert policy_from_settings({"name": "advised", "max_devices": 4}) == hwt.AdvisedAllocation(4)
    assert hwt.AdvisedAllocation(4).counts(SPACE, POOL) == (1, 2, 4)
    with pytest.raises(ArgumentError, match=r"AdvisedAllocation.max_devices.*9.*at most 8"):
        hwt.AdvisedAllocation(9).counts(SPACE, POOL)
    with pytest.raises(ArgumentError, match="max_devices"):
        hwt.AdvisedAllocation(0)


class Faster:
    """Curves whose trials are faster on more devices, by given factors."""

    def __init__(self, curves: SyntheticCurves, speeds: Mapping[int, float]) -> None:
        self._curves, self._speeds = curves, speeds
        self.metrics, self.max_resource = curves.metrics, curves.max_resource
        self.values, self.usd_per_s = curves.values, curves.usd_per_s

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        return self._curves.elapsed_s(config, resource, 1) / self._speeds[num_devices]


def simulated(
    policy: hwt.AllocationPolicy, speeds: Mapping[int, float], n_trials: int = 40, seed: int = 0
) -> StudyState:
    objectives = Objectives([hwt.Metric("error", "min"), hwt.TrainSeconds()])
    study = StudySpec("s", SPACE, objectives, ASHA(27, first_rung=1), Random(), POOL, allocation=policy, seed=seed)
    curves = Faster(SyntheticCurves(SPACE, 27, seed=seed), speeds)
    log: list[ev.Event] = []
    state = simulate(study, curves, Limits(max_trials=n_trials), start_s=5.0, restore_s=3.0, sink=log.extend)
    again = StudyState(study)
    for event in log:
        again.apply(event)
    assert [(s.trial_id, s.num_devices) for s in again.segments] == [
        (s.trial_id, s.num_devices) for s in state.segments
    ]
    for trial in state.trials:
        assert trial.reference_devices == 1
        if trial.last is not None:  # also of a trial that began on two devices
            expected = curves.elapsed_s(trial.config, trial.resource, 1)
            assert trial.last.values["train_s"] == pytest.approx(expected, rel=0.25)
    return state


@pytest.mark.slow
def test_a_study_measures_and_then_is_shorter_than_on_one_device() -> None:
    advised, fixed = simulated(POLICY, GOOD), simulated(hwt.FixedAllocation(1), GOOD)
    counts = [segment.num_devices for segment in advised.segments]
    assert counts[0] == 1
    assert sum(count == 2 for count in counts) > 20
    assert {trial.reference_devices for trial in advised.trials} == {1}
    assert advised.last_at < 0.85 * fixed.last_at


def test_where_more_devices_are_slower_one_probe_is_made_and_no_more() -> None:
    counts = [segment.num_devices for segment in simulated(POLICY, NONE, 12).segments]
    assert counts.count(2) <= 2
    assert set(counts) == {1, 2}
