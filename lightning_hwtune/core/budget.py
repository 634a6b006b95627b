"""The guard of a running study: which work may begin, and which segments must end, so that its bill fits `max_cost`.

Everything that is billed while it is up is a node of `hardware.guard`: a machine that is paid for as a whole, or the
devices of a segment where a device has a price. The trials on a node are ranked by how far they have come: the deepest
rung first, then the fronts of that rung, then the first objective.

`core.deadline` plans what can still give a result by expected times. The guard does not expect anything: it keeps back
what it costs to end everything now. So a training that takes much longer than expected, or does not report any more,
is ended between two reports. Studies of earlier versions do without it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, final

from lightning_hwtune.core.decisions import Resume, Start
from lightning_hwtune.core.hardware.billing import Node, bill, rule_of
from lightning_hwtune.core.hardware.catalogue import InstanceType
from lightning_hwtune.core.hardware.guard import Guard, Held
from lightning_hwtune.core.ranking.fronts import front_ranks
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.core.state import StudyState

__all__ = ["Budget", "ranks_of"]

_HOUR_S = 3600.0
_ROUNDED = 1.0 - 1e-9  # the ledger adds bills one by one, and each sum is rounded
_NO_RANKS: Mapping[int, int] = MappingProxyType({})


@final
class Budget:
    """The guard of one study, from its current state; without a limit of money, it allows everything.

    Attributes:
        tick_s: the most seconds from one call of `to_end` to the next.
        save_s: the most seconds in which a segment or a node ends that `to_end` named.
    """

    def __init__(self, state: StudyState) -> None:
        self._state = state
        self.tick_s = self.save_s = 0.0
        self._ends_at: dict[tuple[int, int], float] = {}  # what `to_end` has named, and when it ends at the latest

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit of money that the guard keeps."""
        return self._guard is not None

    def allows(self, candidate: Start | Resume, expected_s: float, now: float) -> bool:
        """Returns whether a segment may begin.

        Args:
            expected_s: the expected seconds until its first report, its start-up included.
        """
        guard, clock_s = self._guard, self._state.clock.at(now)
        if guard is None:
            return True
        held = [item for item, _ in self._held(now)]
        if self._state.spec.pool.is_paid_whole:
            prices = [item.node.instance.price(spot=item.node.is_spot) for item in held]
            on = prices.index(max(prices)) if prices else None
            return guard.allows(held, clock_s, on=on, expected_s=expected_s)
        config = candidate.config if isinstance(candidate, Start) else self._state.trials[candidate.trial_id].config
        new = Node(self._devices(config, candidate.num_devices / self._state.per_device), clock_s)
        return guard.allows(held, clock_s, new=new, expected_s=expected_s)

    def allows_node(self, instance: InstanceType, expected_s: float, now: float, *, is_spot: bool) -> bool:
        """Returns whether a node may be requested.

        Args:
            expected_s: the expected seconds until the first report on it, its launch included.
        """
        guard, clock_s = self._guard, self._state.clock.at(now)
        held = [item for item, _ in self._held(now)]
        new = Node(instance, clock_s, is_spot=is_spot)
        return guard is None or guard.allows(held, clock_s, new=new, expected_s=expected_s)

    def to_release(self, now: float) -> list[int]:
        """Returns the numbers of the rented nodes to release now, idle ones first; see `to_end`."""
        guard, rented = self._guard, [number for number, node in self._state.nodes_up.items() if node.rented_as]
        if guard is None or not rented:
            return []
        held = [item for item, _ in self._held(now, ranks_of(self._state))]
        numbers = list(self._state.nodes_up)
        return [numbers[place] for place in guard.to_release(held, self._state.clock.at(now)) if place < len(numbers)]

    def to_end(self, now: float) -> list[int]:
        """Returns the running trials whose segments must end now, the worst first; empty if another tick can pass."""
        return self._named(now, 0.0)

    def must_pause(self, trial_id: int, now: float) -> bool:
        """Returns whether a trial that reports now must pause, because the next tick would end its segment."""
        return trial_id in self._named(now, self.tick_s)

    def ends(self, trial_id: int, now: float) -> None:
        """Records that the segment of a trial is being ended, so that its money is not kept back for another tick."""
        segment = self._state.running[trial_id]
        self._ends_at.setdefault(_key(segment), self._state.clock.at(now) + self.save_s)

    def spare_s(self, now: float) -> float:
        """Returns for how many seconds, in addition to a tick, `to_end` need not be called; or infinity."""
        guard = self._guard
        if guard is None:
            return math.inf
        held = [item for item, _ in self._held(now)]
        end_s = self._state.clock.at(now) + self.tick_s + self.save_s
        left_usd = guard.budget_usd - math.fsum(bill(item.node, end_s) for item in held)
        kept = [item.node for item in held if item.is_kept]
        usd_per_s = math.fsum(node.instance.price(spot=node.is_spot) for node in kept) / _HOUR_S
        if usd_per_s == 0:
            return math.inf
        quantum_s = max((rule_of(node.instance).quantum_s for node in kept), default=0.0)
        return max(left_usd / usd_per_s - quantum_s, 0.0)

    @property
    def _guard(self) -> Guard | None:
        most_usd = self._state.limits.max_cost_usd
        if most_usd is None or not self._state.has_guard:
            return None
        return Guard(most_usd * _ROUNDED - self._state.ended_usd, self.tick_s, self.save_s)

    def _named(self, now: float, ahead_s: float) -> list[int]:
        guard = self._guard
        if guard is None or not self._state.running:
            return []
        pairs = self._held(now, ranks_of(self._state))
        named = guard.to_release([item for item, _ in pairs], self._state.clock.at(now) + ahead_s)
        return [segment.trial_id for place in named for segment in pairs[place][1]]

    def _held(self, now: float, ranks: Mapping[int, int] = _NO_RANKS) -> list[tuple[Held, list[Segment]]]:
        """Returns everything that is up, as the guard sees it, each with its segments."""
        state, found = self._state, list[tuple[Held, list[Segment]]]()
        for record in state.nodes_up.values():
            here = state.on_node(record) if record.is_ready else []
            node = Node(record.instance, record.launched_clock_s, is_spot=record.is_spot)
            found.append((Held(node, _ranks_on(here, ranks)), here))
        for segment in state.running.values():
            if segment.node is None:
                devices = self._devices(state.trials[segment.trial_id].config, segment.share)
                node = Node(devices, segment.started_clock_s, self._end_of(segment, now))
                found.append((Held(node, _ranks_on([segment], ranks)), [segment]))
        return found

    def _end_of(self, segment: Segment, now: float) -> float | None:
        """Returns when a segment that is being ended ends at the latest; None for others, and if it did not end."""
        ends_at = self._ends_at.get(_key(segment))
        return ends_at if ends_at is not None and ends_at > self._state.clock.at(now) else None

    def _devices(self, config: Mapping[str, Any], n_devices: float) -> InstanceType:
        return _priced(self._state.spec.usd_of(config, _HOUR_S * n_devices))


