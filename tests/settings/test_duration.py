"""Durations as people write them."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.settings import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        (90, 90.0),
        (0.5, 0.5),
        ("90", 90.0),
        ("90s", 90.0),
        ("1.5min", 90.0),
        ("8h", 28800.0),
        ("1d", 86400.0),
        ("1h30min", 5400.0),
        (" 1 h 30 min ", 5400.0),
        ("2M", 120.0),
        (datetime.timedelta(minutes=3), 180.0),
    ],
)
def test_reads(text: object, seconds: float | None):
    assert parse_duration("max_time", text) == seconds  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "h", "8 hours", "8h!", "-5", "5m5", 0, -1, float("inf"), float("nan"), True, [1]])
def test_refuses(text: object):
    with pytest.raises(ArgumentError, match=r"max_time.*allowed: a positive number of seconds") as error:
        parse_duration("max_time", text)  # type: ignore[arg-type]
    assert error.value.received is text


@given(st.integers(0, 99), st.integers(0, 59), st.integers(1, 59))
def test_parts_add_up(hours: int, minutes: int, seconds: int):
    assert parse_duration("t", f"{hours}h{minutes}min{seconds}s") == hours * 3600 + minutes * 60 + seconds
