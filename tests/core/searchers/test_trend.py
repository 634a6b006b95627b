"""What earlier tasks lead the process of TPE to expect, and how the results of the study correct it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.searchers import TPE, History, Random
from lightning_hwtune.core.searchers.trend import Trend
from lightning_hwtune.core.space import Float, SearchSpace

Floats = npt.NDArray[np.float64]
SPACE = SearchSpace(x=Float(0, 1), y=Float(0, 1))
LOSS = Objectives([Metric("loss", "min")])
BOTH = Objectives([Metric("loss", "min"), Metric("size", "min")])


def configs_of(n: int, seed: int = 0) -> list[dict[str, Any]]:
    return [SPACE.sample(np.random.default_rng(seed + number)) for number in range(n)]


def bowl(config: Mapping[str, Any]) -> float:
    return float((config["x"] - 0.3) ** 2 + (config["y"] - 0.7) ** 2)


def columns(*of: Callable[[Mapping[str, Any]], float]) -> Callable[[Sequence[Mapping[str, Any]]], Floats]:
    return lambda configs: np.array([[value(config) for value in of] for config in configs])


def first(losses: Floats) -> Floats:
    return losses[:, 0]


@given(st.floats(0.1, 10), st.floats(-5, 5), st.integers(6, 60))
@settings(max_examples=30)
def test_the_line_is_that_of_the_results_pulled_towards_no_relation(slope: float, start: float, n: int) -> None:
    configs, expect = configs_of(n), columns(bowl)
    trend = Trend.fitted(expect, first, configs, start + slope * expect(configs))
    assert trend.slopes[0] == pytest.approx(slope * n / (n + 4))
    assert trend.losses(configs).mean() == pytest.approx((start + slope * expect(configs)).mean())


def test_what_is_expected_wrongly_or_never_differs_changes_nothing() -> None:
    configs = configs_of(20)
    expect = columns(lambda config: -bowl(config), lambda config: 1.0, bowl)
    losses = columns(bowl, bowl, bowl)(configs)
    trend = Trend.fitted(expect, lambda losses: losses.sum(axis=1), configs, losses)
    assert trend.slopes[:2].tolist() == [0.0, 0.0]
    assert trend.slopes[2] > 0.5
    assert trend.losses([]).shape == (0,)


def history_of(n: int, objectives: Objectives, *of: Callable[[Mapping[str, Any]], float]) -> History:
    trials = []
    for draw in range(n):
        config = Random().propose(SPACE, draw, 0, History([], objectives)) or {}
        trial = TrialRecord(draw, config, 0, 0, 1, 0.0, draw=draw, decided={1: "pause"})
        values = {name: value(config) for name, value in zip(objectives.names, of, strict=True)}
        trial.measurements = [Measurement(1, values, 1.0, 1.0)]
        trials.append(trial)
    return History(trials, objectives)


def proposals(history: History, expect: Any, n: int = 8) -> list[dict[str, Any]]:
    searcher = TPE(random=0, gaussian=1, min_points=3)
    found = [searcher.proposal(SPACE, 6 + draw, 0, history, expect) for draw in range(n)]
    return [config for config in found if config is not None]


def test_after_six_results_a_good_expectation_leads_to_the_minimum() -> None:
    known = {"nothing": None, "all": columns(bowl), "the opposite": columns(lambda config: -bowl(config))}
    history = history_of(6, LOSS, bowl)
    found = {name: np.median(list(map(bowl, proposals(history, expect)))) for name, expect in known.items()}
    assert found["all"] < 0.01
    assert found["all"] < 0.3 * found["nothing"]
    assert found["the opposite"] == pytest.approx(found["nothing"])


def test_an_objective_that_is_expected_wrongly_does_not_spoil_another_one() -> None:
    """A network that has similar errors, but is slow where the new one is fast."""

    def size(config: Mapping[str, Any]) -> float:
        return float(config["x"])

    history = history_of(9, BOTH, bowl, size)
    known = {
        "nothing": None,
        "both": columns(bowl, size),
        "one": columns(bowl, lambda config: -size(config)),
    }
    found = {name: np.median(list(map(bowl, proposals(history, expect)))) for name, expect in known.items()}
    assert found["both"] < 0.7 * found["nothing"]
    assert found["one"] < 1.05 * found["nothing"]


def test_no_configuration_is_proposed_twice() -> None:
    """The line is best at a corner, which has already been tried."""
    objective = columns(lambda config: config["x"] + config["y"])
    history = history_of(6, LOSS, lambda config: config["x"] + config["y"])
    corner = TrialRecord(6, {"x": 0.0, "y": 0.0}, 0, 0, 1, 0.0, draw=6, decided={1: "pause"})
    corner.measurements = [Measurement(1, {"loss": 0.0}, 1.0, 1.0)]
    found = proposals(History([*history.trials, corner], LOSS), objective)
    assert json.dumps(corner.config) not in {json.dumps(config) for config in found}
