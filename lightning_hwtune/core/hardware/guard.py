"""The guard of a budget: what it takes to stop everything now is always kept back.

The worst case of a moment is that nothing ends by itself: the next look at the study comes only after a whole tick, and
releasing the nodes then takes as long as saving does. The guard allows something new only if the bills of that case fit
the budget. At every tick it looks whether they still would at the next one. If not, it says which nodes to release now.

Theorem: the bills never exceed the budget if the guard is asked at least every `tick_s` seconds, if each request for a
node was allowed, and if a node that the guard names is up for at most `save_s` seconds more. Trainings that take longer
than expected, nodes that never become ready, and nodes that are taken away change nothing.

Proof: once the guard has been asked, the bills of the nodes that are kept, as of `tick_s + save_s` from now, and those
of the released ones, as of `save_s` from now, are together at most the budget. At the next tick, releasing everything
costs no more than that: a bill never falls while a node is up, and a lost node costs at most as much. So there always
is a set of nodes to release after which the same holds. A request is allowed only if it holds with the new node.

This is our own construction. Sums are rounded once (`math.fsum`), so they grow with each of their parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

from lightning_hwtune.core.hardware.billing import Node, bill

__all__ = ["Guard", "Held"]

_SLACK = 1.5  # new work is allowed this multiple of its expected seconds


@final
@dataclass(frozen=True, slots=True)
class Held:
    """A node of a study, with the segments that run on it.

    Attributes:
        node: when it was launched, and when it was released, or will be at the latest; None if it is to stay.
        ranks: the ranks of the trials that train on it, 0 for the best; empty if it is idle.
    """

    node: Node
    ranks: tuple[int, ...] = ()

    @property
    def is_kept(self) -> bool:
        """Whether it was not released, and will not be."""
        return self.node.released_at is None


@final
@dataclass(frozen=True, slots=True)
class Guard:
    """The guard of one budget.

    Attributes:
        budget_usd: what all nodes together may cost.
        tick_s: the most seconds from one look at the study to the next.
        save_s: the most seconds from the decision to release a node until it is no longer billed: its segments are
            ended, and their last checkpoints are already on disk.
    """

    budget_usd: float
    tick_s: float
    save_s: float

    def allows(
        self,
        held: Sequence[Held],
        now: float,
        *,
        on: int | None = None,
        new: Node | None = None,
        expected_s: float = 0.0,
    ) -> bool:
        """Returns whether the study may wait, begin a segment, or request a node.

        Args:
            held: all nodes that the study ever had.
            on: the place in `held` of the node on which a segment would begin.
            new: the node that would be requested.
            expected_s: the expected seconds until the first report of the new work, its start-up included. Half as much
                again is kept for it, so that it is seldom ended before it has a result.
        """
        more_s = _SLACK * expected_s
        nodes = [(item.node, more_s if place == on else 0.0) for place, item in enumerate(held)]
        nodes += [(new, more_s)] if new is not None else []
        wait_s = self.tick_s + self.save_s
        return _total(bill(node, now + wait_s + extra_s) for node, extra_s in nodes) <= self.budget_usd

    def to_release(self, held: Sequence[Held], now: float) -> list[int]:
        """Returns the places in `held` of the nodes to release now; empty if another tick can be waited for.

        Idle nodes are released first, then those whose best trial ranks worst. Their segments are interrupted between
        reports, and continue from their last checkpoints later.
        """
        order = sorted(
            (place for place, item in enumerate(held) if item.is_kept), key=lambda place: _worth(held[place])
        )
        for n_released in range(len(order) + 1):
            released = set(order[:n_released])
            if self._fits(held, released, now):
                return order[:n_released]
        return order

    def _fits(self, held: Sequence[Held], released: set[int], now: float) -> bool:
        """Returns whether the bills fit the budget at the next tick if these nodes are released now."""
        ends = (now + self.save_s + (0.0 if place in released else self.tick_s) for place in range(len(held)))
        return _total(bill(item.node, end) for item, end in zip(held, ends, strict=True)) <= self.budget_usd


def _worth(item: Held) -> float:
    """Returns a number that is larger for a node with a better trial; idle nodes have the smallest."""
    return -min(item.ranks, default=math.inf)


def _total(usd: Iterable[float]) -> float:
    return math.fsum(usd)
