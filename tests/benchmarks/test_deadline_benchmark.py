"""The benchmark of limits: a small run of it, and its figures from rows whose answer is known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.deadline import NoisySeconds, cells, figures, problems, rows_of


def test_a_small_run_finishes_a_model_within_every_limit() -> None:
    rows = [row for problem in problems("synthetic", "choosing", range(2)) for row in rows_of(problem, [1], [1.5])]
    found = figures(rows)
    assert [row["objectives"] for row in rows] == [1, 1, 2, 2]
    assert (found["none_at_1_5"], found["exceeded"]) == (0.0, 0.0)
    assert all(row["n_full"] >= 1 for row in rows)
    assert all(0.9 < row["used"] <= 1.0 for row in rows)
    assert [cell["studies"] for cell in cells(rows)] == [4, 2, 2, 4, 2, 2]


def test_the_figures_are_those_of_the_rows() -> None:
    row = {
        "problem": "p", "objectives": 1, "devices": 1, "limit": 1.5, "kind": "time", "n_trials": 3, "n_full": 1,
        "n_full_plain": 0, "could": True, "best": 0.3, "best_plain": 0.2, "hv": 0.6, "hv_plain": 0.3, "used": 0.9,
    }  # fmt: skip
    none, impossible = row | {"n_full": 0, "best": 0.1}, row | {"n_full": 0, "could": False, "used": 1.02}
    at_1 = row | {"limit": 1.0, "n_full": 0, "hv": 9.0}
    found = figures([row, none, impossible, at_1], [none])
    assert found == {
        "none_at_1_5": 0.5, "none_at_1": 1.0, "best_report_ratio": 1.25, "full_hv_ratio_1_5": 2.0, "exceeded": 0.02,
        "none_at_1_5_noisy": 1.0, "exceeded_noisy": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
def test_noisy_seconds_are_those_of_the_curves_on_average(seed: int) -> None:
    problem = next(iter(problems("synthetic", "reporting", range(seed, seed + 1))))
    noisy = NoisySeconds(problem.curves, seed)
    config, top = problem.configs[0], problem.curves.max_resource
    steps = np.diff([noisy.elapsed_s(config, resource, 1) for resource in range(top + 1)])
    epoch_s = problem.curves.elapsed_s(config, 1, 1)
    assert 0.05 < np.std(steps / epoch_s) < 0.2
    assert steps.mean() == pytest.approx(epoch_s, rel=0.1)
