"""Syne Tune's MOASHA on replayed tables: the stopping rule of Salinas et al., 2021, as shipped and repaired.

As shipped (0.16), the order of a rung is lost on the way to the rule. `nondominated_sort` returns the *items* in sorted
order; `NonDominatedPriority` hands that list on as if it were one priority an item, and the rule reads its last entry:
the number of the worst item, not the position of the one that has just arrived. Besides, `compute_epsilon_net` returns
the position of each item of a front, and the sort uses it as an order of them.

Repaired, each item's priority is its position in the sorted order, and the order inside a front is the farthest-first
order itself. Everything else is Syne Tune's own code: rungs, rule, distances on raw values.

The draws are those of all other arms: MOASHA itself draws uniformly.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar, Self, final

import numpy as np
import numpy.typing as npt
from syne_tune.optimizer.scheduler import SchedulerDecision
from syne_tune.optimizer.schedulers.asha import Bracket
from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA
from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import MOPriority
from syne_tune.optimizer.schedulers.multiobjective.non_dominated_priority import compute_epsilon_net, pareto_efficient

from benchmarks.peers.replay_scheduler import PeerScheduler
from lightning_hwtune.core.decisions import Continue, Reason, Stop, Verdict

__all__ = ["RepairedPriority", "SyneTuneMOASHA"]

_SEED_OBJECTIVE = 0  # the farthest-first order of a front begins with the best of this one, as in Syne Tune's default


@final
class RepairedPriority(MOPriority):
    """Each item's position by fronts, farthest-first inside a front."""

    def priority_unsafe(self, objectives: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Returns one position an item, shape `(n,)`."""
        order: list[int] = []
        left = np.arange(len(objectives))
        while len(left):
            is_front = pareto_efficient(objectives[left])
            front = left[is_front]
            order.extend(front[np.argsort(compute_epsilon_net(objectives[front], dim=_SEED_OBJECTIVE))].tolist())
            left = left[~is_front]
        return np.argsort(order)


@final
class SyneTuneMOASHA(PeerScheduler):
    """Syne Tune's rule; nothing is ever paused.

    Args:
        max_resource: of a full training. eta: one in eta goes on. is_repaired: see the module.
    """

    name: ClassVar[str] = "syne_tune_moasha"

    def __init__(self, max_resource: int, eta: float, *, is_repaired: bool) -> None:
        self._arguments: dict[str, Any] = {"max_resource": max_resource, "eta": eta, "is_repaired": is_repaired}
        rule = MOASHA(
            {},
            metrics=["first"],
            max_t=max_resource,
            reduction_factor=eta,
            multiobjective_priority=RepairedPriority() if is_repaired else None,
        )
        self._bracket: Bracket = rule.brackets[0]
        levels = {int(level) for level, _ in self._bracket.rungs}
        self.levels = tuple(sorted(levels | {max_resource}))

    def fresh(self, n_objectives: int, names: Sequence[str] = ()) -> Self:
        """Returns one with empty rungs."""
        return type(self)(**self._arguments)

    def verdict(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns what the rule says; between rungs it always says "continue"."""
        if level >= self.max_resource:
            return Stop(Reason("max-resource", f"trained to {level}"))
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
