"""What PASHA saves and what it loses, against ASHA over the whole ladder and against ASHA with a fixed cap.

    python benchmarks/pasha.py                                  # all parts
    python benchmarks/pasha.py --parts tables --seeds 2         # a quick look at one

Prints one JSON object; progress and tables go to standard error. Everything is simulated, so a seed gives the same
figures on every machine.

Each run is a study of 256 trials by 4 workers, eta 3, rungs from 1, no finishers, no start-up times; all arms of a
seed draw the same configurations in the same sequence.

- speedup: virtual time of ASHA's study over that of the arm, until all trials and promotions are done.
- The selected configuration is the best finite one at the deepest rung that has a finite value. loss: its error after
  the full training, minus that of ASHA's selected one; above 0 is worse. On the synthetic curves without their noise.
- "pasha" lets go on whom the authors' quantile does, "pasha_floor" n // eta of a rung, as "asha" and "cap" do.
- "cap" is ASHA that ends at the rung 27: it needs no rule at all.

Parts. `tables`: lcbench-surrogate (validation error, in [0, 1]; predicted by a surrogate) and taskset (validation loss,
measured). `synthetic`: a grid of noise x crossing on the generator of `lightning_hwtune.engine.curves`, R = 243 and
729, every seed another set of curves; a cell is "settled" where crossing is in the lower half of the grid, so that
curves settle early on the ladder. rank_correlation is the lowest Spearman correlation of neighbouring rungs over the
256 configurations, the median of seeds. `several`: several objectives, MO-PASHA against MO-ASHA on lcbench-surrogate
(error, time) and trimtuner (error, time, money): hypervolume of all reports, as `lightning_hwtune.engine.replay` tells,
as a share of MO-ASHA's, and the same for the full trainings of the configurations on the front of all reports.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import itertools

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.ranking.fronts import non_dominated_mask
from lightning_hwtune.core.ranking.hypervolume import hypervolume
from lightning_hwtune.core.schedulers import ASHA, PASHA, Scheduler
from lightning_hwtune.core.searchers import Listed, Random, Searcher
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.engine.curves import Curves, SyntheticCurves
from lightning_hwtune.engine.replay import Replay, Yardstick, point, replay_study
from lightning_hwtune.engine.simulated import simulate
from lightning_hwtune.store.tables import Table, TaskCurves

__all__ = ["Run", "figures", "main", "selected"]

N_TRIALS, N_WORKERS, CAP = 256, 4, 27
NOISES = (0.0, 0.003, 0.01, 0.03)
CROSSINGS = (0.1, 0.3, 0.5, 0.7)
SETTLED = CROSSINGS[: len(CROSSINGS) // 2]
LADDERS = (243, 729)
LOSS_BAR = 0.01
LIMITS = Limits(max_trials=N_TRIALS, finishers=0)


@dataclass(frozen=True, slots=True)
class Run:
    """One arm of one seed against ASHA of the same seed. `cap` is the ladder's end that it came to."""

    where: str
    arm: str
    seed: int
    speedup: float
    loss: float
    cap: int


def arms(max_epochs: int) -> dict[str, Scheduler]:
    """Returns what is compared."""
    return {
        "asha": ASHA(max_epochs),
        "pasha": PASHA(max_epochs),
        "pasha_floor": PASHA(max_epochs, quota="floor"),
        "cap": ASHA(min(CAP, max_epochs)),
    }


def study(
    scheduler: Scheduler, curves: Curves, space: SearchSpace, objectives: Objectives, searcher: Searcher, seed: int
) -> StudySpec:
    """Returns one study's settings."""
    return StudySpec("pasha", space, objectives, scheduler, searcher, Pool("cpu", N_WORKERS), seed=seed)


def selected(state: StudyState) -> Mapping[str, Any]:
    """Returns the configuration that is best at the deepest rung with a finite value."""
    objectives = state.spec.objectives
    for level in reversed(state.scheduler.levels):
        found = [(t, m) for t in state.trials if level in t.decided and (m := t.at(level)) is not None]
        losses = [(float(objectives.loss(m.values)[0]), t.trial_id) for t, m in found]
        finite = [pair for pair in losses if np.isfinite(pair[0])]
        if finite:
            return state.trials[min(finite)[1]].config
    raise SystemExit("no trial has a finite value at a rung")


