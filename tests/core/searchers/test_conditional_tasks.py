"""What a prior learns where the new space or an earlier one has conditions."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.searchers import History, ParetoPrior
from lightning_hwtune.core.searchers.earlier_studies import EarlierTask, shared_names, shared_values, usable_rows
from lightning_hwtune.core.space import Choice, Float, Int, SearchSpace
from lightning_hwtune.errors import ArgumentError

SPACE = SearchSpace(
    lr=Float(1e-3, 1.0, log=True),
    optimizer=Choice(["adam", "sgd"]),
    momentum=Float(0.0, 1.0, when={"optimizer": "sgd"}),
    steps=Int(1, 4, when={"optimizer": "sgd"}),
)
OBJECTIVES = Objectives([Metric("error", "min")])


def rows(space: SearchSpace, *configs: dict[str, Any]) -> list[dict[str, Any] | None]:
    """What a space takes of each configuration of an earlier task; None for nothing."""
    task = EarlierTask.of("earlier", configs, [[float(index)] for index in range(len(configs))])
    shared = shared_names([task], space)
    [kept] = usable_rows([task], space)
    return [shared_values(task, row, space, shared) if row in kept else None for row in range(len(configs))]


def test_a_value_that_the_new_space_would_not_have_is_ignored() -> None:
    adam, sgd = {"lr": 0.1, "optimizer": "adam"}, {"lr": 0.1, "optimizer": "sgd", "momentum": 0.5, "steps": 2}
    assert rows(SPACE, adam, sgd, {**sgd, "optimizer": "adam"}) == [adam, sgd, adam]


def test_a_configuration_that_lacks_a_value_which_would_exist_is_left_out() -> None:
    always = SearchSpace({**SPACE, "momentum": Float(0.0, 1.0), "steps": Int(1, 4)})
    adam, sgd = {"lr": 0.1, "optimizer": "adam"}, {"lr": 0.1, "optimizer": "sgd", "momentum": 0.5, "steps": 2}
    assert rows(always, adam, sgd) == [None, sgd]
    assert rows(SPACE, {**sgd, "momentum": None}, sgd, adam) == [None, sgd, adam]


def test_without_the_deciding_parameter_a_value_counts_where_there_is_one() -> None:
    assert rows(SPACE, {"lr": 0.1}, {"lr": 0.2, "momentum": 0.5}, {"lr": 0.3, "momentum": 2.0}) == [
        {"lr": 0.1},
        {"lr": 0.2, "momentum": 0.5},
        None,
    ]


def test_none_is_a_value_where_the_parameter_has_that_option() -> None:
    space = SearchSpace(a=Choice(["x", "y"]), b=Choice([None, "c"], when={"a": "x"}))
    configs = [{"a": "x", "b": None}, {"a": "y"}, {"a": "x", "b": "c"}]
    assert rows(space, *configs) == configs


@pytest.mark.parametrize("absent", [None, math.nan])
def test_a_frame_has_an_empty_cell_for_an_absent_value(absent: Any) -> None:
    pytest.importorskip("sklearn")
    n = 12
    frame = pd.DataFrame({
        "lr": [10 ** (-3 + index / 4) for index in range(n)],
        "optimizer": ["adam", "sgd"] * (n // 2),
        "momentum": [absent, 0.5] * (n // 2),
        "steps": [absent, 2] * (n // 2),
        "error": [abs(index - 5) / n for index in range(n)],
    })  # fmt: skip
    prior = ParetoPrior.from_frame(frame, OBJECTIVES, candidates=16)
    prior.check(SPACE)
    assert prior.lesson(SPACE, OBJECTIVES).n_points == {"frame": n}
    for draw in range(4):
        config = prior.propose(SPACE, draw, 0, History([], OBJECTIVES))
        assert config is not None
        assert SPACE.validate(config) == config
    with pytest.raises(ArgumentError, match="inside the ranges"):
        prior.check(SearchSpace(optimizer=Choice(["lion"]), momentum=Float(0, 1, when={"optimizer": "lion"})))
