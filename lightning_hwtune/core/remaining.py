"""The time and the money that the limits of a study leave."""

from __future__ import annotations

import math
import statistics
from typing import final

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.hardware.billing import affordable_s
from lightning_hwtune.core.pace import SeenPaces

__all__ = ["Remaining", "full_trainings"]

_ROUNDING = 1e-9  # of the whole time of a study


@final
class Remaining:
    """What the limits of time and money leave, from the current facts; infinity without a limit."""

    def __init__(self, facts: StudyFacts) -> None:
        self._facts = facts

    def seconds(self, now: float) -> float:
        """Returns the seconds until the limit of time, or until the money for the pool's node is spent."""
        limit_s = self._facts.limits.max_time_s
        left_s = math.inf if limit_s is None else limit_s - self._facts.wall_s(now)
        return min(left_s, self.node_s(now))

    def node_s(self, now: float) -> float:
        """Returns the seconds for which the money left pays the pool's node; infinity without one, or without a limit.

        -infinity means that it does not even pay for the shortest time that is billed.
        """
        facts, pool, limit_usd = self._facts, self._facts.spec.pool, self._facts.limits.max_cost_usd
        if not pool.is_paid_whole or limit_usd is None:
            return math.inf
        instance = pool.kinds[0].type
        if pool.n_nodes > 1:  # all nodes that are up together, by their time
            up = sum(node.instance.price(spot=node.is_spot) for node in facts.nodes_up.values())
            return (limit_usd - facts.billed_usd(now)) / ((up or instance.price(spot=pool.spot)) / 3600)
        up_s = max((node.up_s(facts.clock.at(now)) for node in facts.nodes_up.values()), default=0.0)
        return affordable_s(instance, limit_usd - facts.ended_usd, spot=pool.spot) - up_s

    def device_s(self, now: float) -> float:
        """Returns the device-seconds that the money left pays for; infinity on a node, which is paid as a whole."""
        limit_usd, price = self._facts.limits.max_cost_usd, self._usd_per_device_s
        if limit_usd is None or price == 0 or self._facts.spec.pool.is_paid_whole:
            return math.inf
        return (limit_usd - self._facts.billed_usd(now)) / price

    def pool_s(self, now: float) -> float:
        """Returns the seconds until the first of both limits, with the whole pool in use."""
        return min(self.seconds(now), self.device_s(now) / self._facts.spec.pool.size)

    def is_time_first(self, now: float) -> bool:
        """Returns whether the limit of time is reached before the limit of money, with the whole pool in use."""
        seconds = self.seconds(now)
        return seconds * self._facts.spec.pool.size <= self.device_s(now) and seconds < self.node_s(now)

    @property
    def whole_s(self) -> float:
        """The seconds from the beginning of the study to its first limit, with the whole pool in use."""
        limits, price, pool = self._facts.limits, self._usd_per_device_s, self._facts.spec.pool
        seconds = math.inf if limits.max_time_s is None else limits.max_time_s
        if pool.has_several_kinds and limits.max_cost_usd is not None:
            return min(seconds, limits.max_cost_usd / pool.usd_per_hour * 3600) if pool.usd_per_hour else seconds
        if pool.is_paid_whole and limits.max_cost_usd is not None:
            most_s = affordable_s(pool.kinds[0].type, limits.max_cost_usd / pool.n_nodes, spot=pool.spot)
            return min(seconds, max(most_s, 0.0))
        if limits.max_cost_usd is not None and price > 0:
            seconds = min(seconds, limits.max_cost_usd / price / self._facts.spec.pool.size)
        return seconds

    @property
    def rounding_s(self) -> float:
        """The seconds that count as none, because sums of times are rounded; 0 without a limit."""
        return _ROUNDING * self.whole_s if self.whole_s < math.inf else 0.0

    @property
    def _usd_per_device_s(self) -> float:
        return self._facts.spec.most_usd_of(1.0)


def full_trainings(
    facts: StudyFacts, now: float, paces: SeenPaces, *, passed_s: float = 0.0
) -> tuple[int, float] | None:
    """Returns how many full trainings the limits of time and money leave room for, and the seconds of one.

    Each trains at the median pace on the smallest device count, one after another on the whole pool. Returns None if
    the pace is unknown, or if there is no such limit.

    Args:
        passed_s: seconds that count for the limit of time, but are not in the log yet.
    """
    left, num_devices = Remaining(facts), min(facts.spec.allocator.counts)
    known = [seconds for _, seconds in paces.donors(num_devices) if 0.0 < seconds < math.inf] if paces else []
    if not known or not facts.limits.is_timed:
        return None
    seconds = paces.startup_s(num_devices) + facts.ladder.top * statistics.median(known)
    left_s = max(left.seconds(now) - passed_s, 0.0)
    by_time = left_s // seconds * (facts.places // num_devices) if math.isfinite(left_s) else math.inf
    by_money = max(left.device_s(now), 0.0) / (seconds * num_devices / facts.per_device)
    return math.floor(min(by_time, by_money)), seconds
