"""The fuzz benchmark tells the four ways of being wrong apart, and its rule takes what is sensible."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fuzz
from benchmarks.fuzzing import constructors, documents
from benchmarks.fuzzing.values import hostile, integer, is_option, number
from lightning_hwtune.errors import ArgumentError


def _refuse() -> None:
    raise ArgumentError("x", 1, "2")


def _fail() -> None:
    raise AttributeError("bare")


def _wait() -> None:
    time.sleep(60)


@pytest.mark.parametrize(
    ("call", "sensible", "outcome"),
    [
        (int, True, "accepted"),
        (int, None, "accepted"),
        (int, False, "nonsense_accepted"),
        (_refuse, False, "refused"),
        (_refuse, None, "refused"),
        (_refuse, True, "sense_refused"),
        (_fail, False, "bare"),
        (_fail, True, "bare"),
        (_wait, True, "hang"),
    ],
)
def test_each_outcome_is_told(call: object, sensible: bool | None, outcome: str) -> None:
    assert fuzz.judged(call, sensible, 0.1)[0] == outcome  # type: ignore[arg-type]


def test_an_input_depends_on_its_seed_and_number_alone(tmp_path: Path) -> None:
    for draw in (constructors.constructor, documents.study_file):
        first, second = (draw(random.Random("0/x/7"), tmp_path) for _ in range(2))
        assert (first[0], first[2]) == (second[0], second[2])


def test_the_rule_knows_numbers_and_options() -> None:
    whole, share = integer(1), number(0, 1, below=True)
    assert [whole.is_sensible(v) for v in (1, 2.0, np.int8(3), np.array(4))] == [True] * 4
    assert [whole.is_sensible(v) for v in (0, True, "1", 1.5, 2**54, None, float("nan"), 1e308)] == [False] * 8
    assert [share.is_sensible(v) for v in (0, 0.5, 1, True, "0")] == [True, True, False, False, False]
    assert is_option([{"a": [None, 1.5]}])
    assert not any(map(is_option, ({1: 2}, object(), float("inf"), 2**64, "\udcff")))


def test_hostile_values_come_in_many_kinds() -> None:
    rng = random.Random(0)
    assert len({type(hostile(rng)) for _ in range(2000)}) > 40


@pytest.mark.parametrize(("surface", "n"), [("constructors", 250), ("files", 60), ("hydra", 60)])
def test_a_small_share_breaks_no_promise(surface: str, n: int) -> None:
    found = list(fuzz._tried(surface, 1000, n))
    assert len(found) == n
    assert [item for item in found if item[0] not in ("accepted", "refused")] == []
