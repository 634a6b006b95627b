"""The front marks members that are on it within the noise of measured seconds only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.views.tables import front_entries, front_frame


class Points:
    """Trial x has the error and the seconds of row x."""

    metrics, max_resource = ("e",), 1

    def __init__(self, rows: Sequence[tuple[float, float]]) -> None:
        self.rows = rows

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        return {"e": self.rows[config["x"]][0]}

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        return resource * self.rows[config["x"]][1]

    def usd_per_s(self, config: Mapping[str, Any], num_devices: int) -> float:
        return 0.0


def study(rows: Sequence[tuple[float, float]], *objectives: Any) -> StudyState:
    space = hwt.SearchSpace(x=hwt.Choice(list(range(len(rows))), ordered=False))
    spec = StudySpec("s", space, Objectives(objectives), hwt.RunToEnd(1), hwt.Grid(), hwt.Pool("cpu", 1))
    return simulate(spec, Points(rows), Limits())


CLEAR = [(0.1, 100.0), (0.2, 50.0), (0.3, 10.0)]


@pytest.mark.parametrize(
    ("more", "marked"),
    [([], set()), ([(0.22, 48.0)], {48.0}), ([(0.22, 49.5), (0.31, 9.5)], {49.5, 9.5}), ([(0.5, 5.0)], set())],
)
def test_members_that_are_hardly_faster_are_marked(more: list[tuple[float, float]], marked: set[float]) -> None:
    entries = front_entries(study([*CLEAR, *more], Metric("e", "min"), TrainSeconds(0)))
    assert {r["objectives"]["train_s"] for r in entries if r["within_noise"]} == marked
    assert all((r["probability"] < 0.8) == r["within_noise"] for r in entries)
    best = entries[0]
    assert (best["objectives"]["e"], best["probability"]) == (0.1, 1.0)


@pytest.mark.parametrize("at", ["full", "any", "rung"])
def test_every_kind_of_front_says_it(at: str) -> None:
    state = study(CLEAR, Metric("e", "min"), TrainSeconds())
    assert [entry["within_noise"] for entry in front_entries(state, at)] == [False] * 3
    assert front_frame(state, at)["probability"].tolist() == [1.0] * 3


def test_without_a_measured_objective_nothing_is_said() -> None:
    state = study(CLEAR, Metric("e", "min"))
    assert "probability" not in front_entries(state)[0]
    assert "within_noise" not in front_frame(state)


def test_the_same_log_gives_the_same_probabilities() -> None:
    state = study([*CLEAR, (0.22, 48.0)], Metric("e", "min"), TrainSeconds())
    assert front_entries(state) == front_entries(state)
