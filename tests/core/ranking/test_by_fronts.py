from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import slow_ranking as slow
from front_store_rules import Points, points

from lightning_hwtune.core.ranking.by_fronts import ByFronts
from lightning_hwtune.core.ranking.finite import Span


@settings(max_examples=60)
@given(points(st.integers(2, 3), max_size=18), st.sampled_from([0, 200]), st.data())
def test_places_are_those_in_the_slow_order_of_all_trials(
    arriving: Points, exact_up_to: int, data: st.DataObject
) -> None:
    ranking, open_ids = ByFronts(len(arriving[0]), "farthest_first", exact_up_to), set[int]()
    for trial_id, loss in enumerate(arriving):
        k = data.draw(st.integers(0, trial_id + 1))
        known = ranking.order()
        foreseen = ranking.arrival(trial_id, loss, k)
        assert ranking.order() == known  # a question changes nothing
        ranking.insert(trial_id, loss)
        open_ids.add(trial_id)
        order = slow.total_order(arriving[: trial_id + 1])
        assert ranking.order() == order
        fronts, rank = slow.fronts(arriving[: trial_id + 1]), order.index(trial_id)
        for span in (foreseen, ranking.place(trial_id, loss, k)):
            assert trial_id in fronts[span.front or 0]
            assert span.first <= rank <= span.last
            assert span.is_in == (rank < k)
            assert span.first == span.last or exact_up_to == 0
        if data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(sorted(open_ids)))
            ranking.close(gone, arriving[gone])
            open_ids.remove(gone)
        excluded = data.draw(st.sets(st.integers(0, trial_id), max_size=3))
        first = next((i for i in order[:k] if i in open_ids - excluded), None)
        assert ranking.first_open(k, excluded) == first


@pytest.mark.parametrize(
    ("exact_up_to", "k", "place"),
    [
        (10, 0, Span(0, 1, 1, False)),
        (0, 0, Span(0, 0, 2, False)),  # all of the front is out
        (0, 3, Span(0, 0, 2, True)),  # all of it is in
        (0, 2, Span(0, 1, 1, True)),  # the order decides
        (0, 1, Span(0, 1, 2, False)),  # known not to be the first, which is enough
    ],
)
def test_a_large_rung_has_exact_ranks_only_where_they_decide(exact_up_to: int, k: int, place: Span) -> None:
    ranking = ByFronts(2, "farthest_first", exact_up_to)
    for trial_id, loss in enumerate([(0.0, 4.0), (4.0, 0.0), (1.0, 2.0)]):
        ranking.insert(trial_id, loss)
    assert ranking.order() == [0, 1, 2]
    assert ranking.place(1, (4.0, 0.0), k) == place


def test_a_wider_scale_changes_an_order_that_was_kept() -> None:
    ranking, losses = ByFronts(2, "farthest_first", 100), [(0.0, 20.0), (2.0, 10.0), (10.0, 7.0), (20.0, 0.0)]
    for trial_id, loss in enumerate(losses):
        ranking.insert(trial_id, loss)
    assert [ranking.place(i, loss, 4).first for i, loss in enumerate(losses)] == [
        slow.total_order(losses).index(i) for i in range(4)
    ]
    losses.append((2000.0, 20.0))
    ranking.insert(4, losses[4])
    assert [ranking.place(i, loss, 5).first for i, loss in enumerate(losses)] == [
        slow.total_order(losses).index(i) for i in range(5)
    ]
