"""How many GPUs a trial deserves in a fixed pool: what the choice is worth, and what the advisor finds; prints JSON.

A cell is an application and a global batch (`benchmarks/measured_speeds.py`), a pool of 8, 16 or 64 GPUs, 16, 32 or 100
trials, and ASHA or synchronous successive halving with the rungs 1, 3, 9 and 27: 324 cells. In each, the study is
simulated with 1, 2, 4, 8, ... GPUs per trial at the measured speeds, and with two trials per GPU, each at 0.5 of its
own speed: the median of two equal jobs on one GPU that Gavel measured (Narayanan et al., OSDI 2020; MIT licence). A
full training takes 2 hours on one GPU, for single trials half to twice as long, and a trial 20 seconds to start. The
makespan of a number is the mean of simulations with three seeds.

The advisor (`lightning_hwtune.planning.advisor`) simulates the same with fitted speeds and other seeds, and chooses.
With the cheap probe, it has measurements of 1, 2 and 4 GPUs of a node and of one GPU on each of two nodes. With the
probe on 8, it has two complete nodes instead of the latter.

Figures:
- worst_over_best_p8, worst_over_best_p64: makespan of the worst number divided by that of the best; medians over the
  cells with 8 and 64 GPUs. Numbers that are slower than a smaller one are among them.
- within5_cheap_probe, within5_8_probe: the share of cells in which the makespan of the advisor's choice, at the
  measured speeds, is at most 5 % above the best one. The output has 90 % intervals, from a bootstrap over applications
  and batches.

    python benchmarks/allocation.py [--rows FOLDER] [--quick]
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import platform
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import lightning_hwtune
from benchmarks.kept_rows import kept_rows
from benchmarks.measured_speeds import (
    CHEAP_PROBE,
    PROBE,
    SOURCE,
    fitted_speeds,
    measured_apps,
    measured_speeds,
    some_batches,
)
from lightning_hwtune.core.schedulers import ASHA, Scheduler, SuccessiveHalving
from lightning_hwtune.planning.advisor import PoolStudy

POOLS, TRIALS, MAX_EPOCHS = (8, 16, 64), (16, 32, 100), 27
SCHEDULERS: Mapping[str, Scheduler] = {
    "asha": ASHA(max_epochs=MAX_EPOCHS, first_rung=1),
    "successive_halving": SuccessiveHalving(max_epochs=MAX_EPOCHS, first_rung=1),
}
FULL_S, START_S, VARIATION, SHARED = 7200.0, 20.0, 2.0, 0.5
SEEDS, ADVISOR_SEEDS = (0, 3), (1000, 2)  # the first seed, and how many
PROBES = {"cheap_probe": CHEAP_PROBE, "8_probe": PROBE}
HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Cell:
    """A pool, trials and a scheduler."""

    pool: int
    trials: int
    scheduler: str


@functools.lru_cache(maxsize=100_000)
def makespan_s(cell: Cell, count: Fraction, speed: float, seeds: tuple[int, int]) -> float:
    """Returns the mean makespan with `count` GPUs per trial, which make a trial `speed` times as fast as one GPU."""
    study = PoolStudy(
        SCHEDULERS[cell.scheduler], cell.trials, cell.pool, FULL_S / MAX_EPOCHS, START_S, variation=VARIATION,
        seeds=seeds[1], first_seed=seeds[0],
    )  # fmt: skip
    return study.predicted(count, speed).seconds


def makespans(cell: Cell, speeds: Mapping[int, float], seeds: tuple[int, int]) -> dict[Fraction, float]:
    """Returns the makespan of each number of GPUs per trial that fits into the pool."""
    relative = {Fraction(count): speed / speeds[1] for count, speed in speeds.items() if count & (count - 1) == 0}
    relative[HALF] = SHARED
    return {
        count: makespan_s(cell, count, round(speed, 6), seeds)
        for count, speed in sorted(relative.items())
        if count <= cell.pool
    }


def rows_of(cell: Cell) -> Iterator[dict[str, Any]]:
    """Yields one row for each application and batch."""
    for app in measured_apps():
        for batch in some_batches(app):
            true = makespans(cell, measured_speeds(app, batch), SEEDS)
            best = min(true.values())
            row: dict[str, Any] = {"app": app.name, "batch": batch, "pool": cell.pool, "trials": cell.trials}
            row |= {"scheduler": cell.scheduler, "makespans_s": {str(count): s for count, s in true.items()}}
            row["worst_over_best"] = max(true.values()) / best
            for name, probe in PROBES.items():
                predicted = makespans(cell, fitted_speeds(app, batch, probe), ADVISOR_SEEDS)
                chosen = min(predicted, key=lambda count: (predicted[count], count))
                row[name] = {"chosen": str(chosen), "over_best": true[chosen] / best - 1}
            yield row


def within(rows: Sequence[Mapping[str, Any]], probe: str, share: float = 0.05) -> float:
    """Returns the share of cells in which the choice is at most this much worse than the best one."""
    return sum(row[probe]["over_best"] <= share for row in rows) / len(rows)


def interval(rows: Sequence[Mapping[str, Any]], probe: str, draws: int = 1000) -> list[float]:
    """Returns the 90 % interval of `within`, by drawing pairs of application and batch with replacement."""
    pairs = sorted({(row["app"], row["batch"]) for row in rows})
    parts = [[row for row in rows if (row["app"], row["batch"]) == pair] for pair in pairs]
    rng, found = np.random.default_rng(0), []
    for _ in range(draws):
        drawn = [row for i in rng.integers(len(parts), size=len(parts)) for row in parts[i]]
        found.append(within(drawn, probe))
    return [round(float(np.quantile(found, q)), 4) for q in (0.05, 0.95)]


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns the headline numbers; see the module."""
    found = {}
    for pool in (8, 64):
        ratios = [row["worst_over_best"] for row in rows if row["pool"] == pool]
        found[f"worst_over_best_p{pool}"] = statistics.median(ratios) if ratios else float("nan")
    return found | {f"within5_{name}": within(rows, name) for name in PROBES}


