"""The advisor: makespans that can be computed by hand, and its choice where that is clear."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest

from lightning_hwtune.core.hardware.policies import FixedAllocation
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.schedulers import ASHA, RunToEnd, SuccessiveHalving
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.planning.advisor import PoolStudy, advise
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate

SPEEDS: dict[Any, float] = {"1/2": 0.6, 1: 1.0, 2: 1.8, 4: 3.0, 8: 2.5}


@pytest.mark.parametrize(("trials", "devices"), [(1, 4), (4, 4), (9, 4), (5, 8)])
def test_equal_trials_that_train_to_the_end_come_in_waves(trials: int, devices: int) -> None:
    study = PoolStudy(RunToEnd(max_epochs=3), trials, devices, unit_s=60, start_s=7, variation=1, seeds=2)
    found = advise(study, SPEEDS)
    expected = {}
    for count, speed in ((Fraction(1, 2), 0.6), (Fraction(1), 1.0), (Fraction(2), 1.8), (Fraction(4), 3.0)):
        expected[count] = math.ceil(trials / (devices // count)) * (7 + 180 / speed)
    assert {item.devices: item.seconds for item in found.predictions} == pytest.approx(expected)
    assert found.best.seconds == pytest.approx(min(expected.values()))
    alone = found.predictions[1]
    assert alone.used == pytest.approx(trials * 187 / (devices * expected[Fraction(1)]))


def test_a_prediction_is_the_simulated_study() -> None:
    space = SearchSpace(x=Float(0, 1), y=Float(0, 1))
    curves = SyntheticCurves(space, 9, seed=3, unit_s=30, scaling=0.0)
    spec = StudySpec(
        "a", space, Objectives([Metric("error", "min")]), ASHA(max_epochs=9, first_rung=1), Random(), Pool("cpu", 4),
        seed=3, allocation=FixedAllocation(2),
    )  # fmt: skip
    state = simulate(spec, curves, Limits(max_trials=12), start_s=5, restore_s=2)
    study = PoolStudy(ASHA(max_epochs=9, first_rung=1), 12, 4, 45, 5, 2, variation=4, seeds=1, first_seed=3)
    found = advise(study, {1: 1, 2: 1.5})
    assert found.predictions[1].seconds == pytest.approx(state.last_at)
    assert found.predictions[1].least_s == found.predictions[1].most_s


@pytest.mark.parametrize("scheduler", [ASHA(max_epochs=9), SuccessiveHalving(max_epochs=9)])
@pytest.mark.parametrize(
    ("trials", "speeds", "best"),
    [
        (64, {1: 1, 2: 1.05, 4: 1.1, 8: 1.15}, 1),  # more devices bring almost nothing
        (1, {1: 1, 2: 1.9, 4: 3.6, 8: 6.8}, 8),  # one trial has the pool
        (64, {0.5: 1.0, 1: 1, 2: 1.05}, Fraction(1, 2)),  # a trial uses half a device
    ],
)
def test_the_choice_is_the_one_that_speeds_and_trials_suggest(
    scheduler: Any, trials: int, speeds: dict[Any, float], best: Any
) -> None:
    found = advise(PoolStudy(scheduler, trials, 8, unit_s=60, seeds=1), speeds)
    assert found.best.devices == best
    assert all(0 < item.used <= 1 for item in found.predictions)
    assert all(item.least_s <= item.seconds <= item.most_s for item in found.predictions)


def test_speed_that_falls_and_counts_above_the_pool_are_left_out() -> None:
    found = advise(PoolStudy(RunToEnd(max_epochs=1), 2, 3, unit_s=1), SPEEDS)
    assert [item.devices for item in found.predictions] == [Fraction(1, 2), 1, 2]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"trials": 0}, "trials"), ({"devices": 0}, "devices"), ({"unit_s": 0}, "unit_s"), ({"seeds": 0}, "seeds"),
        ({"variation": 0.5}, "variation"), ({"start_s": -1}, "start_s"), ({"speeds": {2: 1}}, "one device"),
        ({"speeds": {1: 1, "2/3": 1}}, "number of devices"), ({"speeds": {1: 1, -1: 1}}, "number of devices"),
        ({"speeds": {1: 1, 0.33: 1}}, "'1/3'"), ({"speeds": {1: 1, "1/2": 0}}, r"speeds\[1/2\]"),
        ({"speeds": {1: 1, "x": 1}}, "number of devices"), ({"speeds": 3}, "speeds"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(change: dict[str, Any], text: str) -> None:
    given = {"trials": 4, "devices": 2, "unit_s": 1.0, **change}
    speeds = given.pop("speeds", {1: 1.0})
    with pytest.raises(ArgumentError, match=text):
        advise(PoolStudy(RunToEnd(max_epochs=1), **given), speeds)
