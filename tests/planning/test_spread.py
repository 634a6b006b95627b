"""The range of a plan whose trials differ in speed."""

from __future__ import annotations

import pytest

from lightning_hwtune.planning.job import Job, Stage
from lightning_hwtune.planning.nodes import NodeKind
from lightning_hwtune.planning.rubberband import cheapest_plan
from lightning_hwtune.planning.spread import spread

KIND = NodeKind(2, 4, 36.0)


@pytest.mark.parametrize("trials", [1, 4, 9])
def test_equal_trials_take_what_was_planned(trials: int) -> None:
    job = Job((Stage(trials, 2.0), Stage(1, 4.0)), 10.0, {1: 1, 2: 1.9}, 3.0)
    plan = cheapest_plan(job, KIND, 500)
    found = spread(plan, job, KIND, variation=1.0)
    assert (found.least_s, found.most_s) == pytest.approx((plan.seconds, plan.seconds))
    assert (found.least_usd, found.most_usd) == pytest.approx((plan.usd, plan.usd))


@pytest.mark.parametrize("variation", [1.2, 2.0, 5.0])
def test_one_trial_is_between_the_extremes_and_the_start_does_not_vary(variation: float) -> None:
    job = Job((Stage(1, 2.0),), 10.0, {1: 1}, 3.0)
    found = spread(cheapest_plan(job, KIND), job, KIND, variation=variation, seeds=200)
    assert 3 + 20 / variation <= found.least_s < 3 + 20 / variation**0.9
    assert 3 + 20 * variation**0.9 < found.most_s <= 3 + 20 * variation


def test_a_stage_ends_with_its_slowest_trial() -> None:
    job = Job((Stage(8, 2.0),), 10.0, {1: 1}, 0.0)
    plan = cheapest_plan(job, KIND, 20.0)
    found = spread(plan, job, KIND, variation=2.0)
    assert found.least_s > plan.seconds
    assert found.most_usd == pytest.approx(4 * 0.01 * found.most_s)
