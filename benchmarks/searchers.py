"""How good the configurations of each searcher are: regret, or missing hypervolume; prints one JSON object.

The problems are those of `search_problems.py`, with 1 and with 8 trials at a time: 100 trials of a function, or 200
trials of ASHA. The arms:

- default: the searcher of a study for which none is chosen
- random: `Random()`
- optuna_tpe, optuna_nsga2: Optuna's samplers with their defaults, asked and told directly
- with `--further`: gp: `GP()`, which takes hours, and not on asha_20, which has too many parameters for it; evolution:
  `Evolution()`; optuna_sampler_tpe, optuna_sampler_nsga2, optuna_sampler_cmaes: `OptunaSampler(...)` with the sampler's
  defaults, CMA-ES on problems with one objective only

The figures compare medians over seeds. An interval is a 90 % bootstrap interval over seeds of the ratio of two medians.

- worst_vs_random: the greatest lower end of the intervals of default / random. Above 1 means behind beyond chance.
- worst_vs_optuna_tpe: the greatest ratio default / optuna_tpe, with 1 at a time; ahead_of_optuna_tpe: on how many
  problems it is below 1.
- worst_vs_optuna_8_at_a_time: the same ratio with 8 at a time.
- hv_20_parameters: the hypervolume after 200 trials with 20 parameters, as a share of that of 1,500 random
  configurations.

The rows of Optuna are kept in `benchmarks/peers/rows/`, with its version. Those of the given seeds are used, and ratios
compare the seeds that both arms have. `--peers` runs Optuna for the given problems and seeds, and keeps its rows. With
`--rows` new rows are saved in a folder, and an interrupted run continues. Empty it when a rule has changed. The
settings of the default were chosen on other seeds, from 1000.

    python benchmarks/searchers.py [--seeds 20] [--first-seed 0] [--peers] [--problems branin ...]
                                   [--further gp evolution ...] [--rows FOLDER]
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import lightning_hwtune

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import peer_rows
from benchmarks.kept_rows import kept_rows
from benchmarks.search_problems import ASHA_STUDIES, FUNCTIONS, Found, asha_study, function_study
from lightning_hwtune.core.searchers import Random, Searcher, default_searcher, searcher_from_settings

__all__ = ["figures", "found", "rows_of"]

OWN, PEERS, AT_A_TIME = ("default", "random"), ("optuna_tpe", "optuna_nsga2"), (1, 8)
KEPT, KEY = "searchers", ("problem", "arm", "at_a_time", "seed")
FURTHER: Mapping[str, Mapping[str, str]] = {
    "gp": {"name": "gp"},
    "evolution": {"name": "evolution"},
    "optuna_sampler_tpe": {"name": "optuna", "sampler": "TPESampler"},
    "optuna_sampler_nsga2": {"name": "optuna", "sampler": "NSGAIISampler"},
    "optuna_sampler_cmaes": {"name": "optuna", "sampler": "CmaEsSampler"},
}
"""Arm -> the settings of its searcher."""
_N_RESAMPLED = 2_000

Row = dict[str, Any]


def main() -> None:
    """Runs our own arms, reads or runs the peers, and prints the figures."""
    problems = [*FUNCTIONS, *ASHA_STUDIES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--peers", action="store_true", help="run Optuna for these seeds, and keep its rows")
    parser.add_argument("--at-a-time", type=int, nargs="+", choices=AT_A_TIME, default=AT_A_TIME)
    parser.add_argument("--problems", nargs="+", choices=problems, default=problems)
    parser.add_argument("--further", nargs="+", choices=list(FURTHER), default=[], help="run these arms, too")
    parser.add_argument("--rows", type=Path, help="a folder to save new rows in")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    chosen = arguments.problems, seeds, arguments.at_a_time
    if arguments.peers:
        version = {"version": importlib.metadata.version("optuna")}
        peer_rows.keep(KEPT, [{**row, **version} for row in rows_of(PEERS, *chosen, arguments.rows)], KEY)
    rows = rows_of([*OWN, *arguments.further], *chosen, arguments.rows)
    peers = kept_peers(*chosen)
    rows += peers
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "numpy": np.__version__}
    versions |= {**peer_rows.versions(peers, "optuna"), "python": platform.python_version()}
    result = {"figures": figures(rows), "medians": medians(rows), "ratios": ratios(rows), "versions": versions}
    print(json.dumps({**result, "seeds": list(seeds)}, indent=1))


def rows_of(
    arms: Iterable[str],
    problems: Sequence[str],
    seeds: Iterable[int],
    at_a_time: Sequence[int] = AT_A_TIME,
    folder: Path | None = None,
) -> list[Row]:
    """Returns a row for each problem, arm, number of trials at a time, and seed; the folder is that of `kept_rows`."""
    listed = list(seeds)
    rows = []
    for arm in arms:
        for problem in (name for name in problems if _fits(arm, name)):
            for n in at_a_time:
                about = {"problem": problem, "arm": arm, "at_a_time": n}
                find = functools.partial(_row, about)
                rows += kept_rows(folder, f"{arm}.{problem}.{n}", about, listed, find)
    return rows


def _row(about: Mapping[str, Any], seed: int) -> Row:
    result = found(about["problem"], searcher(about["arm"], seed), seed, about["at_a_time"])
    return {**about, "seed": seed, "missing": result.missing, "of_random": result.of_random}


def found(problem: str, chosen: Searcher, seed: int, at_a_time: int) -> Found:
    """Returns what a searcher finds on a problem."""
    if problem in FUNCTIONS:
        return function_study(FUNCTIONS[problem], chosen, seed, at_a_time)
    return asha_study(ASHA_STUDIES[problem], chosen, seed, at_a_time)


def _fits(arm: str, problem: str) -> bool:
    """Returns whether a searcher accepts the objectives and the parameters of a problem."""
    has_one_objective = problem in FUNCTIONS and FUNCTIONS[problem].n_objectives == 1
    return has_one_objective if arm == "optuna_sampler_cmaes" else (arm, problem) != ("gp", "asha_20")


def searcher(arm: str, seed: int) -> Searcher:
    """Returns the searcher of an arm, for one study."""
    if arm == "default":
        return default_searcher()
    if arm == "random":
        return Random()
    if arm in FURTHER:
        return searcher_from_settings(FURTHER[arm])
    from benchmarks.peers.optuna_search import OptunaSampling

    return OptunaSampling(arm, seed)


def kept_peers(problems: Sequence[str], seeds: Iterable[int], at_a_time: Sequence[int] = AT_A_TIME) -> list[Row]:
    """Returns the kept rows of Optuna for these problems and seeds."""
    listed = list(seeds)
    return [
        row
        for row in peer_rows.kept(KEPT)
        if row["problem"] in problems and row["seed"] in listed and row["at_a_time"] in at_a_time
    ]


def medians(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Returns the median regret or missing hypervolume: "problem, n at a time" -> arm -> median."""
    table: dict[str, dict[str, float]] = {}
    for (problem, arm, at_a_time), values in _by_case(rows, "missing").items():
        table.setdefault(f"{problem}, {at_a_time} at a time", {})[arm] = float(f"{_median(values):.3g}")
    return table


