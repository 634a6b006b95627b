"""Random streams: a pinned value, independence of name, index and seed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lightning_hwtune.core.streams import stream

keys = st.tuples(st.integers(0, 2**64), st.text(max_size=8), st.integers(0, 2**32 - 1))


def test_streams_are_the_same_in_every_release() -> None:
    assert stream(0, "searcher", 0).integers(2**63, size=2).tolist() == [4901882469125001440, 3545246324743447816]
    assert stream(7, "bracket", 41).random(2).tolist() == [0.922469044941035, 0.0867446448056517]


@given(keys, keys)
def test_equal_keys_give_equal_numbers_and_others_do_not(one: tuple[int, str, int], two: tuple[int, str, int]) -> None:
    first = stream(*one).integers(2**63, size=3).tolist()
    assert first == stream(*one).integers(2**63, size=3).tolist()
    assert (first == stream(*two).integers(2**63, size=3).tolist()) == (one == two)