def compared(
    where: str,
    seed: int,
    max_epochs: int,
    simulated: Callable[[Scheduler], StudyState],
    final_loss: Callable[[Mapping[str, Any]], float],
) -> list[Run]:
    """Returns all arms of one seed."""
    states = {name: simulated(scheduler) for name, scheduler in arms(max_epochs).items()}
    base_s, base_loss = states["asha"].last_at, final_loss(selected(states["asha"]))
    return [
        Run(where, name, seed, base_s / state.last_at, final_loss(selected(state)) - base_loss, deepest(state))
        for name, state in states.items()
        if name != "asha"
    ]


def deepest(state: StudyState) -> int:
    """Returns the highest resource that any trial came to."""
    return max(trial.resource for trial in state.trials)


def on_table(name: str, objective: str, seeds: int) -> list[Run]:
    """Returns the runs on all tasks of a table."""
    table, runs = Table.load(name), list[Run]()
    objectives = table.chosen([objective])
    for task in table.tasks:
        curves = table.curves(task)
        place = table.columns.index(objective)

        def final_loss(config: Mapping[str, Any], curves: TaskCurves = curves, place: int = place) -> float:
            value = float(curves.losses[curves.row(config), -1, place])
            return value if np.isfinite(value) else float("inf")

        for seed in range(seeds):

            def simulated(scheduler: Scheduler, curves: TaskCurves = curves, seed: int = seed) -> StudyState:
                spec = study(scheduler, curves, table.space, objectives, Listed(table.configs), seed)
                return simulate(spec, curves, LIMITS)

            runs += compared(f"{name}/{task}", seed, table.max_resource, simulated, final_loss)
        tell(f"{name} {task}")
    return runs


def on_synthetic(max_epochs: int, seeds: int) -> Iterator[tuple[dict[str, Any], list[Run]]]:
    """Yields each cell of the grid with its runs."""
    space = SearchSpace({f"x{i}": Float(0.0, 1.0) for i in range(4)})
    objectives = Objectives(_metric("error"))
    for crossing in CROSSINGS:
        for noise in NOISES:
            runs, correlations = list[Run](), list[float]()
            for seed in range(seeds):
                curves = SyntheticCurves(space, max_epochs, seed=seed, crossing=crossing, noise=noise)
                smooth = dataclasses.replace(curves, noise=0.0)
                correlations.append(rank_correlation(curves, space, seed))

                def simulated(scheduler: Scheduler, curves: SyntheticCurves = curves, seed: int = seed) -> StudyState:
                    return simulate(study(scheduler, curves, space, objectives, Random(), seed), curves, LIMITS)

                def final_loss(config: Mapping[str, Any], smooth: SyntheticCurves = smooth) -> float:
                    return float(smooth.values(config, smooth.max_resource)["error"])

                runs += compared(f"R={max_epochs}", seed, max_epochs, simulated, final_loss)
            cell = {"R": max_epochs, "crossing": crossing, "noise": noise, "settled": crossing in SETTLED}
            cell["rank_correlation"] = round(statistics.median(correlations), 3)
            tell(f"R={max_epochs} crossing={crossing} noise={noise}")
            yield cell, runs


def rank_correlation(curves: SyntheticCurves, space: SearchSpace, seed: int) -> float:
    """Returns the lowest Spearman correlation of neighbouring rungs over as many configurations as a study has."""
    levels = ASHA(curves.max_resource).levels
    rng = np.random.default_rng(seed)
    configs = [dict(zip(space, map(float, row), strict=True)) for row in rng.random((N_TRIALS, len(space)))]
    errors = [[curves.values(config, level)["error"] for config in configs] for level in levels]
    return min(float(spearmanr(low, high).statistic) for low, high in itertools.pairwise(errors))


def _metric(name: str) -> Any:
    from lightning_hwtune.core.objectives import Metric

    return Metric(name, "min")


@dataclass(frozen=True, slots=True)
class SeveralRun:
    """MO-PASHA against MO-ASHA of one seed: hypervolumes as shares of MO-ASHA's."""

    where: str
    seed: int
    speedup: float
    partial: float
    trained: float
    cap: int


def several(name: str, columns: Sequence[str], seeds: int) -> list[SeveralRun]:
    """Returns the runs with several objectives on all tasks of a table."""
    table, runs = Table.load(name), list[SeveralRun]()
    objectives = table.chosen(columns)
    for task in table.tasks:
        curves = table.curves(task)
        places = [table.columns.index(column) for column in columns]
        yardstick = Yardstick.of(objectives, curves.losses[..., places])
        for seed in range(seeds):
            found = [
                replay_study(
                    study(scheduler, curves, table.space, objectives, Listed(table.configs), seed),
                    curves, LIMITS, yardstick,
                )
                for scheduler in (ASHA(table.max_resource), PASHA(table.max_resource))
            ]  # fmt: skip
            asha, pasha = found
            trained = [trained_hypervolume(each, curves, yardstick) for each in found]
            speedup = asha.state.last_at / pasha.state.last_at
            partial = float(pasha.partial[-1] / asha.partial[-1])
            runs.append(
                SeveralRun(f"{name}/{task}", seed, speedup, partial, trained[1] / trained[0], deepest(pasha.state))
            )
        tell(f"{name} {task}, {len(columns)} objectives")
    return runs


