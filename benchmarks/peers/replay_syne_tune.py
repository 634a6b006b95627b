"""Syne Tune's MOASHA on replayed tables: the stopping rule of Salinas et al., 2021, as shipped and repaired.

As shipped (0.16), the order of a rung does not reach the rule. `nondominated_sort` returns the *items* in sorted order.
`NonDominatedPriority` returns that list as if it contained one priority per item, and the rule reads its last entry:
the number of the worst item, not the position of the item that has just arrived. In addition, `compute_epsilon_net`
returns the position of each item of a front, and the sort uses it as an order of the items.

Repaired, the priority of an item is its position in the sorted order, and the order inside a front is the
farthest-first order itself. Everything else is Syne Tune's own code: rungs, rule, distances on raw values.

The draws are those of all other arms; MOASHA itself draws uniformly.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import numpy.typing as npt
from syne_tune.optimizer.scheduler import SchedulerDecision
from syne_tune.optimizer.schedulers.asha import Bracket
from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA
from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import MOPriority
from syne_tune.optimizer.schedulers.multiobjective.non_dominated_priority import compute_epsilon_net, pareto_efficient

from lightning_hwtune.core.decisions import Continue, Reason, Stop, Verdict
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.schedulers import Race, Scheduler
from lightning_hwtune.core.schedulers.ladder import Ladder

__all__ = ["RepairedPriority", "SyneTuneMOASHA"]

_SEED_OBJECTIVE = 0  # a farthest-first order begins with the best trial in this objective, as in Syne Tune's default


@final
class RepairedPriority(MOPriority):
    """The position of each item: by fronts, farthest-first inside a front."""

    def priority_unsafe(self, objectives: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Returns one position per item, shape `(n,)`."""
        order: list[int] = []
        left = np.arange(len(objectives))
        while len(left):
            is_front = pareto_efficient(objectives[left])
            front = left[is_front]
            order.extend(front[np.argsort(compute_epsilon_net(objectives[front], dim=_SEED_OBJECTIVE))].tolist())
            left = left[~is_front]
        return np.argsort(order)


@dataclass(frozen=True, repr=False, kw_only=True)
class SyneTuneMOASHA(Scheduler):
    """Syne Tune's rule; nothing is ever paused.

    Args:
        eta: one in eta is promoted. is_repaired: see the module.
    """

    name: ClassVar[str] = "syne_tune_moasha"
    eta: float = 3.0
    is_repaired: bool = False

    def rungs(self, unit: str, last: int) -> Ladder:
        """Returns Syne Tune's ladder."""
        levels = {int(level) for level, _ in self.bracket(last).rungs}
        return Ladder(unit, tuple(sorted(levels | {last})))

    def start(self, objectives: Objectives) -> Race:
        """Returns a race with empty rungs."""
        return _SyneTuneRace(self.ladder, self.bracket(self.max_resource))

    def bracket(self, last: int) -> Bracket:
        """Returns the bracket of Syne Tune's own scheduler."""
        priority = RepairedPriority() if self.is_repaired else None
        rule = MOASHA({}, metrics=["first"], max_t=last, reduction_factor=self.eta, multiobjective_priority=priority)
        return rule.brackets[0]


@final
class _SyneTuneRace(Race):
    def __init__(self, ladder: Ladder, bracket: Bracket) -> None:
        super().__init__(ladder)
        self._bracket = bracket

    def judge(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns the verdict of the rule; between rungs it is always "continue"."""
        asked = copy.copy(self._bracket)
        asked.rungs = [(milestone, dict(recorded)) for milestone, recorded in self._bracket.rungs]
        action = asked.on_result(trial_id, level, _named(loss))
        reason = Reason("peer", f"{action} at rung {level}")
        return Stop(reason) if action == SchedulerDecision.STOP else Continue(reason)

    def record(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64], kind: str) -> None:
        """Puts the trial into its rung."""
        for milestone, recorded in self._bracket.rungs:
            if milestone == level:
                recorded[trial_id] = _named(loss)


def _named(loss: npt.NDArray[np.float64]) -> dict[str, float]:
    return {f"objective_{place}": value for place, value in enumerate(loss.tolist())}
