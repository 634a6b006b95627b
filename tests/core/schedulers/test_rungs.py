from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_hwtune.core.schedulers.rungs import exact_eta, horizon, plain_eta, quota, rung_levels
from lightning_hwtune.errors import ArgumentError


@pytest.mark.parametrize(
    ("first", "last", "eta", "levels"),
    [
        (1, 243, 3, (1, 3, 9, 27, 81, 243)),
        (1, 1000, 10, (1, 10, 100, 1000)),
        (1, 27, 3, (1, 3, 9, 27)),
        (1, 26, 3, (1, 3, 9, 26)),
        (1, 28, 3, (1, 3, 9, 27, 28)),
        (2, 27, 3, (2, 6, 18, 27)),
        (5, 5, 3, (5,)),
        (1, 1, 2, (1,)),
        (1, 8, Fraction(3, 2), (1, 2, 3, 5, 7, 8)),
        (10, 30, exact_eta(2.3), (10, 23, 30)),
    ],
)
def test_levels(first: int, last: int, eta: int, levels: tuple[int, ...]) -> None:
    assert rung_levels(first, last, eta) == levels


@given(st.integers(1, 1000), st.integers(0, 10**6), st.integers(2, 16))
def test_levels_are_exact_powers_and_then_the_end(first: int, more: int, eta: int) -> None:
    last = first + more
    levels = rung_levels(first, last, eta)
    assert levels[-1] == last
    assert levels[:-1] == tuple(first * eta**k for k in range(len(levels) - 1))
    assert all(level < last for level in levels[:-1])
    assert first * eta ** (len(levels) - 1) >= last


@given(st.integers(1, 100), st.integers(0, 5000), st.fractions(Fraction(11, 10), 16, max_denominator=50))
def test_levels_of_a_fraction_are_rounded_down_and_rise(first: int, more: int, eta: Fraction) -> None:
    levels = rung_levels(first, first + more, eta)
    assert list(levels) == sorted(set(levels))
    powers, power = set(), Fraction(first)
    while power < first + more:
        powers.add(power.numerator // power.denominator)
        power *= eta
    assert set(levels) == powers | {first + more}


@given(st.integers(0, 10**9), st.fractions(Fraction(11, 10), 1000))
def test_the_quota_is_n_over_eta_rounded_down(n: int, eta: Fraction) -> None:
    assert quota(n, eta) <= n / eta < quota(n, eta) + 1


@pytest.mark.parametrize(
    ("eta", "exact", "plain"),
    [
        (3, 3, 3),
        (2.5, Fraction(5, 2), "5/2"),
        (2.3, Fraction(23, 10), "23/10"),
        ("5/2", Fraction(5, 2), "5/2"),
        (4.0, 4, 4),
    ],
)
def test_eta_is_exact_and_comes_back_from_the_log(eta: object, exact: Fraction, plain: object) -> None:
    assert exact_eta(eta) == exact
    assert plain_eta(exact_eta(eta)) == plain
    assert exact_eta(plain) == exact


@pytest.mark.parametrize("eta", [1, 1.05, 0, -3, True, None, "three", "1/0", float("nan"), float("inf")])
def test_an_eta_that_is_no_number_above_1_is_refused(eta: object) -> None:
    with pytest.raises(ArgumentError, match="eta"):
        exact_eta(eta)


@pytest.mark.parametrize(("first", "last"), [(0, 9), (10, 9), (-1, 9)])
def test_a_first_rung_outside_the_training_is_refused(first: int, last: int) -> None:
    with pytest.raises(ArgumentError, match="first_rung"):
        rung_levels(first, last, 3)


def test_the_horizon_has_one_unit() -> None:
    assert horizon(27, None, None) == ("epochs", 27)
    assert horizon(None, 1000, None) == ("steps", 1000)
    assert horizon(None, None, 10**6) == ("samples", 10**6)


@pytest.mark.parametrize("given", [(None, None, None), (1, 1, None), (1, 1, 1)])
def test_another_horizon_is_refused(given: tuple[int | None, int | None, int | None]) -> None:
    with pytest.raises(ArgumentError, match="max_"):
        horizon(*given)
