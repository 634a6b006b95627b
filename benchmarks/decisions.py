"""Microseconds for one rung decision with n trials already in the rung; prints one JSON object.

A decision is everything that a report costs the scheduler: the verdict, its record, and the promotions that are then
due, which are requested and carried out. It is timed on this thread's CPU clock, so that other work on the machine
matters less. For comparison, `moocore.pareto_rank` runs on the same losses (fronts only, from scratch, no order inside
a front), and so does one report to Syne Tune's MOASHA as shipped (up to 3,000 trials, if installed by `make bench`).

Shapes of the losses:
- cloud: uniform and independent
- correlated: the error, a time that increases with it under noise, and with three objectives a cost of 3 x time
- front: all on one front, the hardest case for the order inside a front

Proposals of the default searcher (`proposal_speed.py`), and whole simulated studies of 10,000 and 100,000 trials that
`Random()` draws (`study_speed.py`), come last.

    python benchmarks/decisions.py [--quick] [--seed 0]

It takes about five minutes. With --quick it stops at 1,000 trials and takes seconds.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import math
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import numpy.typing as npt

import lightning_hwtune
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.ranking.front_order import WITHIN
from lightning_hwtune.core.schedulers import ASHA, Race

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.proposal_speed import proposal_figures
from benchmarks.study_speed import study_figures

Losses = npt.NDArray[np.float64]

LEVEL, MAX_EPOCHS = 1, 27
SIZES = (100, 1_000, 3_000, 10_000, 100_000)
PEER, N_TIMED_PEER, N_MAX_PEER = "syne_tune", 5, 3_000
# timed after the first n; few enough that the rung keeps about this size; farthest-first on one front of 10,000 needs
# 3,333 passes over the front for each new trial
N_TIMED = {100: 50, 1_000: 200, 3_000: 300, 10_000: 1_000, 100_000: 1_000}
N_TIMED_SLOW = 10


def main() -> None:
    """Times all cases and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="up to 1,000 trials only")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sizes = SIZES[:2] if arguments.quick else SIZES
    rows = [timed(*case, arguments.seed) for case in cases(sizes)]
    if importlib.util.find_spec("syne_tune"):
        rows += [timed_peer(n, arguments.seed) for n in sizes if n <= N_MAX_PEER]
    versions = {name: module.__version__ for name, module in (("numpy", np), ("moocore", moocore))}
    versions |= {"lightning_hwtune": lightning_hwtune.__version__, "python": platform.python_version()}
    studies = {} if arguments.quick else proposal_figures(arguments.seed) | study_figures(arguments.seed)
    result = {"figures": figures(rows) | studies, "decisions": rows, "machine": platform.platform()}
    print(json.dumps({**result, "versions": versions, "seeds": [arguments.seed]}, indent=1))


def cases(sizes: tuple[int, ...]) -> Iterator[tuple[int, str, int, str]]:
    """Yields (objectives, shape, trials, order inside a front)."""
    for n in sizes:
        yield 1, "cloud", n, next(iter(WITHIN))
        for n_objectives in (2, 3):
            for shape in ("cloud", "correlated", "front"):
                # one front of three objectives has no target, and one of 100,000 trials has no use
                if not (shape == "front" and (n > 10_000 or (n_objectives == 3 and n > 1_000))):
                    yield from ((n_objectives, shape, n, within) for within in WITHIN)


def timed(n_objectives: int, shape: str, n: int, within: str, seed: int) -> dict[str, Any]:
    """Returns the times of one case as plain data."""
    n_timed = N_TIMED_SLOW if (shape, within, n) == ("front", "farthest_first", 10_000) else N_TIMED[n]
    losses = losses_of(shape, n + n_timed, n_objectives, np.random.default_rng(seed))
    race = filled(losses[:n], within)
    spent_us = np.empty(n_timed)
    for i in range(n_timed):
        begun = time.thread_time_ns()
        decide(race, n + i, losses[n + i])
        spent_us[i] = (time.thread_time_ns() - begun) / 1e3
    begun = time.thread_time_ns()
    moocore.pareto_rank(losses[:n])
    moocore_us = (time.thread_time_ns() - begun) / 1e3
    return {
        "objectives": n_objectives,
        "shape": shape,
        "n": n,
        "within": within,
        **summary(spent_us),
        "moocore_us": round(moocore_us, 1),
    }


