"""SEER-style plans: the most trials by exhaustive search, shortened ladders, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_hwtune.core.hardware.billing import BillingRule
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.planning.nodes import NodeKind
from lightning_hwtune.planning.rubberband import cheapest_plan
from lightning_hwtune.planning.seer import Halving, seer_plan

STUDY = Halving.of(9, 100.0, {1: 1.0, 2: 1.7, 4: 2.6}, start_s=10)
KIND = NodeKind(1, 12, 3600.0)  # a dollar per device-second


def most_by_search(study: Halving, kind: NodeKind, most: int, deadline_s: float, budget_usd: float) -> int:
    """The largest number of trials that fits, by trying every number."""
    fitting = [0]
    for trials in range(1, most + 1):
        try:
            plan = cheapest_plan(study.job(trials, study.levels[-1]), kind, deadline_s)
        except ArgumentError:
            continue
        fitting += [trials] if plan.usd <= budget_usd else []
    return max(fitting)


@settings(max_examples=8, deadline=None)
@given(deadline_s=st.floats(400, 3000), budget=st.floats(930, 9000), minimum_s=st.sampled_from([0.0, 200.0]))
def test_as_many_trials_begin_as_fit(deadline_s: float, budget: float, minimum_s: float) -> None:
    kind = dataclasses.replace(KIND, rule=BillingRule(minimum_s=minimum_s))
    expected = most_by_search(STUDY, kind, 20, deadline_s, budget)
    found = seer_plan(STUDY, kind, 20, deadline_s=deadline_s, budget_usd=budget)
    assert found.trials == expected or (expected == 0 and found.up_to < 9)
    assert found.plan.seconds <= deadline_s * (1 + 1e-8)
    assert found.plan.usd <= budget * (1 + 1e-8)
    wider = seer_plan(STUDY, kind, 20, deadline_s=1.3 * deadline_s, budget_usd=1.3 * budget)
    assert (wider.up_to, wider.trials) >= (found.up_to, found.trials)


def test_speed_is_bought_late_and_only_if_the_deadline_requires_it() -> None:
    loose = seer_plan(STUDY, KIND, 20, deadline_s=2000, budget_usd=3500).plan
    tight = seer_plan(STUDY, KIND, 20, deadline_s=600, budget_usd=3500).plan
    assert {stage.devices for stage in loose.stages} == {1}
    assert tight.stages[0].devices == 1
    assert tight.stages[-1].devices > 1
    assert tight.stages[0].trials < loose.stages[0].trials


def test_a_ladder_that_is_too_long_is_shortened() -> None:
    found = seer_plan(STUDY, KIND, 20, deadline_s=320, budget_usd=5000)
    assert found.up_to == 3
    assert [stage.units for stage in found.plan.stages] == [1, 2]
    assert seer_plan(STUDY, KIND, 20, deadline_s=5000, budget_usd=200).up_to == 1


def test_after_a_stage_fewer_trials_continue_if_money_ran_short() -> None:
    begun = seer_plan(STUDY, KIND, 20, deadline_s=1500, budget_usd=4000)
    later = dataclasses.replace(STUDY, reached=1)
    n_next = begun.plan.stages[1].trials
    left_s = 1500 - begun.plan.stages[0].ends_s
    left_usd = 4000 - begun.trials * 110
    again = seer_plan(later, KIND, n_next, deadline_s=left_s, budget_usd=left_usd)
    assert (again.trials, again.up_to) == (n_next, 9)
    poorer = seer_plan(later, KIND, n_next, deadline_s=left_s, budget_usd=left_usd / 2)
    assert (poorer.trials, poorer.up_to) < (n_next, 10)
    assert poorer.trials < n_next
    slower = seer_plan(dataclasses.replace(later, unit_s=180.0), KIND, n_next, deadline_s=left_s, budget_usd=left_usd)
    assert slower.trials < n_next


@pytest.mark.parametrize(
    ("deadline_s", "budget", "text"),
    [
        (30, 5000, "misses this deadline by"),
        (5000, 50, "costs 110.00 USD"),
        (0, 0, "deadline"),
        (110, 109, "next rung, 1"),
    ],
)
def test_a_limit_below_one_trial_is_refused_with_what_it_needs(deadline_s: float, budget: float, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        seer_plan(STUDY, KIND, 20, deadline_s=deadline_s, budget_usd=budget)


@pytest.mark.parametrize("most", [0, -1])
def test_without_trials_there_is_no_plan(most: int) -> None:
    with pytest.raises(ArgumentError, match="most"):
        seer_plan(STUDY, KIND, most, deadline_s=1e4, budget_usd=1e4)


@given(
    exponent=st.floats(0.5, 1.0), unit_s=st.floats(5, 200), most=st.integers(1, 8),
    deadline_s=st.floats(600, 20000), budget=st.floats(1, 60), more=st.floats(1.05, 3),
)  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_more_time_or_money_never_trains_less(
    exponent: float, unit_s: float, most: int, deadline_s: float, budget: float, more: float
) -> None:
    study = Halving.of(max_units=27, unit_s=unit_s, speeds={n: n**exponent for n in (1, 2, 4)}, start_s=20)
    kind = NodeKind(4, most, 4.0, 60.0)

    def trained(seconds: float, usd: float) -> tuple[int, int]:
        """Returns how far the best trial is trained, and how many begin; nothing if the limits allow none."""
        try:
            found = seer_plan(study, kind, most=60, deadline_s=seconds, budget_usd=usd)
        except ArgumentError:
            return 0, 0
        return found.up_to, found.trials

    least = trained(deadline_s, budget)
    assert trained(deadline_s * more, budget) >= least
    assert trained(deadline_s, budget * more) >= least