def trained_hypervolume(found: Replay, curves: TaskCurves, yardstick: Yardstick) -> float:
    """Returns the hypervolume of the full trainings of those configurations that are on the front of all reports."""
    ids = {int(i) for i in found.trial_ids[non_dominated_mask(found.losses)]}
    trials = [found.state.trials[i] for i in sorted(ids)]
    values = [point(curves, trial.config, curves.max_resource, trial.num_devices) for trial in trials]
    losses = np.array([yardstick.objectives.loss(value) for value in values])
    return hypervolume(yardstick.unit(losses), np.ones(len(yardstick.objectives)))


def summary(runs: Sequence[Run]) -> dict[str, float]:
    """Returns the figures of one arm over its runs."""
    losses, speedups = [run.loss for run in runs], [run.speedup for run in runs]
    return {
        "runs": len(runs),
        "speedup": round(statistics.median(speedups), 3),
        "speedup_low": round(float(np.percentile(speedups, 25)), 3),
        "speedup_high": round(float(np.percentile(speedups, 75)), 3),
        "median_loss": round(statistics.median(losses), 5),
        "share_losing_more": round(sum(loss > LOSS_BAR for loss in losses) / len(losses), 3),
        "median_cap": statistics.median(run.cap for run in runs),
    }


def by_arm(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Returns the summary of each arm."""
    return {arm: summary([run for run in runs if run.arm == arm]) for arm in ("pasha", "pasha_floor", "cap")}


def figures(parts: Sequence[str], seeds: int) -> dict[str, Any]:
    """Runs the parts and returns the document."""
    document: dict[str, Any] = {"settings": {"trials": N_TRIALS, "workers": N_WORKERS, "cap": CAP, "seeds": seeds}}
    named: dict[str, float] = {}
    if "tables" in parts:
        for short, table, objective in (
            ("lcbench", "lcbench-surrogate", "val_error"),
            ("taskset", "taskset", "valid_loss"),
        ):
            arms_of = document[short] = by_arm(on_table(table, objective, seeds))
            named |= {
                f"{short}_speedup": arms_of["pasha"]["speedup"],
                f"{short}_median_loss": arms_of["pasha"]["median_loss"],
            }
            named |= {f"{short}_cap_speedup": arms_of["cap"]["speedup"]}
    if "synthetic" in parts:
        document["synthetic"] = []
        for max_epochs in LADDERS:
            settled = list[Run]()
            for cell, runs in on_synthetic(max_epochs, seeds):
                document["synthetic"].append({**cell, **by_arm(runs)})
                settled += [run for run in runs if cell["settled"] and run.arm == "pasha"]
            named[f"synthetic{max_epochs}_speedup_settled"] = summary(settled)["speedup"]
    if "several" in parts:
        tasks = (("lcbench-surrogate", ("val_error", "train_s")), ("trimtuner", ("error", "train_s", "cost_usd")))
        runs_of = {name: several(name, columns, seeds) for name, columns in tasks}
        document["several"] = {name: _several_summary(runs) for name, runs in runs_of.items()}
        every = [run for runs in runs_of.values() for run in runs]
        named["mo_hv_loss_median"] = round(1 - statistics.median(run.partial for run in every), 5)
        named["mo_speedup"] = round(statistics.median(run.speedup for run in every), 3)
    document["figures"] = named
    return document


def _several_summary(runs: Sequence[SeveralRun]) -> dict[str, float]:
    return {
        "runs": len(runs),
        "speedup": round(statistics.median(run.speedup for run in runs), 3),
        "hv_loss_median": round(1 - statistics.median(run.partial for run in runs), 5),
        "hv_loss_p90": round(1 - float(np.percentile([run.partial for run in runs], 10)), 5),
        "trained_hv_loss_median": round(1 - statistics.median(run.trained for run in runs), 5),
        "median_cap": statistics.median(run.cap for run in runs),
    }


def tell(text: str) -> None:
    """Tells progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="tables,synthetic,several", help="comma-separated")
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    print(json.dumps(figures(given.parts.split(","), given.seeds), indent=2))


if __name__ == "__main__":
    main()