def parts(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the same for parts of the cells, and how often each number of GPUs is best."""
    found = {}
    for name in ("pool", "trials", "scheduler", "app"):
        for value in sorted({row[name] for row in rows}):
            part = [row for row in rows if row[name] == value]
            best = [min(row["makespans_s"], key=row["makespans_s"].get) for row in part]
            found[f"{name} {value}"] = {
                "cells": len(part),
                "worst_over_best": round(statistics.median(row["worst_over_best"] for row in part), 3),
                **{f"within5_{probe}": round(within(part, probe), 4) for probe in PROBES},
                "best": {count: best.count(count) for count in sorted(set(best), key=Fraction)},
            }
    return found


def main() -> None:
    """Simulates the cells and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, help="a folder for rows, to continue after an interruption")
    parser.add_argument("--quick", action="store_true", help="one pool, 16 trials")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for pool, trials, scheduler in itertools.product(POOLS, TRIALS, SCHEDULERS):
        if given.quick and (pool, trials) != (8, 16):
            continue
        cell = Cell(pool, trials, scheduler)
        about = {"full_s": FULL_S, "start_s": START_S, "variation": VARIATION, "seeds": [*SEEDS, *ADVISOR_SEEDS]}
        name = f"{pool}-{trials}-{scheduler}"
        [kept] = kept_rows(given.rows, name, about, [0], lambda _, cell=cell: {"rows": list(rows_of(cell))})  # type: ignore[misc]
        rows += kept["rows"]
    found = {key: round(value, 4) for key, value in figures(rows).items()}
    intervals = {f"within5_{probe}": interval(rows, probe) for probe in PROBES}
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "python": platform.python_version()}
    result = {"figures": found, "intervals_90": intervals, "cells": len(rows), "parts": parts(rows)}
    print(json.dumps({**result, "versions": versions, "source": SOURCE, "licence": "Apache-2.0"}, indent=1))


if __name__ == "__main__":
    main()
