"""Earlier tasks whose best learning rate is not that of the new one, moved by some decades.

Five earlier tasks of 200 random configurations have their best learning rate at 1e-3. That of the new task is lower by
`decades`. The other parameters agree. Every draw is judged before the next, without a scheduler.

This is a part of `benchmarks/transfer.py`, which runs it and reports its figures. It is not a script.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.kept_rows import Row
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.searchers import History, ParetoPrior, Random, Searcher
from lightning_hwtune.core.searchers.earlier_studies import EarlierTask
from lightning_hwtune.core.space import Choice, Float, Int, SearchSpace

__all__ = ["DECADES", "N_DRAWS", "SPACE", "earlier_prior", "row_of", "study_of", "summary"]

N_TASKS, N_KNOWN = 5, 200
DECADES, N_DRAWS = (0, 1, 2), (60, 120)
_BEST_LR = -3.0  # the decimal logarithm
SPACE = SearchSpace(
    lr=Float(1e-5, 1.0, log=True),
    width=Int(16, 512, log=True),
    optimizer=Choice(["sgd", "adam", "adamw"]),
    dropout=Float(0.0, 0.5),
)
OBJECTIVES = Objectives([Metric("error", "min"), TrainSeconds()])


def values_of(config: Mapping[str, Any], decades: float) -> dict[str, float]:
    """Returns the error, least at a learning rate of 1e-3 / 10^decades, and the seconds of a configuration."""
    error = 0.05 * decades_away(config, decades) ** 2 + 0.01 * (math.log2(config["width"]) - 7) ** 2
    error += 0.1 * (config["optimizer"] != "adamw") + 0.1 * config["dropout"]
    return {"error": error, "train_s": 10 * config["width"] ** 0.7}


def decades_away(config: Mapping[str, Any], decades: float) -> float:
    """Returns how far a learning rate is from the best one of the moved task, in decades."""
    return abs(math.log10(config["lr"]) - _BEST_LR + decades)


@functools.cache
def earlier_prior() -> ParetoPrior:
    """Returns the prior from the earlier tasks."""
    tasks = []
    for number in range(N_TASKS):
        rng = np.random.default_rng(number)
        configs = [SPACE.sample(rng) for _ in range(N_KNOWN)]
        losses = [list(values_of(config, 0).values()) for config in configs]
        tasks.append(EarlierTask.of(f"earlier-{number}", configs, losses))
    return ParetoPrior(tasks, OBJECTIVES)


def study_of(searcher: Searcher, decades: float, seed: int, n_draws: int) -> tuple[list[float], list[float]]:
    """Returns the error and the distance from the best learning rate of each draw, in order."""
    trials: list[TrialRecord] = []
    for draw in range(n_draws):
        config = searcher.propose(SPACE, draw, seed, History(trials, OBJECTIVES))
        assert config is not None
        trial = TrialRecord(draw, config, 0, 0, 1, 0.0, draw=draw, decided={1: "stop"})
        trial.measurements = [Measurement(1, values_of(config, decades), 1.0, 1.0)]
        trials.append(trial)
    errors = [trial.measurements[-1].values["error"] for trial in trials]
    return errors, [decades_away(trial.config, decades) for trial in trials]


def row_of(seed: int) -> Row:
    """Returns the row of one seed of the benchmark: decades -> searcher -> best errors, and the late distance."""
    row: Row = {}
    for decades in DECADES:
        for name, one in (("prior", earlier_prior()), ("random", Random())):
            errors, away = study_of(one, decades, seed, N_DRAWS[-1])
            best = [min(errors[:n]) for n in N_DRAWS]
            row[f"{decades} {name}"] = [*best, float(np.median(away[-30:]))]
    return row


def summary(rows: list[Row]) -> dict[str, Any]:
    """Returns the means over seeds: the best error after each number of draws, and decades from it in the last 30."""
    report: dict[str, Any] = {}
    for decades in DECADES:
        means = {arm: np.mean([row[f"{decades} {arm}"] for row in rows], axis=0) for arm in ("prior", "random")}
        report[f"moved_by_{decades}"] = {
            arm: {f"best_at_{n}": round(float(mean[i]), 4) for i, n in enumerate(N_DRAWS)}
            | {"decades_away_late": round(float(mean[-1]), 3)}
            for arm, mean in means.items()
        } | {"vs_random_at_60": round(float(means["prior"][0] / means["random"][0]), 3)}
    return report
