"""Bounds on metrics, constraints on other quantities, and the losses of trials that violate them."""

from __future__ import annotations

import itertools
import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_hwtune.core.constraints import Constraint
from lightning_hwtune.core.feasibility import LARGEST_LOSS, is_violator
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.errors import ArgumentError, MetricError, UnknownArgumentError

BOUNDED = Objectives(
    [Metric("error", "min", at_most=0.2), Metric("acc", "max", at_least=0.5), TrainSeconds(resolution=0.0)],
    [Constraint("params", at_most=1e6), Constraint("gap", at_most=0.1, changes=True)],
)
FEASIBLE = {"error": 0.1, "acc": 0.9, "train_s": 3.0, "params": 10.0, "gap": 0.0}


def test_a_feasible_trial_has_the_losses_of_its_values() -> None:
    assert BOUNDED.loss(FEASIBLE).tolist() == [0.1, -0.9, 3.0]
    assert BOUNDED.infeasible(FEASIBLE) == ""
    assert (BOUNDED.violation(FEASIBLE), BOUNDED.final_violations(FEASIBLE)) == (0.0, [])


@pytest.mark.parametrize(
    ("change", "text", "is_final"),
    [
        ({"error": 0.25}, "infeasible: error is 0.25 (at most 0.2: 25 % too high)", False),
        ({"acc": 0.25}, "infeasible: acc is 0.25 (at least 0.5: 50 % too low)", False),
        ({"params": 1_500_000.0}, "infeasible: params is 1500000 (at most 1000000: 50 % too high)", True),
        ({"params": 1_000_001.0}, "infeasible: params is 1000001 (at most 1000000: 0.0001 % too high)", True),
        ({"params": math.nan}, "infeasible: params is not finite (at most 1000000)", True),
        ({"gap": 0.2}, "infeasible: gap is 0.2 (at most 0.1: 1e+02 % too high)", False),
        ({"gap": math.inf}, "infeasible: gap is not finite (at most 0.1)", False),
    ],
)
def test_a_violation_is_named_with_its_amount(change: dict[str, float], text: str, is_final: bool) -> None:
    values = FEASIBLE | change
    assert BOUNDED.infeasible(values).replace("100 %", "1e+02 %") == text
    assert is_violator(BOUNDED.loss(values).tolist())
    assert bool(BOUNDED.final_violations(values)) == is_final


def test_a_violation_of_a_bound_of_zero_is_absolute() -> None:
    objectives = Objectives(Metric("bias", "min", at_most=0.0))
    assert objectives.infeasible({"bias": 0.03}) == "infeasible: bias is 0.03 (at most 0: 0.03 too high)"


def test_violations_add_up() -> None:
    assert BOUNDED.violation(FEASIBLE | {"error": 0.3, "acc": 0.25, "gap": 0.15}) == pytest.approx(1.5)


def test_an_objective_that_is_not_finite_counts_as_such_even_if_a_bound_is_violated() -> None:
    loss = BOUNDED.loss(FEASIBLE | {"acc": math.nan, "params": 1e9})
    assert np.isnan(loss[1])
    assert not is_violator(loss.tolist())


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=2, max_size=6))
def test_losses_are_ordered_by_constraint_domination(rows: list[tuple[float, float, float]]) -> None:
    objectives = Objectives(
        [Metric("a", "min", at_most=1.0), Metric("b", "max", at_least=-2.0)], Constraint("c", at_most=0.5)
    )
    found = [
        (objectives.violation(v), objectives.loss(v)) for v in (dict(zip("abc", row, strict=True)) for row in rows)
    ]
    for (one, a), (other, b) in itertools.permutations(found, 2):
        if one == 0 < other:
            assert (a < b).all()
        if one > 0 and one * (1 + 1e-11) < other:
            assert (a < b).all()
        if one == other == 0:
            assert (a <= LARGEST_LOSS).all()


def test_a_constraint_needs_a_value() -> None:
    with pytest.raises(MetricError, match="no value for constraint 'params'"):
        BOUNDED.require({"error": 0.1, "acc": 0.9, "train_s": 1.0, "gap": 0.0})
    with pytest.raises(MetricError, match="no value for objective 'acc'"):
        BOUNDED.loss({"error": 0.1, "train_s": 1.0})
    assert not is_violator(BOUNDED.loss({"error": 0.1, "acc": 0.9, "train_s": 1.0}).tolist())


