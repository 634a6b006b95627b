"""The rented nodes of a running study: when one is requested, when it is released, and what follows from its loss.

- A node is requested while work waits for which the nodes that are up, launching ones included, have no devices. The
  pool limits their number, or the plan of a stage, and the guard of the budget must allow the request.
- A node that is not ready in time is released, billed by the rule of its provider, and replaced. After `_MOST_FAILED`
  such nodes in a row, or `_MOST_LOST` lost ones without any report, no further one is requested; a study without a
  ready node then ends.
- The segments of a lost or released node are ended. Their trials continue elsewhere from their last checkpoints, and
  that does not count as a retry. A trial that loses one node after another fails, unless these are spot nodes.
- An idle node is kept for as long as the launch of a new one takes: then waiting has cost as much as a launch does, so
  the sum is at most twice what it would be if the future were known (the rule of ski rental). It is also kept while
  devices are drained for a large trial. A provider may set another time.
- A provider that has no node to offer is asked again later. Work that fits on the nodes that are up begins meanwhile.
  If nothing runs, waiting has a limit, too.

All of this is written to the log, in which capacity is the sum over the nodes that are ready.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import final

from lightning_hwtune.core.allocation import LOCAL, Allocation
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Answer, Demand, Done, Reason, Rule, Wait
from lightning_hwtune.core.hardware.kinds import Nodes
from lightning_hwtune.core.hardware.nodes import NodeRecord
from lightning_hwtune.core.hardware.placement import NodeShape
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.engine.executor import Executor
from lightning_hwtune.engine.provider import Provider
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.text import counted
from lightning_hwtune.training.channel import NodePart

__all__ = ["RentedNodes"]

_MOST_FAILED = 3
_MOST_LOST = 20
_LEAST_S = 0.001  # between two looks, so that a virtual clock advances


@final
class RentedNodes:
    """Rents the nodes of one loop. The session of the controller was opened with `rents=True`.

    Args:
        say: prints a line about what the study waits for.

    Raises:
        ArgumentError: the pool has no instance type, or several trials share its devices.
    """

    def __init__(
        self,
        controller: Controller,
        executor: Executor,
        provider: Provider,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        if not controller.spec.pool.is_paid_whole:
            allowed = "a pool with an instance type, whose nodes can be rented"
            raise ArgumentError("pool", controller.spec.pool, allowed, hint="For example Pool(instance='g5.xlarge').")
        if controller.spec.pool.per_device != 1:
            hint = "A trial on rented nodes has its devices to itself. Leave `per_device` out."
            given = controller.spec.pool.per_device
            raise ArgumentError("Pool.per_device", given, "1, because the nodes are rented", hint=hint)
        self._controller, self._executor, self._provider = controller, executor, provider
        self._kinds = controller.spec.pool.kinds
        self._short_since: float | None = None  # since when work has waited for a node that is not available
        self._say, self._said_for = say, -1  # for how many nodes the newest line was printed; -1: nothing waits
        self._n_failed = self._n_lost = 0  # nodes that were not ready in time, in a row; lost ones without a report

    @property
    def _state(self) -> StudyState:
        return self._controller.state

    def n_free(self, per_device: int = 1) -> int:
        """Returns the number of free devices on nodes that are ready."""
        return sum(map(len, self._state.free_slots().values())) if self._state.is_renting else 0

    def reported(self) -> None:
        """Records that a segment has reported."""
        self._n_lost = 0

    def take(self, allocation: Allocation, per_device: int = 1) -> tuple[int, ...]:
        """Returns the slots of a new segment, for which there is a place. The state then says that they are taken."""
        return self._state.place_for(allocation) or ()

    def give_back(self, slots: Iterable[int], per_device: int = 1) -> None:
        """Does nothing: the state says which devices are free."""

    def parts(self, slots: Sequence[int]) -> tuple[NodePart, ...]:
        """Returns the nodes of these slots, and the numbers that the devices have there."""
        size, nodes = self._state.placement.stride, self._state.nodes_of(slots)
        return tuple(
            NodePart(node.rented_as, tuple(slot % size for slot in slots if slot // size == node.place))
            for node in sorted(nodes, key=lambda node: node.place)
        )

    def look(self, now: float) -> None:
        """Records what has happened to the nodes, and releases those that the budget or their time does not allow."""
        numbers = {node.rented_as: number for number, node in self._state.nodes_up.items()}
        for change in self._provider.poll():
            number = numbers.get(change.rented_as)
            if number is None:
                continue
            if change.lost:
                self._n_lost += 1
                self._end(number, f"its node was lost: {change.lost}", now, lost=change.lost)
            else:
                self._controller.node_ready(number, now)
                self._n_failed = 0
        for number in self._controller.budget.to_release(now):
            self._end(number, "its node was released, since the budget does not pay for it any more", now)
        for node in list(self._state.nodes_up.values()):
            if not node.is_ready and self._age_s(node, now) >= self._provider.timeout_s:
                self._n_failed += 1
                text = f"node {node.number} was not ready after {self._age_s(node, now):.0f} s, and was released"
                self._controller.note(None, text, now)
                self._end(node.number, text, now)

    def adjust(self, answer: Answer, now: float) -> Answer:
        """Requests and releases nodes after an answer of the controller; returns the answer that follows.

        That is the same one, or `Done` if nothing runs and no node can be requested for what waits.
        """
        if isinstance(answer, Done):
            self.release_all(now)
        if not isinstance(answer, Wait):
            return answer
        wanted = self._controller.demand(now)
        reason = self._request(wanted, now)
        for node in list(self._state.nodes_up.values()):
            if self._idle_left_s(node, now) <= 0:
                self._end(node.number, "", now)
        if self._state.running or any(not node.is_ready for node in self._state.nodes_up.values()):
            self._short_since = None if self._short_since is None else now
            self._said_for = -1
            return answer
        self._say_what_is_missing(wanted)
        if self._short_since is not None and now - self._short_since >= self._provider.timeout_s:
            text = self._what_is_missing(wanted.first)
            missing: Callable[[], str] | None = getattr(self._provider, "missing", None)
            because = missing().rstrip(".") if missing is not None else ""
            reason = Reason(Rule.NO_NODES, f"{text}. {because}" if because else text)
        if reason is None and not wanted.devices:
            answer = self._controller.ask(now, self._controller.spec.pool.node_size)  # nothing is left to do
        if reason is not None:
            answer = Done(reason, self._state.reserved)
        if isinstance(answer, Done):
            self.release_all(now)
        return answer

    def is_lacking(self, now: float) -> bool:
        """Returns whether work waits for a node, and the provider has none that can be requested for it."""
        return self._short_since is not None and self._kind_for(self._controller.demand(now)) is None

    def _what_is_missing(self, allocation: Allocation) -> str:
        """Returns why nothing can begin, after no node has joined for too long."""
        homes = self._state.placement.homes(allocation.devices, allocation.instance)
        n_nodes, limit = min(homes.values(), default=1), f"joined for {self._provider.timeout_s:g} s"
        if n_nodes == 1:
            text = f"no node with {self._needed(homes, allocation)} {limit}, and the work that is left needs one"
        else:
            each = f"{self._needed(homes, allocation)} each"
            devices = counted(allocation.devices, "devices")
            text = f"the work that is left needs {devices}, on {n_nodes} nodes with {each}, and no further node {limit}"
        sizes = Counter(len(slots) for slots in self._state.free_slots().values())
        there = [f"{counted(n, 'nodes')} with {counted(size, 'free devices')}" for size, n in sorted(sizes.items())]
        be = "is" if sizes.total() == 1 else "are"
        return f"{text}; {' and '.join(there)} {be} there" if there else f"{text}; no node is there"

    def _needed(self, homes: Mapping[NodeShape, int], allocation: Allocation) -> str:
        """Returns what the nodes have on which a segment can be, in words."""
        sizes = sorted({size for _, size in homes}) or [self._controller.spec.pool.node_size]
        devices = f"{' or '.join(map(str, sizes[:-1]))} or " if sizes[:-1] else ""
        of_type = f" of type {allocation.instance!r}" if allocation.instance in self._state.placement.types else ""
        return f"{devices}{counted(sizes[-1], 'free devices')}{of_type}"

    def _say_what_is_missing(self, wanted: Demand) -> None:
        """Prints how many nodes are there if all work waits for another one; once per number of nodes."""
        there = len(self._state.nodes_up)
        if self._short_since is None or there == self._said_for:
            return
        self._said_for = there
        be, devices = "is" if there == 1 else "are", counted(wanted.first.devices, "devices")
        what = f", since the work that is left needs {devices}" if there else ""
        most = counted(self._state.most_nodes, "nodes")
        self._say(
            f"waits for another node{what}: {there} of at most {most} {be} there; the session ends "
            f"if none joins within {counted(f'{self._provider.timeout_s / 60:g}', 'minutes')}"
        )

    def wait_s(self, now: float) -> float:
        """Returns how long the loop may wait for news."""
        left = [self._provider.poll_s()]
        for node in self._state.nodes_up.values():
            left.append(self._idle_left_s(node, now))
            if not node.is_ready:
                left.append(self._provider.timeout_s - self._age_s(node, now))
        return max(min(left), _LEAST_S)

    def release_all(self, now: float) -> None:
        """Releases every node."""
        for number in list(self._state.nodes_up):
            self._end(number, "the session ends", now)

    def _request(self, wanted: Demand, now: float) -> Reason | None:
        """Requests nodes for what would begin; returns why none was requested, None if it was or need not be."""
        pool, since = self._controller.spec.pool, self._short_since
        self._short_since = None
        while len(self._state.nodes_up) < self._state.most_nodes:
            if not self._is_short(wanted):
                return None
            kind = self._kind_for(wanted)
            if kind is None:
                self._short_since = now if since is None else since
                return None
            if self._n_failed >= _MOST_FAILED:
                text = (
                    f"{counted(self._n_failed, 'nodes')} in a row were not ready within {self._provider.timeout_s:g} s"
                )
                return Reason(Rule.NO_NODES, text)
            if self._n_lost >= _MOST_LOST:
                text = f"{counted(self._n_lost, 'nodes')} in a row were lost before a trial could report"
                return Reason(Rule.NO_NODES, text)
            expected_s = self._provider.launch_s + self._state.slowest_report_s
            if not self._controller.budget.allows_node(kind.type, expected_s, now, is_spot=pool.spot):
                most_usd = self._state.limits.max_cost_usd or math.inf
                text = f"what is left of {most_usd:.4g} USD does not pay for another node and its launch"
                return Reason(Rule.LIMIT_MAX_COST, text)
            rented_as = self._provider.request(kind, is_spot=pool.spot)
            self._controller.rent(rented_as, kind, now, is_spot=pool.spot)
        return None

    def _is_short(self, wanted: Demand) -> bool:
        """Returns whether what would begin needs more devices than those that are coming, and free ones it waits for.

        New trials can have different numbers of devices, so all nodes count for them. But the first of them must have
        a place, too, and other work counts only the nodes on which it can be.
        """
        if not wanted.devices:
            return False
        homes = self._state.placement.homes(wanted.first.devices, wanted.first.instance)
        is_any = self._can_be_anywhere(wanted)
        if is_any and wanted.devices > self._n_coming(None):
            return True
        return (wanted.first.devices if is_any else wanted.devices) > self._n_coming(homes)

    def _can_be_anywhere(self, wanted: Demand) -> bool:
        """Returns whether the work is new trials whose instance type the policy leaves open."""
        return wanted.is_new and wanted.first.instance == LOCAL

    def _n_coming(self, shapes: Collection[NodeShape] | None) -> int:
        """Returns the devices of nodes that launch and, if work waits for them, the free ones; None: of any shape."""
        state = self._state
        found = sum(
            node.devices
            for node in state.nodes_up.values()
            if not node.is_ready and (shapes is None or node.shape in shapes)
        )
        if state.reserved is None:
            return found
        free = state.free_slots().items()
        return found + sum(len(slots) for p, slots in free if shapes is None or state.shapes[p] in shapes)

    def _kind_for(self, wanted: Demand) -> Nodes | None:
        """Returns the kind of node to request now; None if there is none.

        First come those on which the work can be: the one with the lowest price per device, then the smallest. If none
        of them is available, or all of them are up and the work is new trials, it is another one.
        """
        homes = self._state.placement.homes(wanted.first.devices, wanted.first.instance)
        up = Counter((node.instance, node.devices) for node in self._state.nodes_up.values())
        room = [kind for kind in self._kinds if up[kind.type, kind.n_devices] < kind.count]
        own = sorted((kind for kind in room if kind.shape in homes), key=self._worth)
        others = sorted((kind for kind in room if kind.shape not in homes), key=self._worth)
        able = (
            kind
            for kind in own + (others if own or self._can_be_anywhere(wanted) else [])
            if self._provider.is_available(kind)
        )
        return next(able, None)

    def _worth(self, kind: Nodes) -> tuple[float, int]:
        return kind.type.price(spot=self._controller.spec.pool.spot) / kind.n_devices, kind.n_devices

    def _end(self, number: int, why: str, now: float, *, lost: str = "") -> None:
        """Ends a node: its bill is written first, then its segments are interrupted."""
        node = self._state.nodes_up[number]
        segments = self._state.on_node(node) if node.is_ready else []
        if lost:
            self._controller.node_lost(number, lost, now)
        else:
            self._controller.node_released(number, now)
        self._provider.release(node.rented_as)
        outcome = Outcome.NODE_LOST if lost and not node.is_spot else Outcome.INTERRUPTED
        for segment in segments:
            self._executor.end(segment.trial_id, outcome, why)

    def _age_s(self, node: NodeRecord, now: float) -> float:
        return node.up_s(self._state.clock.at(now))

    def _idle_left_s(self, node: NodeRecord, now: float) -> float:
        """Returns for how many seconds a node is still kept although it is idle; infinity if it is not."""
        if not node.is_ready or self._state.reserved is not None or not self._state.is_idle(node):
            return math.inf
        return self._provider.idle_s - (self._state.clock.at(now) - node.idle_clock_s)
