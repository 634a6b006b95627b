"""Studies with default settings on curves that cross, judged by their fully trained configurations.

    python benchmarks/replay.py --fronts choosing | reporting [--seeds 5] [--trials 60] [--rows FOLDER]

The targets are for studies of all configurations; with 60 trials, most of what is missing was never drawn.

`choosing`: tasks 1 to 9 of lcbench-surrogate in the order of its table.json, and synthetic curves with R = 27 and 81
and crossing 0 and 0.3. The rule by which a study chooses its ladder was chosen on them. `reporting`: the other tasks of
lcbench-surrogate, taskset, and synthetic curves with crossing 0.5 and 0.7 and other seeds. Objectives: error and
seconds (lcbench-surrogate), also dollars (synthetic), the error alone (taskset).

A study draws the table's configurations by the default searcher, each at most once, all of them or `--trials`. Workers,
hypervolume and virtual time are those of `benchmarks/replay.py`. `figures`, over all studies of the half:

- arrive_full: the share of studies with two or more objectives whose fully trained configurations reach 95 % of the
  full hypervolume. full_median, full_p10: that hypervolume at the end of these studies.
- lost_undrawn, lost_at_rungs: the mean share of the full hypervolume that these studies miss because they did not draw
  the configurations, and because they did not train to the end what they drew.
- chosen_error_p90: the 90th percentile over these studies of the lowest error of a fully trained configuration, minus
  the error that the best 1 % of the table's configurations reach. chosen_error_p90_taskset: the same for taskset, in
  nats.
- partial_time, full_time: the median time to 95 % of the partial and of the full hypervolume, as a share of the time in
  which the workers could train all trials to the end.
- few_trials_vs_random: with 30 trials and 27 epochs, the full hypervolume at a tenth of the time in which the workers
  could train the 30 trials to the end, divided by that of random full training, whose first draws are the same; means
  over studies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kept_rows import Row, kept_rows
from benchmarks.replay_arms import Problem, best_error, from_table, spec_of, synthetic
from lightning_hwtune.core.ranking.hypervolume import hypervolume
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.simulation.accounting import Replay, point, replay_study
from lightning_hwtune.simulation.tables import Table

__all__ = ["HALVES", "drawn_share", "fronts", "share_of"]

HALVES = ("choosing", "reporting")
SHARE = 0.95
FEW_TRIALS, FEW_EPOCHS, EARLY = 30, 27, 0.1
N_CHOOSING = 9  # tasks of lcbench-surrogate
N_SYNTHETIC = 2  # seeds of each kind of synthetic curves
_CROSSINGS = {"choosing": (0.0, 0.3), "reporting": (0.5, 0.7)}
_FIRST_SEED = {"choosing": 0, "reporting": 100}
_RESOURCES = (27, 81)
_DEFAULT: Mapping[str, Any] = {}
_RANDOM: Mapping[str, Any] = {"scheduler": {"name": "run_to_end"}, "tpe": {"min_points": 1000}}  # the same first draws


def fronts(half: str, n_seeds: int, n_trials: int | None, folder: Path | None) -> dict[str, Any]:
    """Returns the figures of a half, over all its studies and for each group of tasks."""
    rows = [row for group, problem in _problems(half) for row in _rows(group, problem, n_seeds, n_trials, folder)]
    few = [row for group, problem in _few(half) for row in _few_rows(group, problem, n_seeds, folder)]
    groups = dict.fromkeys(row["group"] for row in rows)
    return {
        "half": half,
        "trials": n_trials or "all",
        "figures": {**_figures(rows), **_few_figure(few)},
        "groups": {group: _figures([row for row in rows if row["group"] == group]) for group in groups},
    }


def _problems(half: str) -> Iterator[tuple[str, Problem]]:
    table = Table.load("lcbench-surrogate")
    for task in _half_of(half, table.tasks):
        yield "lcbench-surrogate", from_table(table, task, ["val_error", "train_s"])
    if half == "reporting":
        measured = Table.load("taskset")
        yield from (("taskset", from_table(measured, task)) for task in measured.tasks)
    yield from (("synthetic", problem) for last in _RESOURCES for problem in _synthetic(half, last))


def _few(half: str) -> Iterator[tuple[str, Problem]]:
    table = Table.load("lcbench-surrogate")
    for task in _half_of(half, table.tasks):
        yield "lcbench-surrogate", from_table(table, task, ["val_error", "train_s"], FEW_EPOCHS)
    yield from (("synthetic", problem) for problem in _synthetic(half, FEW_EPOCHS))


def _half_of(half: str, tasks: Sequence[str]) -> Sequence[str]:
    return tasks[:N_CHOOSING] if half == "choosing" else tasks[N_CHOOSING:]


def _synthetic(half: str, last: int) -> Iterator[Problem]:
    for crossing in _CROSSINGS[half]:
        for number in range(N_SYNTHETIC):
            yield synthetic(_FIRST_SEED[half] + number, last, crossing=crossing)


def _rows(group: str, problem: Problem, n_seeds: int, n_trials: int | None, folder: Path | None) -> list[Row]:
    most = min(n_trials or len(problem.configs), len(problem.configs))
    best = best_error(problem)
    all_s = problem.all_s * most / len(problem.configs)

    def find(seed: int) -> Row:
        study = _replayed(problem, _DEFAULT, seed, most)
        full = study.losses[study.resources >= problem.last]
        errors = full[np.isfinite(full).all(axis=1), 0]
        return {
            "seed": seed,
            "group": group,
            "objectives": len(problem.objectives),
            "first_rung": study.state.ladder.levels[0],
            "full": float(study.full[-1]),
            "drawn": drawn_share(study, problem),
            "partial_s": share_of(study.first(SHARE), all_s),
            "full_s": share_of(study.first(SHARE, kind="full"), all_s),
            "chosen_error": float(errors.min()) - best if len(errors) else None,
        }

    return kept_rows(folder, _part(group, problem, most), {"trials": most, "form": 2}, range(n_seeds), find)


def drawn_share(study: Replay, problem: Problem) -> float:
    """Returns the full hypervolume if all trials that the study has drawn were trained to the end, as a share."""
    yardstick = problem.yardstick
    losses = [
        yardstick.objectives.loss(point(problem.curves, trial.config, problem.last, trial.num_devices))
        for trial in study.state.trials
    ]
    return float(hypervolume(yardstick.unit(np.array(losses)), np.ones(len(yardstick.objectives))) / yardstick.full)


def _few_rows(group: str, problem: Problem, n_seeds: int, folder: Path | None) -> list[Row]:
    early_s = EARLY * problem.all_s * FEW_TRIALS / len(problem.configs)

    def find(seed: int) -> Row:
        own, other = (_replayed(problem, arm, seed, FEW_TRIALS) for arm in (_DEFAULT, _RANDOM))
        return {"seed": seed, "own": own.at(early_s, kind="full"), "random": other.at(early_s, kind="full")}

    return kept_rows(folder, f"{_part(group, problem, FEW_TRIALS)}.few", {"at": EARLY, "form": 2}, range(n_seeds), find)


def _replayed(problem: Problem, arm: Mapping[str, Any], seed: int, n_trials: int) -> Replay:
    return replay_study(spec_of(problem, arm, seed), problem.curves, Limits(max_trials=n_trials), problem.yardstick)


def _part(group: str, problem: Problem, n_trials: int) -> str:
    crossing = getattr(problem.curves, "crossing", "")
    return f"{group}.{problem.task}.{crossing}.{problem.last}.{n_trials}"


def share_of(seconds: float, all_s: float) -> float | None:
    """Returns seconds as a share of others; None for NaN."""
    return None if np.isnan(seconds) else seconds / all_s


def _figures(rows: Sequence[Row]) -> dict[str, float]:
    several = [row for row in rows if row["objectives"] > 1]
    found: dict[str, float] = {"studies": len(rows)}
    if several:
        full = [row["full"] for row in several]
        found["arrive_full"] = float(np.mean([row["full_s"] is not None for row in several]))
        found["full_median"], found["full_p10"] = float(np.median(full)), float(np.percentile(full, 10))
        found["lost_undrawn"] = float(np.mean([1 - row["drawn"] for row in several]))
        found["lost_at_rungs"] = float(np.mean([row["drawn"] - row["full"] for row in several]))
        for key in ("partial_s", "full_s"):
            found[f"{key.removesuffix('_s')}_time"] = _median([row[key] for row in several])
    for suffix, own in (("", several), ("_taskset", [row for row in rows if row["group"] == "taskset"])):
        errors = [row["chosen_error"] for row in own if row["chosen_error"] is not None]
        if errors:
            found[f"chosen_error_p90{suffix}"] = float(np.percentile(errors, 90))
    return {name: round(value, 4) for name, value in found.items()}


def _median(shares: Sequence[float | None]) -> float:
    """Returns the median, in which a study that never arrives counts as later than all others."""
    return float(np.median([np.inf if share is None else share for share in shares]))


def _few_figure(rows: Sequence[Row]) -> dict[str, float]:
    own, other = (float(np.mean([row[key] for row in rows])) for key in ("own", "random"))
    return {"few_trials": round(own, 4), "few_trials_vs_random": round(own / other, 4) if other else 0.0}
