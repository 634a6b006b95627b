"""Seconds and memory of whole simulated studies: decisions, events and folds, without a store; prints one JSON object.

Rungs 1, 3, 9, 27, two objectives (error and seconds), eight devices, synthetic curves, each study in its own process.
Times are the processor time of that process, so that other work on the machine matters less. Memory is its peak.

    python benchmarks/study_speed.py [--trials 10000 100000] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import time
from typing import Any

import lightning_hwtune
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, Int, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate

__all__ = ["study_figures"]

MAX_EPOCHS, DEVICES = 27, 8


def main() -> None:
    """Simulates the studies and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = [in_own_process(n, arguments.seed) for n in arguments.trials]
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "python": platform.python_version()}
    result = {"figures": figures(rows), "studies": rows, "machine": platform.platform(), "versions": versions}
    print(json.dumps({**result, "seeds": [arguments.seed]}, indent=1))


def study_figures(seed: int = 0) -> dict[str, float]:
    """Returns `study_10k_s`, `study_100k_s` and `study_100k_mb`."""
    return figures([in_own_process(n, seed) for n in (10_000, 100_000)])


def figures(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Returns the headline numbers: seconds of each study, and the peak memory of the largest ones."""
    found: dict[str, float] = {}
    for row in rows:
        size = f"{row['trials'] // 1000}k"
        found[f"study_{size}_s"] = row["process_s"]
        if row["trials"] >= 100_000:
            found[f"study_{size}_mb"] = row["peak_mb"]
    return found


def in_own_process(n_trials: int, seed: int) -> dict[str, Any]:
    """Returns the time and memory of one study, in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(study, (n_trials, seed))


def study(n_trials: int, seed: int) -> dict[str, Any]:
    """Simulates one study; returns its time and memory as plain data."""
    space = SearchSpace(
        lr=Float(1e-4, 1e-1, log=True), width=Int(8, 128, log=True), dropout=Float(0.0, 0.5), momentum=Float(0.5, 0.99)
    )
    spec = StudySpec(
        name="speed",
        space=space,
        objectives=Objectives([Metric("error", "min"), TrainSeconds()]),
        scheduler=ASHA(max_epochs=MAX_EPOCHS, first_rung=1),
        searcher=Random(),
        pool=Pool("cpu", DEVICES),
        seed=seed,
    )
    wall, begun = time.perf_counter(), time.process_time()
    state = simulate(spec, SyntheticCurves(space, MAX_EPOCHS), Limits(max_trials=n_trials), start_s=1.0, restore_s=1.0)
    return {
        "trials": n_trials,
        "process_s": round(time.process_time() - begun, 2),
        "wall_s": round(time.perf_counter() - wall, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "segments": len(state.segments),
        "reports": sum(len(trial.measurements) for trial in state.trials),
        "fully_trained": state.n_full,
    }


if __name__ == "__main__":
    main()
