"""A simulated provider on a virtual clock: launch delays, spot interruptions, stragglers, nodes that never come.

Everything is drawn from (seed, number of the request), so that the same study has the same nodes on any machine.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from lightning_hwtune.core.hardware.kinds import Nodes
from lightning_hwtune.core.streams import stream
from lightning_hwtune.engine.clock import VirtualClock
from lightning_hwtune.engine.provider import NodeChange
from lightning_hwtune.forms import checked_class

__all__ = ["Cloud", "SimulatedProvider"]

TAKEN_AWAY = "the provider took the spot node away"


@final
@checked_class()
@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """How the nodes of a simulated provider behave.

    Args:
        launch_s: the median seconds from a request until the node is ready.
        launch_spread: standard deviation of the logarithm of these seconds.
        lost_after_s: a spot node is taken away after this time on average, since it was ready; None: never.
        never_share: the share of nodes that never become ready.
        straggler_share: the share of nodes that are slow. straggler_factor: by which factor their segments take longer.
        timeout_s: a node that is not ready after this time is given up.
        seed: of the draws.
    """

    launch_s: float = 60.0
    launch_spread: float = 0.0
    lost_after_s: float | None = None
    never_share: float = 0.0
    straggler_share: float = 0.0
    straggler_factor: float = 3.0
    timeout_s: float = 600.0
    seed: int = 0


@final
class SimulatedProvider:
    """Rents nodes that exist on a virtual clock; see `engine.provider.Provider`."""

    def __init__(self, cloud: Cloud, clock: VirtualClock) -> None:
        self._cloud, self._clock = cloud, clock
        self.launch_s, self.idle_s, self.timeout_s = cloud.launch_s, cloud.launch_s, cloud.timeout_s
        self._factors: dict[str, float] = {}  # of the nodes that are up
        self._coming: list[tuple[float, int, NodeChange]] = []
        self._n_requests = 0

    def is_available(self, kind: Nodes) -> bool:
        """Returns True: a cloud takes any request."""
        return True

    def request(self, kind: Nodes, *, is_spot: bool) -> str:
        """Draws what will happen to a new node; returns its id."""
        cloud, number = self._cloud, self._n_requests
        rng = stream(cloud.seed, "node", number)
        launch_s = cloud.launch_s * math.exp(cloud.launch_spread * float(rng.standard_normal()))
        never, slow = rng.random(2) < (cloud.never_share, cloud.straggler_share)
        lives_s = math.inf
        if is_spot and cloud.lost_after_s is not None:
            lives_s = cloud.lost_after_s * float(rng.standard_exponential())
        rented_as, ready_at = f"node-{number}", self._clock.now() + (math.inf if never else launch_s)
        self._factors[rented_as] = cloud.straggler_factor if slow else 1.0
        for at, change in (
            (ready_at, NodeChange(rented_as)),
            (ready_at + lives_s, NodeChange(rented_as, TAKEN_AWAY)),
        ):
            if at < math.inf:
                heapq.heappush(self._coming, (at, 2 * number + bool(change.lost), change))
        self._n_requests += 1
        return rented_as

    def release(self, rented_as: str) -> None:
        """Ends a node."""
        self._factors.pop(rented_as, None)

    def poll(self) -> Sequence[NodeChange]:
        """Returns what has happened by the clock's time."""
        found = []
        while self._coming and self._coming[0][0] <= self._clock.now():
            _, _, change = heapq.heappop(self._coming)
            if change.rented_as in self._factors:
                found.append(change)
        return found

    def poll_s(self) -> float:
        """Returns the seconds until something happens to a node that is up; infinity if nothing will."""
        while self._coming and self._coming[0][2].rented_as not in self._factors:
            heapq.heappop(self._coming)
        return self._coming[0][0] - self._clock.now() if self._coming else math.inf

    def factor(self, rented_as: str) -> float:
        """Returns by which factor the segments on a node take longer."""
        return self._factors.get(rented_as, 1.0)
