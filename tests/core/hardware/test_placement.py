"""Where segments go among nodes, and what is known about it between two events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.hardware.placement import FreeCounts, Placement
from lightning_hwtune.core.hardware.pool import NODE, Pool


@given(st.data(), st.integers(1, 4), st.integers(1, 5))
def test_counts_of_free_devices_say_what_has_a_place(data: st.DataObject, size: int, n_nodes: int) -> None:
    """While slots are given back, also those of a node that is not there."""
    slots = range((n_nodes + 1) * size)
    taken = data.draw(st.sets(st.sampled_from(slots)))
    free = {p: [s for s in range(p * size, (p + 1) * size) if s not in taken] for p in range(n_nodes)}
    placement, shapes = Placement(Pool("cpu", devices=size, nodes=5)), dict.fromkeys(free, (NODE, size))
    counts = FreeCounts(placement, {place: len(own) for place, own in free.items()}, shapes)
    for slot in [None, *data.draw(st.permutations(sorted(taken)))]:
        if slot is not None:
            counts.give_back([slot])
            if slot // size in free:
                free[slot // size] = sorted([*free[slot // size], slot])
        for n in range(1, n_nodes * size + 2):
            assert counts.fits(Allocation(n)) == (placement.placed(Allocation(n), free, shapes) is not None)
