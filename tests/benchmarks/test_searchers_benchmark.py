"""A small version of `benchmarks/searchers.py`: the default searcher is ahead of random search on functions."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks import searchers
from benchmarks.search_problems import FUNCTIONS
from lightning_hwtune.core.space import SearchSpace

SMOKE, SEEDS = ("hartmann6", "mixed", "zdt1"), range(3)


@pytest.mark.slow
def test_the_default_is_ahead_of_random_on_three_functions() -> None:
    rows = searchers.rows_of(["default", "random"], SMOKE, SEEDS, at_a_time=(1,))
    median = {
        (problem, arm): np.median([row["missing"] for row in rows if (row["problem"], row["arm"]) == (problem, arm)])
        for problem in SMOKE
        for arm in ("default", "random")
    }
    ratios = np.array([median[problem, "default"] / median[problem, "random"] for problem in SMOKE])
    assert np.exp(np.log(ratios).mean()) < 0.8, ratios  # with three seeds, a single function says little
    assert searchers.figures(rows)["worst_vs_random"] < 1


@pytest.mark.parametrize("arm", searchers.FURTHER)
def test_a_further_arm_is_a_searcher_of_the_package(arm: str) -> None:
    library = {"evolution": "pymoo", "gp": "botorch"}.get(arm, "optuna")
    pytest.importorskip(library)
    assert searchers.searcher(arm, 0).settings().items() >= searchers.FURTHER[arm].items()


def test_a_further_arm_runs_only_on_problems_that_fit() -> None:
    assert searchers.rows_of(["gp"], ["asha_20"], [0]) == []
    assert searchers.rows_of(["optuna_sampler_cmaes"], ["zdt1", "dtlz2", "asha_10"], [0]) == []


HARTMANN = [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573]
BEST_NETWORK = {"optimizer": "adamw", "activation": "gelu", "lr": 10**-3.5, "width": 256, "depth": 4}


@pytest.mark.parametrize(
    ("problem", "best", "value"),
    [
        ("branin", {"x0": np.pi, "x1": 2.275}, [0.397887]),
        ("branin", {"x0": -np.pi, "x1": 12.275}, [0.397887]),
        ("hartmann6", {f"x{i}": x for i, x in enumerate(HARTMANN)}, [-3.32237]),
        ("mixed", {**BEST_NETWORK, "dropout": 0.15, "decay": 1e-3}, [0.0]),
        ("zdt1", {"x0": 0.25, **{f"x{i}": 0.0 for i in range(1, 6)}}, [0.25, 0.5]),
        ("dtlz2", {"x0": 0.0, "x1": 0.0, **{f"x{i}": 0.5 for i in range(2, 7)}}, [1.0, 0.0, 0.0]),
    ],
)  # fmt: skip
def test_a_function_has_its_known_minimum(problem: str, best: dict[str, float], value: list[float]) -> None:
    function = FUNCTIONS[problem]
    assert function.value(best) == pytest.approx(value, abs=1e-4)
    if function.n_objectives == 1:
        assert function.missing(np.array([value])) == pytest.approx(0.0, abs=1e-4)
        worse = SearchSpace.sample(function.space, np.random.default_rng(0))
        assert function.missing(np.array([function.value(worse)])) > 0


@pytest.mark.parametrize(("problem", "n"), [("zdt1", 2000), ("dtlz2", 45)])
def test_a_dense_front_misses_nearly_no_hypervolume(problem: str, n: int) -> None:
    function, at = FUNCTIONS[problem], (np.arange(n) + 0.5) / n
    if problem == "zdt1":
        configs = [{"x0": float(x), **{f"x{i}": 0.0 for i in range(1, 6)}} for x in at]
    else:
        half = {f"x{i}": 0.5 for i in range(2, 7)}
        configs = [{"x0": float(a), "x1": float(b), **half} for a in at for b in at]
    missing = function.missing(np.array([function.value(config) for config in configs]))
    assert 0 < missing < 0.06


def test_figures_compare_medians() -> None:
    values = {"default": 1.0, "random": 2.0, "optuna_tpe": 1.5, "optuna_nsga2": 3.0}
    rows = [
        {"problem": problem, "arm": arm, "at_a_time": n, "seed": seed, "missing": value + seed / 10, "of_random": share}
        for problem, share in (("branin", None), ("asha_20", 1.01))
        for arm, value in values.items()
        for n in (1, 8)
        for seed in range(5)
    ]
    found = searchers.figures(rows)
    assert found["worst_vs_random"] < 1
    assert found["worst_vs_optuna_tpe"] == found["worst_vs_optuna_8_at_a_time"] == pytest.approx(1.2 / 1.7, abs=1e-3)
    assert found["ahead_of_optuna_tpe"] == 2
    assert found["hv_20_parameters"] == 1.01
    fewer = [row for row in rows if row["arm"] != "optuna_tpe" or row["seed"] in (3, 4)]
    compared = searchers.ratios(fewer)["branin, 1 at a time"]["optuna_tpe"]["median"]
    assert compared == pytest.approx(1.35 / 1.85, abs=1e-3)
    assert "optuna_tpe" not in searchers.ratios([row for row in fewer if row["seed"] < 3 or "opt" in row["arm"]])
    behind = [{**row, "missing": row["missing"] * (4 if row["arm"] == "default" else 1)} for row in rows]
    assert searchers.figures(behind)["worst_vs_random"] > 1
