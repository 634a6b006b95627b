"""What every store of fronts must answer, compared with fronts that are computed again after each arrival."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slow_ranking as slow
from hypothesis import strategies as st

from lightning_hwtune.core.ranking.front_sets import FrontSets, Members

Points = list[tuple[float, ...]]


@st.composite
def points(draw: st.DrawFn, n_objectives: st.SearchStrategy[int], max_size: int = 25) -> Points:
    """Points on a small grid, so that ties and duplicates are frequent."""
    n = draw(n_objectives)
    return draw(st.lists(st.tuples(*[st.integers(0, 5).map(float)] * n), min_size=1, max_size=max_size))


def by_id(members: Members) -> dict[int, tuple[float, ...]]:
    ids, losses = members
    assert len(set(ids.tolist())) == len(ids) == len(losses)
    return {i: tuple(loss) for i, loss in zip(ids.tolist(), losses.tolist(), strict=True)}


def stored(store: FrontSets) -> list[dict[int, tuple[float, ...]]]:
    return [by_id(store.members(front)) for front in range(store.n_fronts)]


def check_arrivals(store: FrontSets, arriving: Points, closing: Sequence[int]) -> None:
    """Adds the points one by one; after each, closes the trial that `closing` has for it, if that one is open."""
    closed: set[int] = set()
    for trial_id, point in enumerate(arriving):
        before, front = stored(store), store.front_of(point)
        foreseen = by_id(store.members_with(trial_id, point, front))
        assert stored(store) == before  # questions change nothing
        changed = store.insert(trial_id, point, front)
        after = stored(store)
        assert after == [{i: arriving[i] for i in ids} for ids in slow.fronts(arriving[: trial_id + 1])]
        assert trial_id in after[front]
        assert foreseen == after[front]
        assert list(changed) == [i for i, members in enumerate(after) if members != dict(enumerate(before)).get(i)]
        if (gone := closing[trial_id]) <= trial_id and gone not in closed:
            closed.add(gone)
            store.close(gone, arriving[gone])
        check_counts(store, after, closed)


def check_counts(store: FrontSets, fronts: list[dict[int, tuple[float, ...]]], closed: set[int]) -> None:
    sizes = [len(front) for front in fronts]
    is_open = [any(i not in closed for i in front) for front in fronts]
    for i, front in enumerate(fronts):
        assert (store.size(i), store.n_ahead(i), store.has_open(i)) == (sizes[i], sum(sizes[:i]), is_open[i])
        ids, _ = store.members(i)
        assert np.array_equal(store.is_open(i), [trial_id not in closed for trial_id in ids.tolist()])
        assert all(store.front_of(loss) == i for loss in front.values())
        assert store.fronts_with_open(i) == [j for j in range(i) if is_open[j]]
    assert (store.size(len(fronts)), store.has_open(len(fronts))) == (0, False)
    for k in range(sum(sizes) + 2):
        whole = next((i for i in range(len(sizes)) if sum(sizes[: i + 1]) > k), len(sizes))
        assert store.split(k) == (whole, k - sum(sizes[:whole]))
