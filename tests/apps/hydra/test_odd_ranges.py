"""Sweeps that are written oddly: an answer at once, whatever the range."""

from __future__ import annotations

import pytest

from lightning_hwtune.apps.hydra.search import read_search
from lightning_hwtune.apps.trainer_settings import as_devices
from lightning_hwtune.core.parameters import Choice, Int
from lightning_hwtune.errors import ArgumentError


@pytest.mark.parametrize(
    "text",
    [
        *("range(0,1,1e-9)", "range(0.0,1e9,1)", "range(0,3,1e-300)", "shuffle(range(0,1000000000))"),
        *(
            "range(0,10,0)",
            "range(nan,3)",
            "range(0,nan)",
            "range(0,inf)",
            "choice()",
            "interval(2,1)",
            "choice(1,1.0)",
        ),
        *("range(0,1000000000000000)", "tag(log,interval(0,1))", "choice(nan,1)", "glob(*)"),
        pytest.param(f"choice({','.join(map(str, range(20_000)))})", id="long"),
        pytest.param("[" * 3000 + "]" * 3000 + ",1", id="deep"),
    ],
)
def test_a_range_without_an_end_or_sense_is_refused(text: str) -> None:
    for params, arguments in (({"x": text}, []), ({}, [f"x={text}"])):
        with pytest.raises(ArgumentError):
            read_search(params, arguments)


def test_a_long_range_of_integers_is_searched_without_being_listed() -> None:
    assert read_search({}, ["x=range(0,1000000000)"]).parameters["x"] == Int(0, 999_999_999)
    assert read_search({}, ["x=range(10,0,-3)"]).parameters["x"] == Int(1, 10, step=3)
    assert read_search({}, ["x=range(5,6)"]).parameters["x"] == Choice([5])
    with pytest.raises(ArgumentError, match="numbers of devices"):
        as_devices("x", Int(1, 10**9))
