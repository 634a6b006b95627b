"""The fuzz benchmark distinguishes four ways of being wrong, and its rule accepts what is sensible."""

from __future__ import annotations

import random
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fuzz
from benchmarks.fuzzing import commands, constructors, documents, study_calls
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
    limit_s = 0.1 if outcome == "hang" else 30.0
    assert fuzz.judged(call, sensible, limit_s)[0] == outcome  # type: ignore[arg-type]


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


def test_the_rule_knows_names_of_studies_and_numbers_that_are_reported() -> None:
    names, horizon = documents.PATHS["study"], documents.PATHS["max_epochs"]
    assert [names.is_sensible(v) for v in ("90s", "20GB", "digits 2", "größe")] == [True] * 4
    assert [names.is_sensible(v) for v in ("", " ", "../x", "a.", "a" * 201, 5, None)] == [False] * 7
    assert [horizon.is_sensible(v) for v in (None, 9, "None")] == [True, False, False]
    reported = [Decimal("5"), Fraction(5, 2), np.float32(1), float("nan"), Decimal("NaN")]
    assert [study_calls.is_real(v) for v in reported] == [True] * 5
    assert [study_calls.is_real(v) for v in ("5", True, None, [1.0])] == [False] * 4


def test_a_keyword_that_replaces_a_bad_value_is_judged_by_its_own() -> None:
    kinds = {"step": integer(1)}
    drawn = [constructors.arguments(random.Random(n), kinds, 0.9) for n in range(2000)]
    assert {sensible for given, sensible in drawn if type(given.get("step")) is int and given["step"] == 1} == {True}


@pytest.mark.parametrize("option", list(commands.GOOD_REPLAYS))
def test_options_of_a_replay_are_sensible_where_the_rule_says_so(option: str, tmp_path: Path) -> None:
    good = commands.GOOD_REPLAYS[option]
    assert commands._is_good("replay", ["replay", "t", option, good[0]]) is True
    assert commands._is_good("replay", ["replay", "t", option, "9" * 500]) is False


def test_hostile_values_come_in_many_kinds() -> None:
    rng = random.Random(0)
    assert len({type(hostile(rng)) for _ in range(2000)}) > 40


@pytest.mark.parametrize(("surface", "n"), [("constructors", 250), ("files", 60), ("hydra", 60)])
def test_a_small_share_breaks_no_promise(surface: str, n: int) -> None:
    found = list(fuzz._tried(surface, 1000, n, hang_s=60))  # other tests use the processors, too
    assert len(found) == n
    assert [item for item in found if item[0] not in ("accepted", "refused")] == []
