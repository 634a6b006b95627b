"""The guard: under no interleaving of ticks, requests, stragglers and losses do the bills exceed the budget."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_hwtune.core.hardware.billing import Node, bill
from lightning_hwtune.core.hardware.catalogue import InstanceType
from lightning_hwtune.core.hardware.guard import Guard, Held

SECONDS = st.integers(0, 4000).map(lambda eighths: eighths / 8)  # sums of these are exact
SHARE = st.integers(0, 8).map(lambda eighths: eighths / 8)
TYPES = [
    InstanceType("exact", 36.0, vcpus=1),
    InstanceType("aws", 7.2, devices=1, provider="aws", usd_per_hour_spot=3.0),
    InstanceType("azure", 12.0, devices=2, provider="azure"),
]
STEPS = st.lists(
    st.tuples(
        SHARE,  # of a tick, until the next look
        st.sampled_from(["wait", "request", "request spot", "begin", "lose"]),
        st.integers(0, 2),  # which type, or which node
        SECONDS,  # expected until a report
        SHARE,  # of the time to save, until a released node is no longer billed
    ),
    max_size=40,
)


def usd(held: list[Held], now: float) -> float:
    return math.fsum(bill(item.node, now) for item in held)


@given(st.floats(0, 5), st.integers(1, 480).map(lambda n: n / 8), SECONDS.map(lambda s: s / 8), STEPS)
@settings(max_examples=300, deadline=None)
def test_the_bills_never_exceed_the_budget(
    budget: float, tick_s: float, save_s: float, steps: list[tuple[float, str, int, float, float]]
) -> None:
    """Segments never report and never end: each node is up until the guard releases it, or until it is lost."""
    guard, held, now = Guard(budget, tick_s, save_s), list[Held](), 0.0
    for share, action, which, expected_s, delay in steps:
        now += share * tick_s
        for place in guard.to_release(held, now):
            held[place] = Held(dataclasses.replace(held[place].node, released_at=now + delay * save_s))
        if action.startswith("request"):
            kind = TYPES[which]
            is_spot = action == "request spot" and kind.usd_per_hour_spot is not None
            new = Node(kind, now, is_spot=is_spot)
            if guard.allows(held, now, new=new, expected_s=expected_s):
                held.append(Held(new, (len(held),)))
        elif action == "lose" and which < len(held) and held[which].is_kept:
            lost = dataclasses.replace(held[which].node, released_at=now, is_lost=True)
            held[which] = Held(lost)
        assert usd(held, now) <= budget
        assert usd(held, now + tick_s) <= budget, "until the next look"
    for place in guard.to_release(held, now + tick_s):
        held[place] = Held(dataclasses.replace(held[place].node, released_at=now + tick_s + save_s))
    assert usd(held, now + tick_s + save_s) <= budget


EXACT = TYPES[0]  # one cent per second


def up(*ranks: int, since: float = 0.0) -> Held:
    return Held(Node(EXACT, since), ranks)


def test_work_begins_only_if_its_report_fits_with_half_as_much_again() -> None:
    guard = Guard(1.0, tick_s=5.0, save_s=5.0)  # 100 s of one node
    new = Node(EXACT, 0.0)
    assert guard.allows([], 0.0, new=new, expected_s=60.0)
    assert not guard.allows([], 0.0, new=new, expected_s=60.1)
    assert guard.allows([up(0)], 30.0, on=0, expected_s=40.0)
    assert not guard.allows([up(0)], 30.0, on=0, expected_s=40.1)
    assert guard.allows([up(0)], 90.0)
    assert not guard.allows([up(0)], 90.1)


def test_the_minimum_of_a_provider_is_kept_back_before_a_request() -> None:
    aws = Node(TYPES[1], 0.0)  # a minute costs 0.12
    usd = bill(aws, 1.0)
    assert usd == pytest.approx(0.12)
    assert Guard(usd, 1.0, 1.0).allows([], 0.0, new=aws)
    assert not Guard(math.nextafter(usd, 0.0), 1.0, 1.0).allows([], 0.0, new=aws)


@pytest.mark.parametrize(
    ("now", "released"),
    [(20.0, []), (40.0, []), (40.1, [1]), (42.5, [1]), (42.6, [1, 0]), (45.0, [1, 0])],
)
def test_nodes_are_released_only_when_another_tick_would_not_fit(now: float, released: list[int]) -> None:
    guard = Guard(1.0, tick_s=5.0, save_s=5.0)  # two nodes for 50 s
    assert guard.to_release([up(0), up(1)], now) == released


@pytest.mark.parametrize(
    ("ranks", "order"),
    [(((0,), (3,), ()), [2, 1, 0]), (((5, 0), (3, 4)), [1, 0]), (((1,), (0,), (2,)), [2, 0, 1])],
)
def test_idle_nodes_go_first_then_those_whose_best_trial_ranks_worst(
    ranks: tuple[tuple[int, ...], ...], order: list[int]
) -> None:
    nodes = [up(*each) for each in ranks]
    assert Guard(0.0, 5.0, 5.0).to_release(nodes, 10.0) == order
    assert Guard(math.inf, 5.0, 5.0).to_release(nodes, 10.0) == []


def test_a_node_that_is_released_already_is_not_named_again_but_its_bill_counts() -> None:
    done = Held(Node(EXACT, 0.0, released_at=80.0))
    assert Guard(1.0, 5.0, 5.0).to_release([done, up(0, since=80.0)], 85.0) == []
    assert Guard(1.0, 5.0, 5.0).to_release([done, up(0, since=80.0)], 91.0) == [1]
