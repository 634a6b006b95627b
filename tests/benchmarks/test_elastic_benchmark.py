"""The benchmark of deadlines and budgets: one stage by hand, small studies, and figures from known rows."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks import elastic
from benchmarks.deadline import PRICE, problems

ERRORS = np.array([[0.9, 0.5, 0.3], [0.8, 0.6, 0.1], [0.7, 0.65, 0.6]])


def test_a_stage_is_what_the_hand_computes() -> None:
    world = elastic.World(np.array([10.0, 20.0, 30.0]), ERRORS, {1: 1.0, 2: 2.0}, 1.0, np.ones((3, 8)))
    # two slots of two devices: trials 0 and 1 take 1 + 10 and 1 + 20 s; trial 2 begins at 11 s and ends at 42 s
    done = world.stage([0, 1, 2], 0, 0, 2, 2, 2, 100.0)
    assert (done.done, done.best, done.ends_s, done.device_s) == ([0, 1, 2], 0.5, 42.0, (21 + 42) * 2)
    cut = world.stage([0, 1, 2], 0, 0, 2, 2, 2, 20.0)
    assert (cut.done, cut.best, cut.ends_s, cut.device_s) == ([0], 0.5, 20.0, 40 * 2)
    later = world.stage([1], 1, 2, 3, 4, 1, 100.0)
    assert (later.done, later.best, later.device_s) == ([1], 0.1, 21.0)
    assert elastic.kept(world, [0, 1, 2], 3, 2) == [1, 0]


@pytest.mark.parametrize("is_noisy", [False, True])
def test_an_elastic_study_stays_within_its_budget(is_noisy: bool) -> None:
    problem = replace(next(iter(problems("synthetic", "choosing", range(1)))), has_two_objectives=False)
    problem.configs = problem.configs[:40]
    world = elastic.world_of(problem, {1: 1.0, 2: 1.8, 4: 3.0}, is_noisy=is_noisy)
    for deadline in (0.2, 1.0):
        deadline_s = deadline * problem.full_s
        best, spent = elastic.run_seer(problem, world, deadline_s, 1.5, 1.0)
        assert 0 < spent <= elastic.POOL * deadline_s * PRICE / 3600
        assert world.errors.min() <= best < 0.9
        assert world.errors.min() <= elastic.run_sha(problem, world, deadline_s, 1.5) < 0.9


def test_the_figures_are_those_of_the_rows() -> None:
    row: dict[str, Any] = {"task": "a", "deadline": 0.25, "speeds": "bert", "seer": 0.2, "sha": 0.3, "asha": 0.1}
    row |= {"deadline_asha": 0.05, "planned": 0.08, "spent_noisy": 1.0, "none_asha": True, "none": True}
    other = row | {"task": "b", "deadline": 1.0, "seer": 0.4, "deadline_asha": 0.15, "spent_noisy": 1.1}
    long = [row | {"deadline": 1.5, "none": False}, row | {"deadline": 2.0}]
    found = elastic.figures([row, other | {"none": False}, other, *long])
    assert (found["none_at_1"], found["none_at_1_5"]) == (0.5, 0.5)
    found = elastic.figures([row, other])
    assert found.pop("none_at_1") == 1.0
    assert math.isnan(found.pop("none_at_1_5"))
    assert found == {
        "seer_vs_sha": 1.0, "seer_vs_asha": 0.3333, "deadline_asha_vs_asha": 1.0, "deadline_asha_tight": 2.0,
        "planned_worst_cell": 1.25, "planned_tight": 1.25, "budget_exceeded": 0.5,
    }  # fmt: skip
    assert elastic.intervals([row, other])["seer_vs_sha"] == [0.75, 1.5]
    assert elastic.cells([row])[0]["seer"] == 0.2
