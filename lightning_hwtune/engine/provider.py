"""The interface between a study and whatever rents it nodes: a cloud, a cluster, a simulation, or this host.

A provider launches and ends machines, and says what happened to them. It makes no decisions: `engine.rented_nodes`
requests, releases and bills. Nodes are billed from the request to the release, by the rule of the instance type's own
provider (`core.hardware.billing`), at the price of the type.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

from lightning_hwtune.core.hardware.kinds import Nodes
from lightning_hwtune.errors import ArgumentError

__all__ = ["LocalProvider", "NodeChange", "Provider"]


@final
@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node became ready, or was lost.

    Attributes:
        rented_as: the provider's id of the node.
        lost: why it was taken away, or failed; empty if it became ready.
    """

    rented_as: str
    lost: str = ""


@runtime_checkable
class Provider(Protocol):
    """Rents nodes.

    Attributes:
        launch_s: the expected seconds from a request until the node is ready. An idle node is kept for as long, since
            a new one would take that time, unless `idle_s` says otherwise.
        idle_s: for how many seconds an idle node is kept.
        timeout_s: a node that is not ready after these seconds is released, and another one is requested. If work
            waits for so long because no node is available, and nothing runs, the session ends.
    """

    launch_s: float
    idle_s: float
    timeout_s: float

    def is_available(self, kind: Nodes) -> bool:
        """Returns whether a node of this kind of the pool can be requested now."""

    def request(self, kind: Nodes, *, is_spot: bool) -> str:
        """Begins to launch a node of this kind; returns its id at once."""

    def release(self, rented_as: str) -> None:
        """Ends a node, with everything that runs on it, ready or not. An id that is not up any more has no effect."""

    def poll(self) -> Sequence[NodeChange]:
        """Returns what has happened since the last call, in order. A node that was released does not occur."""

    def poll_s(self) -> float:
        """Returns after how many seconds `poll` should be called next."""


@final
class LocalProvider:
    """This host as a provider: one node, which is ready at once, and is never lost.

    Examples:
        >>> from lightning_hwtune.engine.provider import LocalProvider
        >>> provider = LocalProvider()
        >>> box = hwt.Pool(instance=hwt.InstanceType("box", 0.5, vcpus=4))
        >>> provider.request(box.kinds[0], is_spot=False)
        'this host'
        >>> provider.poll()
        [NodeChange(rented_as='this host', lost='')]
    """

    launch_s = idle_s = 0.0
    timeout_s = math.inf
    _ID = "this host"

    def __init__(self) -> None:
        self._is_up, self._news = False, list[NodeChange]()

    def is_available(self, kind: Nodes) -> bool:
        """Returns whether this host is not up."""
        return not self._is_up

    def request(self, kind: Nodes, *, is_spot: bool) -> str:
        """Returns the id of this host.

        Raises:
            ArgumentError: it is up already.
        """
        if self._is_up:
            raise ArgumentError("Pool.nodes", "more than 1", "1, because this host is a single node")
        self._is_up = True
        self._news.append(NodeChange(self._ID))
        return self._ID

    def release(self, rented_as: str) -> None:
        """Makes the host available for another request."""
        self._is_up, self._news = False, []

    def poll(self) -> Sequence[NodeChange]:
        """Returns that the host is ready, once after each request."""
        news, self._news = self._news, []
        return news

    def poll_s(self) -> float:
        """Returns infinity: the host never changes, except by a request."""
        return 0.0 if self._news else math.inf
