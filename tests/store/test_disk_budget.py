from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import format_bytes, parse_bytes
from lightning_hwtune.store.disk_budget import Candidate, Standing, evictions

BYTES = [
    (1, 1),
    ("500", 500),
    ("500B", 500),
    ("1kB", 1000),
    ("20GB", 20_000_000_000),
    ("20 gb", 20_000_000_000),
    (" 1.5 TiB ", 3 * 2**39),
    ("0.5MiB", 2**19),
    ("1.001GB", 1_001_000_000),
    ("2PB", 2 * 10**15),
    (None, None),
]


@pytest.mark.parametrize(("value", "n_bytes"), BYTES)
def test_parse_bytes(value: int | str | None, n_bytes: int | None) -> None:
    assert parse_bytes(value) == n_bytes


@pytest.mark.parametrize(
    "value", [0, -1, True, 1.5, "", "GB", "-1GB", "1e9", "1 GB 2", "20 bananas", "0GB", "0.1B", "1G", [1]]
)
def test_what_is_no_number_of_bytes(value: object) -> None:
    with pytest.raises(ArgumentError, match=r"`disk_budget`.*'20GB'.*or None"):
        parse_bytes(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (999_999, "1 MB"), (1_500_000_000, "1.5 GB"), (20 * 10**9, "20 GB")],
)
def test_format_bytes(n_bytes: int, text: str) -> None:
    assert format_bytes(n_bytes) == text


def candidate(trial_id: int, n_bytes: int, standing: Standing, place: int = 0) -> Candidate:
    return Candidate(trial_id, f"trials/{trial_id:03d}/x.ckpt", n_bytes, standing, place)


def test_order_of_eviction() -> None:
    everyone = [
        candidate(0, 10, Standing.PAUSED, place=0),
        candidate(1, 10, Standing.PAUSED, place=7),
        candidate(2, 10, Standing.KEPT),
        candidate(3, 10, Standing.ENDED),
        candidate(4, 30, Standing.ENDED),
        candidate(5, 10, Standing.UNPROMOTABLE),
    ]
    assert [victim.trial_id for victim in evictions(everyone, 1)] == [4, 3, 5, 1, 0]
    assert [victim.trial_id for victim in evictions(everyone, 40)] == [4, 3]
    assert [victim.trial_id for victim in evictions(everyone, 39)] == [4, 3, 5]
    assert evictions(everyone, 80) == []
    assert evictions(everyone, None) == []


def test_the_reason_has_the_numbers() -> None:
    (victim,) = evictions([candidate(3, 2_500_000, Standing.ENDED)], 2_000_000)
    assert victim.reason == (
        "disk budget: all checkpoints together take 2.5 MB, more than `disk_budget` allows (2 MB), and this trial has "
        "ended and is not on the front"
    )
    assert victim.path == "trials/003/x.ckpt"


@given(
    st.lists(st.tuples(st.integers(0, 100), st.sampled_from(Standing), st.integers(0, 20)), max_size=20),
    st.integers(1, 500),
)
def test_no_more_goes_than_must_and_the_kept_stay(raw: list[tuple[int, Standing, int]], budget_bytes: int) -> None:
    everyone = [candidate(i, n_bytes, standing, place) for i, (n_bytes, standing, place) in enumerate(raw)]
    gone = [victim.trial_id for victim in evictions(everyone, budget_bytes)]
    assert len(set(gone)) == len(gone)
    assert all(everyone[i].standing is not Standing.KEPT for i in gone)
    left = sum(c.n_bytes for c in everyone if c.trial_id not in gone)
    evictable = {c.trial_id for c in everyone if c.standing is not Standing.KEPT}
    assert left <= budget_bytes or set(gone) == evictable
    if gone:  # without the last one it would still be too much
        assert left + everyone[gone[-1]].n_bytes > budget_bytes
    keys = [(everyone[i].standing, -everyone[i].place) for i in gone]
    assert keys == sorted(keys)