def ranks_of(state: StudyState) -> dict[int, int]:
    """Returns the ranks of the running trials, 0 for the best: by deepest rung, then by its fronts."""
    on_level: dict[int, list[int]] = {}
    for trial_id in sorted(state.running):
        on_level.setdefault(max(state.trials[trial_id].decided, default=0), []).append(trial_id)
    order: list[int] = []
    for level in sorted(on_level, reverse=True):
        losses = [_losses(state, trial_id, level) for trial_id in on_level[level]]
        fronts = front_ranks(losses).tolist()
        order += [trial_id for *_, trial_id in sorted(zip(fronts, losses, on_level[level], strict=True))]
    return {trial_id: rank for rank, trial_id in enumerate(order)}


def _losses(state: StudyState, trial_id: int, level: int) -> list[float]:
    found, n_objectives = state.trials[trial_id].at(level), len(state.spec.objectives)
    losses = [math.inf] * n_objectives if found is None else state.spec.objectives.loss(found.values).tolist()
    return [math.inf if math.isnan(loss) else loss for loss in losses]


def _ranks_on(segments: Sequence[Segment], ranks: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(ranks.get(segment.trial_id, 0) for segment in segments)


def _key(segment: Segment) -> tuple[int, int]:
    return segment.trial_id, segment.number


@functools.lru_cache(maxsize=256)
def _priced(usd_per_hour: float) -> InstanceType:
    """Returns devices that are paid for by the exact time, as a machine."""
    return InstanceType("devices", usd_per_hour, vcpus=1)
