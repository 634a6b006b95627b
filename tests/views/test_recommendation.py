"""The recommended trial: the knee, or what weights choose, and the reason in words."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from stored_study import store
from typer.testing import CliRunner

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.views.recommendation import checked_weights, recommended

TWO = Objectives([Metric("e", "min"), Metric("size", "max")])


class Points:
    """Trial number x has the values of row x."""

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        self.rows, self.metrics, self.max_resource = rows, ("e", "size"), 1

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        return dict(zip(self.metrics, self.rows[config["x"]], strict=False))

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        return float(resource)

    def usd_per_s(self, config: Mapping[str, Any], num_devices: int) -> float:
        return 0.0


def study(rows: Sequence[Sequence[float]], objectives: Objectives = TWO) -> StudyFacts:
    space = hwt.SearchSpace(x=hwt.Choice(list(range(len(rows)))))
    spec = StudySpec("s", space, objectives, hwt.RunToEnd(1), hwt.Grid(), hwt.Pool("cpu", 1))
    return simulate(spec, Points(rows), Limits(len(rows)))


def chosen(rows: Sequence[Sequence[float]], weights: Any = None, objectives: Objectives = TWO) -> tuple[float, str]:
    """Returns the first value of the recommended trial, and the reason."""
    numbers = None if weights is None else checked_weights(weights, objectives)
    found = recommended(study(rows, objectives), numbers)
    assert found is not None
    return found[0].measurement.values["e"], found[1]


E = np.linspace(0, 1, 21)
KNEE = [[e, -((1 - e) ** 6)] for e in E]  # the larger the size the better, in a curve with a knee
SHARP = [[0.0, 0.0], [0.1, 80.0], [0.12, 100.0], [0.5, 103.0], [0.9, 106.0], [1.0, 107.0]]


def test_the_knee_is_recommended_with_the_reason() -> None:
    value, reason = chosen(KNEE)
    assert 0.15 < value < 0.45
    assert reason.startswith("it is a knee of the front: any change nearby loses much and gains little")
    assert f"e {value:.4g} (best: 0)" in reason
    assert chosen(SHARP)[0] == pytest.approx(0.12)


@pytest.mark.parametrize("rows", [SHARP, KNEE], ids=["sharp", "smooth"])
@pytest.mark.parametrize("factors", [(1000.0, 1.0), (1.0, 1e-6)])
def test_units_do_not_matter(rows: list[list[float]], factors: tuple[float, float]) -> None:
    scaled = [[e * factors[0], size * factors[1]] for e, size in rows]
    assert chosen(scaled)[0] == pytest.approx(chosen(rows)[0] * factors[0])


@pytest.mark.parametrize(
    ("weights", "low", "high"),
    [
        ({"e": 1}, 0, 0),
        ({"size": 3.5}, 1, 1),
        ({"e": 1, "size": 1}, 0.2, 0.3),
        ([1, 1], 0.2, 0.3),
        ((9, 1), 0.01, 0.15),
        (np.array([1, 9]), 0.3, 0.9),
        ({"e": 1e300, "size": 1e300}, 0.2, 0.3),
    ],
)
def test_weights_choose_the_place_on_the_front(weights: Any, low: float, high: float) -> None:
    value, reason = chosen(KNEE, weights)
    assert low <= value <= high
    assert "it fits the weights" in reason
    assert "its place on the front has the weights e " in reason


def test_more_weight_never_means_a_worse_value() -> None:
    values = [chosen(KNEE, {"e": weight, "size": 1})[0] for weight in (0.01, 0.1, 0.5, 1, 2, 10, 100)]
    assert values == sorted(values, reverse=True)


def test_an_exploded_loss_is_not_recommended_and_changes_nothing() -> None:
    rows = [[0.10, -100.0], [0.12, -50.0], [0.2, -20.0], [0.5, -10.0], [0.6, -9.0]]
    bad = [1e6, -1.0]  # on the front, as the smallest
    for weights in (None, {"e": 1, "size": 1}):
        assert chosen([*rows, bad], weights)[0] == chosen(rows, weights)[0]
    assert chosen([*rows, bad], {"size": 1})[0] == 0.6


@pytest.mark.parametrize("rows", [[[0.3, 1.0]], [[0.3, 1.0], [0.4, 0.5]], [[0.3, 1.0]] * 5])
def test_one_member_is_recommended_whatever_the_weights(rows: list[list[float]]) -> None:
    for weights in (None, {"e": 1}, {"size": 2}):
        assert chosen(rows, weights)[0] == 0.3


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_a_small_front_has_a_recommendation(n: int) -> None:
    value, reason = chosen([[float(i), float(i * i)] for i in range(n)])
    assert 0 <= value < n
    assert "nearest to the best of every objective" in reason or "knee" in reason


def test_one_objective_and_an_empty_front() -> None:
    one = Objectives([Metric("e", "min")])
    assert chosen([[0.5], [0.2], [0.9]], objectives=one)[0] == 0.2
    assert recommended(study([[math.nan, 1.0]])) is None


def test_the_filters_of_warnings_stay_as_they_are() -> None:
    before = list(warnings.filters)
    chosen(KNEE)
    assert warnings.filters == before


@pytest.mark.parametrize(
    "wrong",
    [{}, {"e": -1}, {"e": math.nan}, {"e": "much"}, [1], [1, 2, 3], [0, 0], "equal", 3, {"error": 1}, [1, None]],
)
def test_wrong_weights_are_refused(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match=r"`weights` is .*allowed"):
        checked_weights(wrong, TWO)


def test_a_wrong_name_in_the_weights_gets_the_nearest_one() -> None:
    with pytest.raises(ArgumentError, match="did you mean 'size'"):
        checked_weights({"sise": 1}, TWO)


def test_a_study_and_the_command_recommend_the_same_trial(tmp_path: Path) -> None:
    store(tmp_path)
    done = hwt.Study.load("digits", tmp_path)
    found = done.recommend()
    assert found.trial_id in done.front()["trial"].tolist()
    assert found.checkpoint is not None
    assert found.checkpoint.exists()
    shown = CliRunner().invoke(app, ["best", "--dir", str(tmp_path)]).output
    assert f"recommended: trial {found.trial_id}, because {found.reason}" in shown.replace("\n", "")
    assert "recommended" not in CliRunner().invoke(app, ["best", "--dir", str(tmp_path), "--format", "json"]).output
    assert done.recommend({"train_s": 1}).trial_id == done.front().sort_values("train_s")["trial"].iloc[0]
    with pytest.raises(ArgumentError, match="did you mean 'train_s'"):
        done.recommend({"train": 1})