def ratios(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """Returns the default's median divided by each other arm's, with the interval: case -> arm -> numbers."""
    cases = _by_case(rows, "missing")
    table: dict[str, dict[str, dict[str, float]]] = {}
    for (problem, arm, at_a_time), values in cases.items():
        own = cases[problem, "default", at_a_time]
        if arm != "default" and own.keys() & values.keys():
            ratio = _ratio(own, values)
            table.setdefault(f"{problem}, {at_a_time} at a time", {})[arm] = ratio
    return table


def figures(rows: Sequence[Row]) -> dict[str, float]:
    """Returns the headline numbers; see the module. Those of arms or problems that were not run are missing."""
    cases = ratios(rows)
    compared = {case: arms["optuna_tpe"]["median"] for case, arms in cases.items() if "optuna_tpe" in arms}
    tpe = [ratio for case, ratio in compared.items() if case.endswith(" 1 at a time")]
    tpe_8 = [ratio for case, ratio in compared.items() if not case.endswith(" 1 at a time")]
    result = {"worst_vs_random": max(found["random"]["low"] for found in cases.values())}
    if tpe:
        result |= {"worst_vs_optuna_tpe": max(tpe), "ahead_of_optuna_tpe": sum(ratio < 1 for ratio in tpe)}
    if tpe_8:
        result["worst_vs_optuna_8_at_a_time"] = max(tpe_8)
    shares = _by_case(rows, "of_random").get(("asha_20", "default", 1))
    return result | ({"hv_20_parameters": round(_median(shares), 3)} if shares is not None else {})


def _by_case(rows: Sequence[Row], column: str) -> dict[tuple[str, str, int], dict[int, float]]:
    """Returns problem, arm and number at a time -> seed -> value."""
    found: dict[tuple[str, str, int], dict[int, float]] = {}
    for row in rows:
        if row[column] is not None:
            found.setdefault((row["problem"], row["arm"], row["at_a_time"]), {})[row["seed"]] = row[column]
    return found


def _median(values: Mapping[int, float]) -> float:
    return float(np.median(list(values.values())))


def _ratio(own: Mapping[int, float], others: Mapping[int, float]) -> dict[str, float]:
    """Returns the ratio of the medians over the seeds that both have, and the ends of its interval."""
    common = sorted(own.keys() & others.keys())
    a, b = (np.array([values[seed] for seed in common]) for values in (own, others))
    picks = np.random.default_rng(0).integers(len(common), size=(_N_RESAMPLED, len(common)))
    resampled = np.median(a[picks], axis=1) / np.median(b[picks], axis=1)
    low, high = np.quantile(resampled, [0.05, 0.95])
    median = float(np.median(a) / np.median(b))
    return {name: round(float(value), 3) for name, value in (("median", median), ("low", low), ("high", high))}


if __name__ == "__main__":
    main()