def timed_peer(n: int, seed: int) -> dict[str, Any]:
    """Returns the times of Syne Tune's MOASHA for a report to a rung of `n` trials: two objectives, cloud."""
    from syne_tune.backend.trial_status import Trial
    from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

    losses = losses_of("cloud", n + N_TIMED_PEER, 2, np.random.default_rng(seed))
    scheduler = MOASHA({}, metrics=["a", "b"], max_t=MAX_EPOCHS, reduction_factor=3, random_seed=seed)
    rung = next(recorded for level, recorded in scheduler.brackets[0].rungs if level == LEVEL)
    rung.update({trial_id: {"a": a, "b": b} for trial_id, (a, b) in enumerate(losses[:n])})
    spent_us = np.empty(N_TIMED_PEER)
    for i, (a, b) in enumerate(losses[n:]):
        trial = Trial(n + i, {}, datetime.datetime.now())
        scheduler.on_trial_add(trial)
        begun = time.thread_time_ns()
        scheduler.on_trial_result(trial, {scheduler.time_attr: LEVEL, "a": a, "b": b})
        spent_us[i] = (time.thread_time_ns() - begun) / 1e3
    return {"objectives": 2, "shape": "cloud", "n": n, "within": PEER, **summary(spent_us)}


def summary(spent_us: npt.NDArray[np.float64]) -> dict[str, float]:
    """Returns the times of a case from the rows."""
    return {
        "n_timed": len(spent_us),
        "mean_us": round(float(spent_us.mean()), 1),
        "median_us": round(float(np.median(spent_us)), 1),
        "p99_us": round(float(np.percentile(spent_us, 99)), 1),
    }


def losses_of(shape: str, n: int, n_objectives: int, rng: np.random.Generator) -> Losses:
    """Returns `n` losses of this shape in random order, shape `(n, n_objectives)`."""
    losses = rng.random((n, n_objectives))
    if shape == "front":
        losses[:, -1] = n_objectives - losses[:, :-1].sum(axis=1)
    if shape == "correlated":
        error, seconds = losses[:, 0], np.exp(losses[:, 0] + 0.5 * rng.random(n))
        losses = np.column_stack([error, seconds, 3 * seconds])[:, :n_objectives]
    return losses


def filled(losses: Losses, within: str) -> Race:
    """Returns a race whose first rung these trials have entered, with all due promotions carried out."""
    objectives = Objectives([Metric(f"m{i}", "min") for i in range(losses.shape[1])])
    race = ASHA(max_epochs=MAX_EPOCHS, within=within).start(objectives)
    for trial_id, loss in enumerate(losses):
        race.record(trial_id, 0, LEVEL, loss, "pause")
    n_go_on = len(losses) // 3
    for trial_id, _ in list(race.finishers())[:n_go_on]:
        race.promoted(trial_id, 0, LEVEL)
    return race


def decide(race: Race, trial_id: int, loss: Losses) -> None:
    """Lets one trial report, and promotes all trials that are due."""
    verdict = race.verdict(trial_id, 0, LEVEL, loss)
    race.record(trial_id, 0, LEVEL, loss, verdict.kind)
    while (promotion := race.promotable()) is not None:
        race.promoted(promotion.trial_id, 0, promotion.level)


def figures(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Returns the headline numbers; those of the largest sizes are missing after --quick."""
    mean = {(r["objectives"], r["shape"], r["n"], r["within"]): r["mean_us"] for r in rows}
    p99 = {(r["objectives"], r["shape"], r["n"], r["within"]): r["p99_us"] for r in rows}
    default = str(ASHA(max_epochs=MAX_EPOCHS).settings()["within"])
    found = {
        "us_2obj_cloud_10k": mean.get((2, "cloud", 10_000, default)),
        "p99_us_2obj_cloud_10k": p99.get((2, "cloud", 10_000, default)),
        "us_2obj_correlated_10k": mean.get((2, "correlated", 10_000, default)),
        "us_2obj_front_10k": mean.get((2, "front", 10_000, default)),
        "us_2obj_front_10k_farthest_first": mean.get((2, "front", 10_000, "farthest_first")),
        "us_2obj_cloud_100k": mean.get((2, "cloud", 100_000, default)),
        "us_3obj_cloud_10k": mean.get((3, "cloud", 10_000, default)),
        "us_3obj_correlated_10k": mean.get((3, "correlated", 10_000, default)),
        "growth_exponent": growth_exponent(
            {n: us for (m, s, n, w), us in mean.items() if (m, s, w) == (2, "cloud", default)}
        ),
    }
    peer_us = mean.get((2, "cloud", N_MAX_PEER, PEER))
    if peer_us is not None:
        found["speedup_vs_synetune_3k"] = round(peer_us / mean[2, "cloud", N_MAX_PEER, default])
    return {name: value for name, value in found.items() if value is not None}


def growth_exponent(mean_us: dict[int, float]) -> float | None:
    """Returns the slope of log(mean) over log(n) from 1,000 trials on."""
    points = [(math.log(n), math.log(us)) for n, us in mean_us.items() if n >= 1_000]
    logs = np.array(points)
    return round(float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0]), 3) if len(points) > 1 else None


if __name__ == "__main__":
    main()
