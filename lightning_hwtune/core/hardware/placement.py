"""Where a segment goes among the nodes of a study: inside one node, or on complete nodes.

Device numbers ("slots") are those of the pool: a node with `size` devices in place 2 has the numbers from 2 x size. A
node takes the lowest place that is free. A segment goes to the node with the fewest free devices that suffice (best
fit), so that complete nodes stay free for large segments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.hardware.pool import Pool

__all__ = ["FreeCounts", "free_place", "on_nodes", "placed", "side_by_side"]


def placed(n_devices: int, free: Mapping[int, Sequence[int]], size: int) -> tuple[int, ...] | None:
    """Returns the slots of a segment with `n_devices`; None if it fits nowhere.

    Args:
        free: the free slots of each node, ascending, by its place.
        size: the number of devices of each node.
    """
    if n_devices <= size:
        fitting = [(len(slots), place) for place, slots in free.items() if len(slots) >= n_devices]
        return tuple(free[min(fitting)[1]][:n_devices]) if fitting else None
    complete = sorted(place for place, slots in free.items() if len(slots) == size)
    n_nodes = n_devices // size
    if n_devices % size or len(complete) < n_nodes:
        return None
    return tuple(slot for place in complete[:n_nodes] for slot in free[place])


@final
class FreeCounts:
    """How many devices are free on each node, while segments end one after the other.

    Args:
        free: the number of free devices of each node, by its place.
        size: the number of devices of each node.
    """

    def __init__(self, free: Mapping[int, int], size: int) -> None:
        self._free, self._size = dict(free), size
        self._most = max(free.values(), default=0)
        self._n_complete = sum(n == size for n in free.values())

    def fits(self, n_devices: int) -> bool:
        """Returns whether `placed` finds slots for a segment."""
        if n_devices <= self._size:
            return n_devices <= self._most
        return n_devices % self._size == 0 and n_devices // self._size <= self._n_complete

    def give_back(self, slots: Sequence[int]) -> None:
        """Frees slots; those of other nodes do not count."""
        for slot in slots:
            place = slot // self._size
            if place in self._free:
                n_free = self._free[place] = self._free[place] + 1
                self._most = max(self._most, n_free)
                self._n_complete += n_free == self._size


def side_by_side(counts: Sequence[int], n_nodes: int, size: int) -> bool:
    """Returns whether segments with these numbers of devices can be placed on empty nodes at the same time.

    They are placed by size, the largest first.
    """
    free = {place: list(range(place * size, (place + 1) * size)) for place in range(n_nodes)}
    for count in sorted(counts, reverse=True):
        slots = placed(count, free, size)
        if slots is None:
            return False
        free = {place: [slot for slot in own if slot not in slots] for place, own in free.items()}
    return True


def on_nodes(allocation: Allocation, pool: Pool) -> Allocation:
    """Returns an allocation with the nodes that it takes: one, or as many complete ones as it needs."""
    if pool.n_nodes == 1 or pool.instance is None:
        return allocation
    n_nodes = max(allocation.devices // pool.node_size, 1)
    return Allocation(allocation.devices, nodes=n_nodes, instance=pool.instance.name)


def free_place(taken: Sequence[int]) -> int:
    """Returns the lowest place that is not taken."""
    return next(place for place in range(len(taken) + 1) if place not in taken)
