"""SEER-style plans: how many configurations to try within a deadline and a budget, and on how many devices.

Dunlap, Kandasamy, Misra, Liaw, Jordan, Stoica and Gonzalez, "Elastic hyperparameter tuning on the cloud" (SEER), SoCC
2021 (doi 10.1145/3472883.3486989), maximise accuracy within a time and a monetary budget, on a cluster that grows and
shrinks. The rules here are our own reconstruction of its principle, not those of the paper: work costs least on one
device per trial, so many configurations are tried on one device each, and speed is bought late, for the few that
remain, if the deadline requires it.

A plan is successive halving: the number of trials is the largest for which the cheapest nodes per stage (see
`rubberband`) end by the deadline and cost at most the budget. If not even one trial can be trained to the end, the
longest ladder is planned that one trial can climb. After each stage, `seer_plan` is asked again with what is left and
what was measured: if time or money ran short, fewer trials continue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import final

from lightning_hwtune.core.schedulers.rungs import quota, rung_levels
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.planning.job import Job, Stage
from lightning_hwtune.planning.nodes import NodeKind
from lightning_hwtune.planning.plan import Plan
from lightning_hwtune.planning.rubberband import cheapest_plan
from lightning_hwtune.views.amounts import duration, money

__all__ = ["Halving", "SeerPlan", "seer_plan"]

_SLACK = 1e-9  # a budget that is exceeded by less than this, relative, is met


@final
@dataclass(frozen=True, slots=True)
class Halving:
    """A study of successive halving, of which trials may have reached a rung.

    Attributes:
        levels: the rungs, ascending; the last one is the full training.
        eta: after each rung, the best 1 / eta of its trials continue.
        unit_s: seconds of one unit on one device.
        speeds: number of devices per trial -> speed of a trial; see `Job`.
        start_s: seconds to start a trial, at the beginning of each stage.
        reached: the rung that the trials have reached; 0 before the first stage.
        begun: how many trials have reached the first rung already, although the first stage is still being planned.
    """

    levels: tuple[int, ...]
    eta: Fraction
    unit_s: float
    speeds: Mapping[int, float]
    start_s: float = 0.0
    reached: int = 0
    begun: int = 0

    @classmethod
    def of(
        cls,
        max_units: int,
        unit_s: float,
        speeds: Mapping[int, float],
        *,
        first: int = 1,
        eta: int = 3,
        start_s: float = 0,
    ) -> Halving:
        """Returns a study with the rungs first, first * eta, ... up to `max_units`."""
        return cls(rung_levels(first, max_units, eta), Fraction(eta), unit_s, speeds, start_s)

    def job(self, trials: int, up_to: int) -> Job:
        """Returns the stages that are left if `trials` trials continue now, and the last of them reach `up_to`.

        Of the first stage, only the trials that have not begun are left, if any.
        """
        stages, below, n_left = [], self.reached, trials
        for level in (level for level in self.levels if self.reached < level <= up_to):
            n_here = n_left - (self.begun if below == 0 else 0)
            stages += [Stage(n_here, level - below)] if n_here > 0 else []
            below, n_left = level, max(1, quota(n_left, self.eta))
        return Job(tuple(stages), self.unit_s, self.speeds, self.start_s)


@final
@dataclass(frozen=True, slots=True)
class SeerPlan:
    """What to do now.

    Attributes:
        trials: how many trials begin or continue.
        up_to: the level that the last of them reach.
        plan: nodes and devices of each stage.
    """

    trials: int
    up_to: int
    plan: Plan


def seer_plan(study: Halving, kind: NodeKind, most: int, *, deadline_s: float, budget_usd: float) -> SeerPlan:
    """Returns the plan with the most trials within a deadline and a budget, to the deepest level that is possible.

    Args:
        study: what has been reached, and how fast trials are.
        kind: the nodes.
        most: the most trials that may begin, or that are there to continue.
        deadline_s: the time left.
        budget_usd: the money left.

    Raises:
        ArgumentError: one trial cannot even reach the next rung. The message says what it needs.
    """
    if most < 1:
        raise ArgumentError("most", most, "a positive integer")

    def planned(trials: int, up_to: int) -> Plan | None:
        try:
            found = cheapest_plan(study.job(trials, up_to), kind, deadline_s)
        except ArgumentError:
            return None
        return found if found.usd <= budget_usd * (1 + _SLACK) else None

    above = [level for level in study.levels if level > study.reached]
    for up_to in reversed(above):
        fits = max(1, study.begun + (up_to == study.levels[0] and study.begun > 0))
        best = planned(fits, up_to) if fits <= most else None
        if best is None:
            continue
        exceeds = most + 1  # the cost and the least time rise with the number of trials
        while exceeds - fits > 1:
            middle = (fits + exceeds) // 2
            found = planned(middle, up_to)
            fits, exceeds, best = (middle, exceeds, found) if found is not None else (fits, middle, best)
        return SeerPlan(fits, up_to, best)
    cheapest_plan(study.job(1, above[0]), kind, deadline_s)  # refuses the deadline, if that is what is too small
    least = cheapest_plan(study.job(1, above[0]), kind, math.inf)
    raise ArgumentError(
        "budget",
        money(budget_usd),
        f"more, because one trial cannot reach the next rung, {above[0]}",
        hint=f"One trial alone takes {duration(least.seconds)} and costs {money(least.usd)} without a deadline.",
    )
