"""What is shown about trials that violate a constraint: which bounds, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.views.amounts import counted
from lightning_hwtune.views.front_points import Point, candidates

__all__ = [
    "constraint_keys",
    "constraints_text",
    "infeasible_hint",
    "infeasible_text",
    "least_text",
    "least_violating",
]


def infeasible_text(state: StudyFacts, trial: TrialRecord) -> str:
    """Returns "val_error is 0.25 (at most 0.2: 25 % too high)" from the last values; empty for a feasible trial."""
    if trial.last is None:
        return ""
    return ", ".join(map(str, state.spec.objectives.violations(trial.last.values)))


def constraint_keys(state: StudyFacts, measurement: Measurement | None) -> dict[str, Any]:
    """Returns the keys that the entries of a constrained study have in addition; empty for any other study.

    Returns:
        constraints: name -> value, of the constraints that are not objectives.
        infeasible: name -> how far the value is beyond its bound, of each violated bound; empty for a feasible trial.
        violation: the sum of these amounts, each relative to its bound; 0 for a feasible trial.
    """
    objectives = state.spec.objectives
    if not objectives.is_constrained:
        return {}
    values: Mapping[str, float] = measurement.values if measurement is not None else {}
    return {
        "constraints": {item.name: values.get(item.name) for item in objectives.constraints},
        "infeasible": {item.name: item.amount for item in objectives.violations(values)},
        "violation": objectives.violation(values),
    }


def least_violating(state: StudyFacts, points: Sequence[Point]) -> Point | None:
    """Returns the point with the least violation, ties by trial id; None if there are none with finite values."""
    objectives = state.spec.objectives
    violators = [p for p in points if objectives.violation(p.measurement.values) > 0]
    return min(violators, key=lambda p: (objectives.violation(p.measurement.values), p.trial.trial_id), default=None)


def infeasible_hint(state: StudyFacts, at: str = "full") -> str:
    """Returns how many of the points that could be on a front are infeasible, and the least violation; may be empty."""
    points = candidates(state, "full" if at == "full" else "any")
    if (least := least_text(state, points)) == "":
        return ""
    n = sum(state.spec.objectives.violation(p.measurement.values) > 0 for p in points)
    kind = "fully trained trials" if at == "full" else "trials"
    are = "is" if n == 1 else "are"
    return f"{n} of {counted(len(points), kind)} {are} infeasible and not on the front; {least}"


def least_text(state: StudyFacts, points: Sequence[Point]) -> str:
    """Returns "least violation: trial 4, val_error is 0.25 (at most 0.2: 25 % too high)"; empty without a violator."""
    least = least_violating(state, points)
    if least is None:
        return ""
    text = ", ".join(map(str, state.spec.objectives.violations(least.measurement.values)))
    return f"least violation: trial {least.trial.trial_id}, {text}"


def constraints_text(state: StudyFacts) -> str:
    """Returns the bounds of a study, such as "val_error at most 0.2, params at most 1000000"; empty without any."""
    return ", ".join(
        f"{name} {word} {bound:.12g}"
        for name, at_most, at_least in state.spec.objectives.bounds
        for word, bound in (("at most", at_most), ("at least", at_least))
        if bound is not None
    )
