"""Where a segment goes among the nodes of a study: inside one node, or on complete nodes of one kind.

Device numbers ("slots") are those of the pool: if the largest node has `stride` devices, a node in place 2 has the
numbers from 2 x stride. A node takes the lowest place that is free. A segment goes to the node with the fewest free
devices that suffice (best fit), so that complete nodes stay free for large segments.

A segment gets complete nodes only if no node of the same instance type can have as many devices. They are equal. So
the places that a segment can have depend on the pool, not on which nodes are free: its seconds stay comparable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import final

from lightning_hwtune.core.allocation import LOCAL, Allocation
from lightning_hwtune.core.hardware.pool import Pool

__all__ = ["FreeCounts", "NodeShape", "Placement", "free_place"]

NodeShape = tuple[str, int]
"""The name of the instance type of a node, and its number of devices."""


@final
class Placement:
    """The rules of one pool.

    Attributes:
        stride: the number of slots of a place, which are the devices of the largest node.
        types: the names of the instance types between which a trial does not move; see `Pool.types`.
    """

    def __init__(self, pool: Pool) -> None:
        kinds = pool.kinds
        self.stride = pool.node_size
        self._counts: Counter[NodeShape] = Counter()
        for kind in kinds:
            self._counts[kind.shape] += kind.count
        if not kinds:
            self._counts[LOCAL, pool.node_size] = pool.n_nodes
        self.types: Collection[str] = pool.types
        self._homes: dict[tuple[int, str], Mapping[NodeShape, int]] = {}

    @property
    def most(self) -> Counter[NodeShape]:
        """How many nodes of each shape the pool has."""
        return self._counts

    def homes(self, n_devices: int, instance: str = LOCAL) -> Mapping[NodeShape, int]:
        """Returns where a segment can be: the shapes of nodes, the fewest nodes first, each with how many it takes.

        Args:
            instance: the instance type of its trial; "local" for any.
        """
        key = (n_devices, instance if instance in self.types else LOCAL)
        if key not in self._homes:
            self._homes[key] = self._homes_of(*key)
        return self._homes[key]

    def _homes_of(self, n_devices: int, instance: str) -> Mapping[NodeShape, int]:
        largest: dict[str, int] = {}
        for name, size in self._counts:
            largest[name] = max(size, largest.get(name, 0))
        found: list[tuple[int, NodeShape]] = []
        for (name, size), count in self._counts.items():
            if instance not in (LOCAL, name):
                continue
            n_nodes = 1 if n_devices <= size else n_devices // size
            is_whole = n_devices > largest[name] and n_devices % size == 0 and n_nodes <= count
            if n_devices <= size or is_whole:
                found.append((n_nodes, (name, size)))
        return {shape: n_nodes for n_nodes, shape in sorted(found)}

    def placed(
        self, allocation: Allocation, free: Mapping[int, Sequence[int]], shapes: Mapping[int, NodeShape]
    ) -> tuple[int, ...] | None:
        """Returns the slots of a segment; None if it fits nowhere.

        Args:
            free: the free slots of each node, ascending, by its place. shapes: what each node has, by its place.
        """
        n_devices, homes = allocation.devices, self.homes(allocation.devices, allocation.instance)
        fitting = [
            (len(slots), place)
            for place, slots in free.items()
            if len(slots) >= n_devices and homes.get(shapes[place]) == 1
        ]
        if fitting:
            return tuple(free[min(fitting)[1]][:n_devices])
        for shape, n_nodes in homes.items():
            if n_devices > shape[1]:
                complete = sorted(p for p, slots in free.items() if shapes[p] == shape and len(slots) == shape[1])
                if len(complete) >= n_nodes:
                    return tuple(slot for place in complete[:n_nodes] for slot in free[place])
        return None

    def side_by_side(self, allocations: Iterable[Allocation], shapes: Collection[NodeShape]) -> bool:
        """Returns whether segments can be placed on empty nodes with these shapes at the same time.

        They are placed by size, the largest first, and those that can have any instance type last.
        """
        places = dict(enumerate(shapes))
        free = {place: self.slots(place, shape) for place, shape in places.items()}
        for item in sorted(allocations, key=lambda item: (-item.devices, item.instance not in self.types)):
            slots = self.placed(item, free, places)
            if slots is None:
                return False
            for place in {slot // self.stride for slot in slots}:
                free[place] = tuple(slot for slot in free[place] if slot not in slots)
        return True

    def slots(self, place: int, shape: NodeShape) -> tuple[int, ...]:
        """Returns the slots of a node."""
        return tuple(range(place * self.stride, place * self.stride + shape[1]))


@final
class FreeCounts:
    """How many devices are free on each node, while segments end one after the other.

    Args:
        free: the number of free devices of each node, by its place.
        shapes: what each node has, by its place.
    """

    def __init__(self, placement: Placement, free: Mapping[int, int], shapes: Mapping[int, NodeShape]) -> None:
        self._placement, self._free, self._shapes = placement, dict(free), shapes
        self._most: dict[NodeShape, int] = {}
        self._n_complete: Counter[NodeShape] = Counter()
        for place, n_free in free.items():
            self._count(place, n_free)

    def fits(self, allocation: Allocation) -> bool:
        """Returns whether `Placement.placed` finds slots for a segment."""
        n_devices = allocation.devices
        for shape, n_nodes in self._placement.homes(n_devices, allocation.instance).items():
            if n_devices <= shape[1]:
                if n_devices <= self._most.get(shape, 0):
                    return True
            elif n_nodes <= self._n_complete[shape]:
                return True
        return False

    def give_back(self, slots: Sequence[int]) -> None:
        """Frees slots; those of other nodes do not count."""
        for slot in slots:
            place = slot // self._placement.stride
            if place in self._free:
                self._free[place] += 1
                self._count(place, self._free[place])

    def _count(self, place: int, n_free: int) -> None:
        shape = self._shapes[place]
        self._most[shape] = max(self._most.get(shape, 0), n_free)
        self._n_complete[shape] += n_free == shape[1]


def free_place(taken: Sequence[int]) -> int:
    """Returns the lowest place that is not taken."""
    return next(place for place in range(len(taken) + 1) if place not in taken)
