"""Are importances right on functions whose importances are known, and those of Optuna's fANOVA? Prints one JSON object.

    python benchmarks/importance.py [--seeds 5] [--trials 100]

Each function has four parameters between 0 and 1, of which at least one does nothing: a sum, a product (an interaction
without main effects), both, and a sum of two bent curves. For each seed, a study draws random configurations, and both
methods get the values of its first rung. `error_` is the greatest distance of a share of the variance from the exact
one, over the parameters; the median over the seeds. `alone_error_` is that of the main effects, which are what fANOVA
computes: Hutter, Hoos and Leyton-Brown, "An efficient approach for assessing hyperparameter importance" (ICML 2014).
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import optuna

import lightning_hwtune
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.views.effects.importance import importance_entries

__all__ = ["measure"]

NAMES = ("a", "b", "c", "idle")
SPACE = SearchSpace({name: Float(0.0, 1.0) for name in NAMES})
Shares = Mapping[str, float]


def _signed(x: float) -> float:
    return 2.0 * x - 1.0


_EXP = (math.exp(6.0) - 1.0) / 6.0 - ((math.exp(3.0) - 1.0) / 3.0) ** 2  # the variance of exp(3 x)
_KINK = 100.0 / 12.0  # that of 10 |2 x - 1|
_BENT = {"a": _EXP / (_EXP + _KINK), "b": _KINK / (_EXP + _KINK), "c": 0.0, "idle": 0.0}
# name -> function, exact total effects, exact main effects; the variance of x is 1/12, that of 2x - 1 is 1/3
CASES: Mapping[str, tuple[Callable[[Mapping[str, Any]], float], Shares, Shares]] = {
    "sum": (
        lambda x: 3.0 * x["a"] + 2.0 * x["b"] + x["c"],
        {"a": 9 / 14, "b": 4 / 14, "c": 1 / 14, "idle": 0.0},
        {"a": 9 / 14, "b": 4 / 14, "c": 1 / 14, "idle": 0.0},
    ),
    "product": (
        lambda x: _signed(x["a"]) * _signed(x["b"]),
        {"a": 1.0, "b": 1.0, "c": 0.0, "idle": 0.0},
        dict.fromkeys(NAMES, 0.0),
    ),
    "both": (
        lambda x: 2.0 * x["a"] + 1.5 * _signed(x["b"]) * _signed(x["c"]),
        {"a": 4 / 7, "b": 3 / 7, "c": 3 / 7, "idle": 0.0},
        {"a": 4 / 7, "b": 0.0, "c": 0.0, "idle": 0.0},
    ),
    "bent": (lambda x: math.exp(3.0 * x["a"]) + 10.0 * abs(_signed(x["b"])), _BENT, _BENT),
}


@dataclass(frozen=True)
class Constant:
    """Learning curves that are the value of a function from the first epoch on; an epoch takes a second."""

    function: Callable[[Mapping[str, Any]], float]
    metrics: tuple[str, ...] = ("error",)
    max_resource: int = 9

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        return {"error": self.function(config)}

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        return float(resource)

    def usd_per_s(self, config: Mapping[str, Any], num_devices: int) -> float:
        return 0.0


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=100)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    figures, rows = measure(range(arguments.seeds), arguments.trials)
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "optuna": optuna.__version__}
    about = {"machine": platform.platform(), "versions": versions, "seeds": list(range(arguments.seeds))}
    print(json.dumps({"figures": figures, "settings": {"trials": arguments.trials}, "rows": rows, **about}, indent=1))


def measure(seeds: range, n_trials: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Returns the headline numbers, and the shares of each function, seed and method."""
    rows = [row for seed in seeds for case in CASES for row in _rows(case, seed, n_trials)]
    figures = {}
    for name in ("error", "alone_error", "optuna_alone_error"):
        for case in CASES:
            found = [row["distance"] for row in rows if (row["figure"], row["function"]) == (name, case)]
            figures[f"{name}_{case}"] = round(statistics.median(found), 4)
    return figures, rows


def _rows(case: str, seed: int, n_trials: int) -> list[dict[str, Any]]:
    function, total, main_effects = CASES[case]
    state = _study(function, seed, n_trials)
    [entry] = importance_entries(state, "error", at=1)
    ours = {key: {row["parameter"]: row[key] for row in entry["parameters"]} for key in ("importance", "alone")}
    found = {
        "error": (ours["importance"], total),
        "alone_error": (ours["alone"], main_effects),
        "optuna_alone_error": (_of_optuna(state), main_effects),
    }
    return [
        {
            "figure": figure,
            "function": case,
            "seed": seed,
            "distance": max(abs(shares[name] - exact[name]) for name in NAMES),
            "shares": {name: round(shares[name], 4) for name in NAMES},
            "exact": {name: round(exact[name], 4) for name in NAMES},
        }
        for figure, (shares, exact) in found.items()
    ]


def _study(function: Callable[[Mapping[str, Any]], float], seed: int, n_trials: int) -> StudyState:
    """Returns a study of random configurations, whose values are those of the function."""
    parts = (Objectives([Metric("error", "min")]), ASHA(max_epochs=9, first_rung=1), Random(), Pool("cpu", 4))
    return simulate(StudySpec("importance", SPACE, *parts, seed=seed), Constant(function), Limits(max_trials=n_trials))


def _of_optuna(state: StudyState) -> dict[str, float]:
    """Returns the shares of fANOVA for the values of the first rung, without scaling them to the sum 1."""
    study = optuna.create_study()
    distributions = {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in NAMES}
    for trial in state.searched:
        params = {name: trial.config[name] for name in NAMES}
        value = trial.measurements[0].values["error"]
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False))


if __name__ == "__main__":
    main()
