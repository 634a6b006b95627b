"""Milliseconds of one proposal of the default searcher after n trials; prints one JSON object.

Ten parameters of all kinds, two objectives with random values, rungs 1, 3, 9 and 27. The history is new for each
proposal, and one trial has been judged since the last one, as in a study. An ask with a reservation looks at up to
eight further draws of the same history. Times are those of this thread's CPU clock. With `--gp` the proposals are
those of `GP`, after 50 and 200 trials; set OMP_NUM_THREADS=1.

    python benchmarks/proposal_speed.py [--trials 1000 10000] [--seed 0] [--gp]
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
from lightning_hwtune.core.searchers import History, Searcher, default_searcher
from lightning_hwtune.core.searchers.memory import Memory
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace
from lightning_hwtune.searchers.gaussian_process import GP

__all__ = ["gp_figures", "proposal_figures"]

LEVELS, N_TIMED, N_TIMED_GP, N_LOOK_AHEAD = (1, 3, 9, 27), 20, 5, 8
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
    parser.add_argument("--gp", action="store_true", help="time GP instead of the default searcher")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = gp_figures(arguments.seed) if arguments.gp else proposal_figures(arguments.seed, arguments.trials)
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "python": platform.python_version()}
    print(json.dumps({"figures": found, "machine": platform.platform(), "versions": versions}, indent=1))


def proposal_figures(seed: int = 0, sizes: tuple[int, ...] | list[int] = (1_000, 10_000)) -> dict[str, float]:
    """Returns `proposal_1k_ms` and `reserved_ask_1k_ms`, the medians, and the same for the other numbers of trials."""
    found = {}
    for n in sizes:
        alone_ms, reserved_ms = _medians_ms(default_searcher(), n, seed, N_TIMED)
        found |= {f"proposal_{n // 1000}k_ms": alone_ms, f"reserved_ask_{n // 1000}k_ms": reserved_ms}
    return found


def gp_figures(seed: int = 0, sizes: tuple[int, ...] = (50, 200)) -> dict[str, float]:
    """Returns `gp_proposal_50_ms` and `gp_reserved_ask_50_ms`, the medians, and the same for the other numbers."""
    found = {}
    for n in sizes:
        alone_ms, reserved_ms = _medians_ms(GP(), n, seed, N_TIMED_GP)
        found |= {f"gp_proposal_{n}_ms": alone_ms, f"gp_reserved_ask_{n}_ms": reserved_ms}
    return found


def _medians_ms(searcher: Searcher, n: int, seed: int, n_timed: int) -> tuple[float, float]:
    """Returns the medians of a proposal alone, and of one with its look-ahead, after `n` trials."""
    rng, memory = np.random.default_rng(seed), Memory()
    trials = [_trial(number, rng) for number in range(n)]
    searcher.propose(SPACE, n, seed, History(trials, OBJECTIVES, memory=memory))  # a study has encoded them before
    alone_ms, reserved_ms = [], []
    for _ in range(n_timed):
        trials.append(_trial(len(trials), rng))
        history, begun = History(trials, OBJECTIVES, memory=memory), time.thread_time()
        for ahead in range(1 + N_LOOK_AHEAD):
            searcher.propose(SPACE, len(trials) + ahead, seed, history)
            if not ahead:
                alone_ms.append(1e3 * (time.thread_time() - begun))
        reserved_ms.append(1e3 * (time.thread_time() - begun))
    return round(float(np.median(alone_ms)), 1), round(float(np.median(reserved_ms)), 1)


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
