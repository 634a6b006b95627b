"""Searchers: a draw number is all the state there is."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import qmc

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import TPE, Grid, History, Random, Searcher, Sobol, searcher_from_settings
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.streams import stream
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.searchers.evolution import Evolution

OBJECTIVES = Objectives([Metric("acc", "max"), TrainSeconds()])
EMPTY = History([], OBJECTIVES)
CONTINUOUS = SearchSpace(lr=Float(1e-4, 1e-1, log=True), batch_size=Choice([63, 64]), devices=NumDevices(1, 2))
FINITE = SearchSpace(width=Int(1, 7, log=True), batch_size=Choice([4, 6, 9]), devices=NumDevices(1, 2, 3))


def key(config: dict[str, Any]) -> str:
    return json.dumps(config)


@pytest.mark.parametrize("searcher", [Random(), Grid(), Grid(points_per_float=3)])
@pytest.mark.parametrize("space", [CONTINUOUS, FINITE])
class TestEverySearcher:
    """What holds for each of them, on an infinite and a finite space."""

    def test_a_draw_depends_on_seed_and_number_alone(self, searcher: Searcher, space: SearchSpace) -> None:
        numbers = [5, 0, 3, 5, 1]
        forward = {n: searcher.propose(space, n, 7, EMPTY) for n in sorted(set(numbers))}
        again = SearchSpace.from_dict(space.to_dict())
        trained = History([TrialRecord(0, {}, 0, 0, 1, 0.0)], OBJECTIVES)
        for number in numbers:
            assert searcher.propose(space, number, 7, EMPTY) == forward[number]
            assert searcher.propose(again, number, 7, trained) == forward[number]
        others = [searcher.propose(space, n, 8, EMPTY) for n in range(6)]
        assert others != [searcher.propose(space, n, 7, EMPTY) for n in range(6)]

    def test_every_draw_is_a_configuration(self, searcher: Searcher, space: SearchSpace) -> None:
        searcher.check(space)
        for number in range(20):
            config = searcher.propose(space, number, 0, EMPTY)
            if config is not None:
                assert space.validate(config) == config
                assert key(config) == key(space.validate(config))

    def test_settings_rebuild_it(self, searcher: Searcher, space: SearchSpace) -> None:
        again = searcher_from_settings(json.loads(json.dumps(searcher.settings())))
        assert again == searcher
        assert again.propose(space, 2, 0, EMPTY) == searcher.propose(space, 2, 0, EMPTY)


@pytest.mark.parametrize("searcher", [Random(), Grid()])
@given(
    width=st.integers(2, 6),
    batch_sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True),
    counts=st.sets(st.integers(2, 5), max_size=3),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=30)
def test_a_finite_space_is_gone_through_once_and_then_ends(
    searcher: Searcher, width: int, batch_sizes: list[int], counts: set[int], seed: int
) -> None:
    space = SearchSpace(width=Int(1, width, log=True), batch_size=Choice(batch_sizes), devices=NumDevices(1, *counts))
    n = space.size
    assert n is not None
    draws = [searcher.propose(space, number, seed, EMPTY) for number in range(n + 2)]
    assert draws[n:] == [None, None]
    assert sorted(key(c) for c in draws[:n] if c is not None) == sorted(key(c) for c in space.grid())


def test_the_first_draw_of_a_finite_space_has_the_probabilities_of_sampling() -> None:
    grid, rng = FINITE.grid(), np.random.default_rng(0)
    weights = FINITE.probabilities(grid)
    firsts = [Random().propose(FINITE, 0, seed, EMPTY) for seed in range(2000)]
    observed = [firsts.count(config) for config in grid]
    assert stats.chisquare(observed, 2000 * weights / weights.sum()).pvalue > 0.01
    samples = [FINITE.sample(rng) for _ in range(2000)]
    both = [observed, [samples.count(config) for config in grid]]
    assert stats.chi2_contingency(both).pvalue > 0.01


def test_random_draws_of_a_float_are_independent_and_uniform() -> None:
    draws = [Random().propose(CONTINUOUS, number, 0, EMPTY) for number in range(2000)]
    logs = np.log10([draw["lr"] for draw in draws if draw is not None])
    assert stats.kstest(logs, stats.uniform(-4, 3).cdf).pvalue > 0.01
    assert abs(stats.spearmanr(logs[:-1], logs[1:]).statistic) < 4 / math.sqrt(2000)


def test_a_large_finite_space_is_sampled_without_listing_it() -> None:
    space = SearchSpace({f"x{i}": Int(0, 1023) for i in range(10)})
    assert space.size == 2**100
    assert space.validate(Random().propose(space, 10**6, 0, EMPTY) or {})


def test_random_draws_are_the_same_in_every_release() -> None:
    first = Random().propose(CONTINUOUS, 3, 1, EMPTY)
    assert first == {"lr": pytest.approx(0.0012755735396481678, rel=1e-12), "batch_size": 64, "devices": 2}
    assert Random().propose(FINITE, 3, 1, EMPTY) == {"width": 1, "batch_size": 6, "devices": 3}
    assert Grid().propose(FINITE, 3, 1, EMPTY) == {"width": 2, "batch_size": 9, "devices": 1}


def test_a_prefix_of_the_grid_is_spread() -> None:
    space = SearchSpace(a=Int(1, 100), b=Int(1, 100))
    prefix = [Grid().propose(space, number, 0, EMPTY) or {} for number in range(400)]
    for name in ("a", "b"):
        assert stats.kstest([c[name] for c in prefix], stats.uniform(0.5, 100).cdf).pvalue > 0.01


def test_a_grid_that_is_too_large_is_refused_beforehand() -> None:
    space = SearchSpace(x=Int(1, 1002), y=Int(1, 1000))
    with pytest.raises(ArgumentError, match="1002000 combinations"):
        Grid().check(space)
    Random().check(space)


@pytest.mark.parametrize("searcher", [Random(), Sobol(), Grid(), TPE(), Evolution()])
def test_a_space_in_which_no_batch_divides_is_refused_beforehand(searcher: Searcher) -> None:
    space = SearchSpace(batch_size=Choice([3]), devices=NumDevices(2))

    def study(space: SearchSpace) -> StudySpec:
        objectives = Objectives([Metric("error", "min"), TrainSeconds()])
        return StudySpec("batches", space, objectives, ASHA(max_epochs=3), searcher, Pool("cpu", 2))

    with pytest.raises(ArgumentError, match="No batch size is divisible"):
        study(space)
    assert study(space.constrained(None)).searcher == searcher


@pytest.mark.parametrize("points", [1, 0, 2.5, True, "5"])
def test_points_per_float_is_checked(points: Any) -> None:
    with pytest.raises(ArgumentError, match=r"Grid\.points_per_float"):
        Grid(points)


@pytest.mark.parametrize(
    ("given_settings", "text"),
    [
        ({"name": "bayes"}, "'bayes'; allowed: random, sobol, grid"),
        ({}, "None; allowed: random, sobol, grid"),
        ({"name": "grid", "points": 3}, "points_per_float"),
        ({"name": "random", "points": 3}, "no arguments"),
    ],
)
def test_unknown_settings_are_refused(given_settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        searcher_from_settings(given_settings)


def test_sobol_fills_the_space_more_evenly_than_random() -> None:
    space = SearchSpace(a=Float(0, 1), b=Float(1, 100, log=True))
    discrepancies = []
    for searcher in (Sobol(), Random()):
        points = space.encode_many(searcher.propose(space, draw, 2, EMPTY) or {} for draw in range(256))
        discrepancies.append(qmc.discrepancy(points))
    assert discrepancies[0] < 0.1 * discrepancies[1]


def test_sobol_is_scipys_sequence_as_far_as_the_batch_rule_allows() -> None:
    expected = qmc.Sobol(3, scramble=True, rng=stream(5, "sobol", 0)).random_base2(10)
    configs = [dict(zip(CONTINUOUS, cells, strict=True)) for cells in expected.tolist()]
    configs = [{name: CONTINUOUS[name].quantile(share) for name, share in c.items()} for c in configs]
    allowed = [config for config in configs if CONTINUOUS.allows(config)]
    assert len(allowed) < len(configs)
    assert [Sobol().propose(CONTINUOUS, draw, 5, EMPTY) for draw in range(200)] == allowed[:200]
