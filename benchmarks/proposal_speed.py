"""Milliseconds of one proposal of the default searcher after n trials; prints one JSON object.

Ten parameters of all kinds, two objectives with random values, rungs 1, 3, 9 and 27. The history is new for each
proposal, and one trial has been judged since the last one, as in a study. An ask with a reservation looks at up to
eight further draws of the same history. Times are those of this thread's CPU clock.

    python benchmarks/proposal_speed.py [--trials 1000 10000] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import platform
import time

import numpy as np

import lightning_hwtune
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.searchers import History, default_searcher
from lightning_hwtune.core.searchers.memory import Memory
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace

__all__ = ["proposal_figures"]

LEVELS, N_TIMED, N_LOOK_AHEAD = (1, 3, 9, 27), 20, 8
OBJECTIVES = Objectives([Metric("error", "min"), Metric("size", "min")])
SPACE = SearchSpace(
    **{f"x{place}": Float(0, 1) for place in range(5)},
    lr=Float(1e-5, 1e-1, log=True),
    width=Int(8, 512, log=True),
    batch_size=Choice([32, 64, 128]),
    kind=Choice(["a", "b", "c"]),
    devices=NumDevices(1, 2),
)


def main() -> None:
    """Times proposals and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = proposal_figures(arguments.seed, arguments.trials)
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "python": platform.python_version()}
    print(json.dumps({"figures": found, "machine": platform.platform(), "versions": versions}, indent=1))


def proposal_figures(seed: int = 0, sizes: tuple[int, ...] | list[int] = (1_000, 10_000)) -> dict[str, float]:
    """Returns `proposal_1k_ms` and `reserved_ask_1k_ms`, the medians, and the same for the other numbers of trials."""
    found = {}
    for n in sizes:
        rng, memory, searcher = np.random.default_rng(seed), Memory(), default_searcher()
        trials = [_trial(number, rng) for number in range(n)]
        searcher.propose(SPACE, n, seed, History(trials, OBJECTIVES, memory=memory))  # a study has encoded them before
        alone_ms, reserved_ms = [], []
        for _ in range(N_TIMED):
            trials.append(_trial(len(trials), rng))
            history, begun = History(trials, OBJECTIVES, memory=memory), time.thread_time()
            for ahead in range(1 + N_LOOK_AHEAD):
                searcher.propose(SPACE, len(trials) + ahead, seed, history)
                if not ahead:
                    alone_ms.append(1e3 * (time.thread_time() - begun))
            reserved_ms.append(1e3 * (time.thread_time() - begun))
        size = f"{n // 1000}k"
        found[f"proposal_{size}_ms"] = round(float(np.median(alone_ms)), 1)
        found[f"reserved_ask_{size}_ms"] = round(float(np.median(reserved_ms)), 1)
    return found


def _trial(number: int, rng: np.random.Generator) -> TrialRecord:
    trial = TrialRecord(number, SPACE.sample(rng), 0, 0, LEVELS[-1], 0.0, draw=number)
    levels = LEVELS[: min(int(rng.geometric(2 / 3)), len(LEVELS))]
    trial.decided = dict.fromkeys(levels, "pause")
    trial.measurements = [
        Measurement(epoch, {"error": float(rng.random()), "size": float(rng.random())}, 1.0, 1.0)
        for epoch in range(1, levels[-1] + 1)
    ]
    return trial


if __name__ == "__main__":
    main()