def test_the_names_of_values() -> None:
    objectives = Objectives(
        [Metric("error", "min"), TrainSeconds()],
        [
            Constraint("train_s", at_most="10min"),
            Constraint("usd", at_most=2),
            Constraint("peak_memory", at_most="2GB"),
        ],
    )
    assert objectives.names == ("error", "train_s")
    assert objectives.metrics == ("error",)
    assert objectives.recorded == ("error", "train_s", "cost_usd", "peak_memory")
    assert objectives.measured_in_training == ("peak_memory",)
    assert [item.at_most for item in objectives.constraints] == [600.0, 2.0, 2e9]
    assert BOUNDED.metrics == ("error", "acc", "params", "gap")
    assert BOUNDED.logged == ("error", "acc")
    assert len(BOUNDED) == 3
    assert not Objectives(Metric("a", "min")).is_constrained


@pytest.mark.parametrize(
    ("constraint", "value", "is_final"),
    [
        (Constraint("train_s", at_most=10), 11.0, True),
        (Constraint("train_s", at_least=10), 9.0, False),
        (Constraint("peak_memory", at_most=10), 11.0, True),
        (Constraint("cost_usd", at_most=10, at_least=1), 0.5, False),
        (Constraint("depth", at_least=3), 2.0, True),
        (Constraint("depth", at_least=3, at_most=5), 6.0, True),
        (Constraint("depth", at_least=3, at_most=5), 4.0, False),
        (Constraint("gap", at_most=1, changes=True), 2.0, False),
    ],
)
def test_a_violation_is_final_if_no_training_can_mend_it(constraint: Constraint, value: float, is_final: bool) -> None:
    assert constraint.is_final(value) == is_final


def test_the_log_form_gives_the_same_constraints() -> None:
    data = json.loads(json.dumps([BOUNDED.to_dict(), [item.to_dict() for item in BOUNDED.constraints]]))
    again = Objectives.from_dict(*data)
    assert again == BOUNDED
    assert again.constraints == BOUNDED.constraints
    assert hash(again) == hash(BOUNDED)
    assert pickle.loads(pickle.dumps(BOUNDED)) == BOUNDED
    assert eval(repr(BOUNDED)) == BOUNDED
    assert Objectives(BOUNDED) == BOUNDED
    assert Objectives(list(BOUNDED)) != BOUNDED


def test_a_metric_without_bounds_has_the_log_form_that_it_always_had() -> None:
    assert Objectives([Metric("a", "min")]).to_dict() == [{"name": "a", "mode": "min", "unit": ""}]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Constraint("params"), "`at_most`, `at_least` or both"),
        (lambda: Constraint("", at_most=1), r"Constraint\.name"),
        (lambda: Constraint("a", at_most=math.nan), r"Constraint\.at_most"),
        (lambda: Constraint("a", at_most=math.inf), r"Constraint\.at_most"),
        (lambda: Constraint("a", at_most=True), r"Constraint\.at_most"),
        (lambda: Constraint("a", at_most="2GB"), "a finite number"),
        (lambda: Constraint("train_s", at_most="2GB"), "90s"),
        (lambda: Constraint("peak_memory", at_most="10min"), "500MB"),
        (lambda: Constraint("a", at_most=1, at_least=2), "up to `at_most`, which is 1"),
        (lambda: Constraint("train_s", at_most=1, changes=True), "only grows"),
        (lambda: Metric("a", "min", at_most=0.1, at_least=0.2), r"Metric\.at_least"),
        (lambda: Metric("a", "min", at_most="0.1"), r"Metric\.at_most"),  # type: ignore[arg-type]
        (lambda: Objectives([Metric("a", "min"), Constraint("b", at_most=1)]), r"constraints=\[Constraint"),  # type: ignore[list-item]
        (lambda: Objectives(Metric("a", "min"), ["params"]), r"Constraint\('params', at_most=1e6\)"),  # type: ignore[list-item]
        (lambda: Objectives(Metric("a", "min"), "params"), "a list such as"),  # type: ignore[arg-type]
        (lambda: Objectives(Metric("a", "max"), Constraint("a", at_least=1)), r"Metric\('a', 'max', at_least=1\)"),
        (lambda: Objectives(Cost(), [Constraint("b", at_most=1), Constraint("b", at_least=0)]), "'b' occurs twice"),
        (lambda: Objectives(Cost(), [Constraint("usd", at_most=1), Constraint("cost_usd", at_most=2)]), "occurs twice"),
    ],
)
def test_wrong_constraints_are_refused(make: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        make()


def test_an_unknown_keyword_is_refused_with_the_right_one() -> None:
    with pytest.raises(UnknownArgumentError, match="at_most"):
        Constraint("a", at_mots=1)  # type: ignore[call-arg]
