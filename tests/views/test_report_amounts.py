from __future__ import annotations

import math

import pytest

from lightning_hwtune.views.amounts import amount, config_text, counted, cut, duration, money, number, share, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"), (0.0004, "0 s"), (0.42, "0.42 s"), (9.97, "10 s"), (12.4, "12 s"), (59.6, "1 min 00 s"),
        (185, "3 min 05 s"), (3599.7, "1 h 00 min"), (7500, "2 h 05 min"), (97_200, "1 d 03 h"), (math.nan, "?"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1200, "1.2 kB"), (999_900, "1 MB"), (12_345_678, "12 MB"), (2e9, "2 GB")],
)
def test_sizes(n_bytes, text):
    assert size(n_bytes) == text


def test_numbers_and_their_units():
    assert [number(x) for x in (0.123456, 3, "a", None, True, math.nan)] == ["0.1235", "3", "a", "", "True", "nan"]
    assert amount(0.5, "s") == "0.5 s"
    assert amount(0.5, "") == "0.5"
    assert [money(x) for x in (12.3, 0.0123)] == ["12.30 USD", "0.012 USD"]
    assert [share(1, 3), share(0, 0)] == ["33 %", "?"]
    assert [counted(n, "epochs") for n in (0, 1, 2)] == ["0 epochs", "1 epoch", "2 epochs"]
    assert config_text({"lr": 0.012345678, "width": 64, "name": "b"}) == "lr=0.01235, width=64, name=b"


def test_what_is_cut_is_one_line_of_that_width():
    assert cut("a\n  b", 10) == "a b"
    assert cut("abcdefghij", 10) == "abcdefghij"
    assert cut("abcdefghijk", 10) == "abcdefghi…"
