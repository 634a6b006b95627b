"""What PASHA saves and loses, compared with ASHA over the whole ladder and with ASHA with a fixed cap.

    python benchmarks/pasha.py [--seeds 10] [--parts tables synthetic several] [--rows FOLDER] > pasha.json

Prints one JSON object; progress goes to standard error. Everything is simulated, so a seed gives the same figures on
every machine. With --rows every part saves its rows in a folder, and rows that already exist are not computed again.

Each run is a study of 256 trials by 4 workers, eta 3, rungs from 1, no finishers, no start-up times. All arms of a seed
draw the same configurations in the same sequence.

- speedup: virtual time of ASHA's study divided by that of the arm, until all trials and promotions are done, which is
  the end of both. Intervals are the 5th to 95th percentile of the median in 2,000 bootstrap samples of the runs.
  Further ratios of the same runs: `speedup_started` until the last configuration was started, which is the authors' end
  of a study; `resource_ratio` by the epochs that all trials trained; `speedup_trained` until the selected configuration
  is trained to the end, too: the rest of its training, from its checkpoint, is added to both.
- The selected configuration is the best finite one at the deepest rung with a finite value. loss: its error after the
  full training, minus that of the configuration that ASHA selects; above 0 is worse. Synthetic curves: without noise.
- Which trials are promoted. "quantile": PASHA as published, compared with ASHA with the same rule, as by its authors.
  "floor": PASHA with its default here, n // eta, compared with `ASHA`. "quantile_over_floor": PASHA as published,
  compared with `ASHA`, which promotes fewer. Figures are those of "quantile", unless their names end in `_floor`.
- "cap_quantile", "cap_floor": ASHA that ends at 27, compared with ASHA with the same rule. It needs no growing ladder.

Parts. `tables`: lcbench-surrogate (validation error, in [0, 1]; predicted by a surrogate) and taskset (validation loss,
measured). `synthetic`: a grid of noise x crossing with the generator of `lightning_hwtune.simulation.curves`, with the
whole range of crossings, R = 243 and 729, and another set of curves per seed. The noises are those of measured curves:
the 10th, 25th, 50th, 75th and 90th percentile of trimtuner's, rounded to one digit; `measured_noise` computes them.

Curves without noise do not occur in practice, and they give PASHA no noise to measure. They are in the grid
and have their own groups: "noiseless", and "settled_with_noiseless". "settled" is the half of the cells with noise
whose curves settle first, ordered by settles_at and then by crossing. settles_at is the lowest rung from which on the
order of 256 random configurations, without noise, has a rank correlation (Spearman) of at least 0.9 with their order at
R; the median over seeds. It does not depend on the noise, so the half contains all noises equally. rank_correlation is
the lowest one of two neighbouring rungs, with noise.

`several`: several objectives, MO-PASHA against MO-ASHA, both with their defaults, on lcbench-surrogate (error, time)
and trimtuner (error, time, money). It has the hypervolume of all reports (`lightning_hwtune.simulation.accounting`) as
a fraction of MO-ASHA's, and the same for the full trainings of the configurations on the front of all reports.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import pasha_figures
from benchmarks.kept_rows import Row, kept_rows
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.ranking.fronts import non_dominated_mask
from lightning_hwtune.core.ranking.hypervolume import hypervolume
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.core.schedulers import ASHA, PASHA, Scheduler
from lightning_hwtune.core.schedulers.pasha import GrowingRace
from lightning_hwtune.core.searchers import Listed, Random, Searcher
from lightning_hwtune.core.space import Float, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.simulation.accounting import Replay, Yardstick, point, replay_study
from lightning_hwtune.simulation.curves import Curves, SyntheticCurves
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.simulation.tables import Table, TaskCurves

__all__ = ["main", "selected", "settles_at"]

N_TRIALS, N_WORKERS, CAP = 256, 4, 27
NOISES = (0.0, 0.002, 0.004, 0.009, 0.02, 0.04)
MEASURED_AT = (10, 25, 50, 75, 90)  # percentiles
CROSSINGS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
LADDERS = (243, 729)
TABLES = {"lcbench": ("lcbench-surrogate", "val_error"), "taskset": ("taskset", "valid_loss")}
SEVERAL = {"lcbench-surrogate": ("val_error", "train_s"), "trimtuner": ("error", "train_s", "cost_usd")}
SPACE = SearchSpace({f"x{i}": Float(0.0, 1.0) for i in range(4)})
LIMITS = Limits(max_trials=N_TRIALS, finishers=0)
ABOUT = {"trials": N_TRIALS, "workers": N_WORKERS, "cap": CAP, "eta": 3}
SUFFIXES = {"quantile": "", "floor": "_floor"}  # of named figures
IS_SETTLED = 0.9  # rank correlation with the full training


class WholeLadder(PASHA):
    """PASHA with a complete ladder from the start, which is ASHA with PASHA's choice of promotions."""

    def start(self, objectives: Objectives) -> GrowingRace:
        """Returns a race whose ladder is complete."""
        return GrowingRace(self, objectives, is_whole=True)


def schedulers(max_epochs: int) -> dict[str, Scheduler]:
    """Returns the schedulers to compare, in the pairs of `pasha_figures.PAIRS`."""
    cap = min(CAP, max_epochs)
    return {
        "asha_quantile": WholeLadder(max_epochs, quota="quantile"),
        "asha_floor": ASHA(max_epochs, first_rung=1),
        "quantile": PASHA(max_epochs, quota="quantile"),
        "floor": PASHA(max_epochs, quota="floor"),
        "cap_quantile": WholeLadder(cap, quota="quantile"),
        "cap_floor": ASHA(cap, first_rung=1),
    }


def study(scheduler: Scheduler, space: SearchSpace, objectives: Objectives, searcher: Searcher, seed: int) -> StudySpec:
    """Returns one study's settings."""
    return StudySpec("pasha", space, objectives, scheduler, searcher, Pool("cpu", N_WORKERS), seed=seed)


class Remembered:
    """Synthetic curves that draw a measurement once: all arms of a seed train the same configurations."""

    def __init__(self, curves: SyntheticCurves) -> None:
        self.metrics, self.max_resource = curves.metrics, curves.max_resource
        self.elapsed_s, self.usd_per_s = curves.elapsed_s, curves.usd_per_s
        self._curves, self._known = curves, dict[tuple[Any, ...], Mapping[str, float]]()

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        """Returns the values of the curves."""
        key = (*config.values(), resource)
        if key not in self._known:
            self._known[key] = self._curves.values(config, resource)
        return self._known[key]


def selected(state: StudyState) -> TrialRecord:
    """Returns the trial that is best at the deepest rung with a finite value."""
    objectives = state.spec.objectives
    for level in reversed(state.ladder.levels):
        found = [(t, m) for t in state.trials if level in t.decided and (m := t.at(level)) is not None]
        losses = [(float(objectives.loss(m.values)[0]), t.trial_id) for t, m in found]
        finite = [pair for pair in losses if np.isfinite(pair[0])]
        if finite:
            return state.trials[min(finite)[1]]
    raise SystemExit("no trial has a finite value at a rung")


def deepest(state: StudyState) -> int:
    """Returns the highest resource that any trial reached."""
    return max(trial.resource for trial in state.trials)


def studies(
    curves: Curves, simulated: Callable[[Scheduler], StudyState], final_loss: Callable[[Mapping[str, Any]], float]
) -> Row:
    """Returns scheduler -> the results of its study."""
    found = {}
    for name, scheduler in schedulers(curves.max_resource).items():
        state = simulated(scheduler)
        best, last = selected(state), curves.max_resource
        found[name] = {
            "seconds": state.last_at,
            "started_s": state.trials[-1].created_at,
            "rest_s": curves.elapsed_s(best.config, last, 1) - curves.elapsed_s(best.config, best.resource, 1),
            "epochs": sum(trial.resource for trial in state.trials),
            "error": final_loss(best.config),
            "cap": deepest(state),
        }
    return found


def on_task(table: Table, task: str, objective: str, seed: int) -> Row:
    """Returns a row of one task of a table."""
    curves, place = table.curves(task), table.columns.index(objective)

    def simulated(scheduler: Scheduler) -> StudyState:
        spec = study(scheduler, table.space, table.chosen([objective]), Listed(table.configs), seed)
        return simulate(spec, curves, LIMITS)

    def final_loss(config: Mapping[str, Any]) -> float:
        value = float(curves.losses[curves.row(config), -1, place])
        return value if np.isfinite(value) else float("inf")

    return {"studies": studies(curves, simulated, final_loss)}


def on_synthetic(max_epochs: int, crossing: float, noise: float, seed: int) -> Row:
    """Returns a row of one cell of the grid."""
    smooth = SyntheticCurves(SPACE, max_epochs, seed=seed, crossing=crossing, noise=0.0)
    curves = Remembered(dataclasses.replace(smooth, noise=noise))

    def simulated(scheduler: Scheduler) -> StudyState:
        return simulate(study(scheduler, SPACE, Objectives(Metric("error", "min")), Random(), seed), curves, LIMITS)

    def final_loss(config: Mapping[str, Any]) -> float:
        return float(smooth.values(config, max_epochs)["error"])

    return {
        "studies": studies(curves, simulated, final_loss),
        "rank_correlation": min(correlation(low, high) for low, high in itertools.pairwise(at_rungs(curves, seed))),
        "settles_at": settles_at(ASHA(max_epochs).levels, at_rungs(smooth, seed)),
    }


def measured_noise(table: Table, column: str = "error") -> dict[str, float]:
    """Returns percentile -> noise of a table's curves, in the unit of the generator's.

    A curve's deviation is that of its second differences over its later half, which are six variances of independent
    noise. The range of a task is how far its best final value lies below the median first value.
    """
    found = list[float]()
    for task in table.tasks:
        errors = table.curves(task).losses[..., table.columns.index(column)]
        errors = errors[np.isfinite(errors).all(axis=1)]
        bends = np.diff(errors[:, errors.shape[1] // 2 :], n=2, axis=1)
        to_learn = np.median(errors[:, 0]) - errors[:, -1].min()
        found.extend(np.sqrt((bends**2).mean(axis=1) / 6) / to_learn)
    return {f"p{p}": round(float(np.percentile(found, p)), 4) for p in MEASURED_AT}


def at_rungs(curves: Curves, seed: int) -> list[npt.NDArray[np.float64]]:
    """Returns, for each rung, the errors of random configurations, as many as a study has."""
    points = np.random.default_rng(seed).random((N_TRIALS, len(SPACE))).tolist()
    configs = [dict(zip(SPACE, row, strict=True)) for row in points]
    levels = ASHA(curves.max_resource).levels
    return [np.array([curves.values(config, level)["error"] for config in configs]) for level in levels]


def settles_at(levels: Sequence[int], errors: Sequence[npt.NDArray[np.float64]]) -> int:
    """Returns the lowest rung from which on the order is nearly that of the last one."""
    lowest = levels[-1]
    for level, row in zip(reversed(levels), reversed(errors), strict=True):
        if correlation(row, errors[-1]) < IS_SETTLED:
            break
        lowest = level
    return lowest


def correlation(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Returns Spearman's rank correlation."""
    return float(spearmanr(first, second).statistic)


def with_several(table: Table, task: str, columns: Sequence[str], seed: int) -> Row:
    """Returns a row of MO-PASHA against MO-ASHA: hypervolumes as shares of MO-ASHA's."""
    curves, objectives = table.curves(task), table.chosen(columns)
    yardstick = Yardstick.of(objectives, curves.losses[..., [table.columns.index(column) for column in columns]])
    asha, pasha = (
        replay_study(
            study(scheduler, table.space, objectives, Listed(table.configs), seed), curves, LIMITS, yardstick
        )
        for scheduler in (ASHA(table.max_resource, first_rung=1), PASHA(table.max_resource))
    )  # fmt: skip
    trained = [trained_hypervolume(each, curves, yardstick) for each in (asha, pasha)]
    return {
        "speedup": asha.state.last_at / pasha.state.last_at,
        "partial": float(pasha.partial[-1] / asha.partial[-1]),
        "trained": trained[1] / trained[0],
        "cap": deepest(pasha.state),
    }


def trained_hypervolume(found: Replay, curves: TaskCurves, yardstick: Yardstick) -> float:
    """Returns the hypervolume of the full trainings of those configurations that are on the front of all reports."""
    ids = {int(i) for i in found.trial_ids[non_dominated_mask(found.losses)]}
    trials = [found.state.trials[i] for i in sorted(ids)]
    values = [point(curves, trial.config, curves.max_resource, trial.num_devices) for trial in trials]
    losses = np.array([yardstick.objectives.loss(value) for value in values])
    return hypervolume(yardstick.unit(losses), np.ones(len(yardstick.objectives)))


def tables(seeds: range, folder: Path | None) -> tuple[dict[str, Any], dict[str, float]]:
    """Returns the part on tables, and its named figures."""
    report, named = dict[str, Any](), dict[str, float]()
    for short, (name, objective) in TABLES.items():
        table = Table.load(name)
        by_task = {
            task: kept_rows(folder, f"pasha-{name}-{task}", ABOUT, seeds, partial(on_task, table, task, objective))
            for task in table.tasks
        }
        found = pasha_figures.by_arm([row for rows in by_task.values() for row in rows])
        report[short] = {**found, "tasks": {task: pasha_figures.by_arm(rows) for task, rows in by_task.items()}}
        for quota, suffix in SUFFIXES.items():
            for figure in ("speedup", "median_loss", "share_losing_more"):
                named[f"{short}_{figure}{suffix}"] = found[quota][figure]
            named[f"{short}_cap_speedup{suffix}"] = found[f"cap_{quota}"]["speedup"]
    return report, named


def synthetic(seeds: range, folder: Path | None) -> tuple[dict[str, Any], dict[str, float]]:
    """Returns the grids, and their named figures."""
    report, named = dict[str, Any](), dict[str, float]()
    with contextlib.suppress(ArgumentError):
        report["measured_noise"] = measured_noise(Table.load("trimtuner"))
    for max_epochs in LADDERS:
        cells, rows = list[dict[str, Any]](), list[list[Row]]()
        for crossing, noise in itertools.product(CROSSINGS, NOISES):
            part, find = f"pasha-{max_epochs}-{crossing}-{noise}", partial(on_synthetic, max_epochs, crossing, noise)
            rows.append(kept_rows(folder, part, ABOUT, seeds, find))
            cells.append(pasha_figures.cell(max_epochs, crossing, noise, rows[-1]))
        found = pasha_figures.synthetic(cells, rows)
        report[f"R={max_epochs}"] = found
        for quota, suffix in SUFFIXES.items():
            named[f"synthetic{max_epochs}_speedup_settled{suffix}"] = found["settled"][quota]["speedup"]
            worst = max(found["losses_where_correlated"][quota], default=0.0)
            named[f"synthetic{max_epochs}_worst_loss_correlated{suffix}"] = worst
    return report, named


def several(seeds: range, folder: Path | None) -> tuple[dict[str, Any], dict[str, float]]:
    """Returns the part on several objectives, and its named figures."""
    by_table = dict[str, list[Row]]()
    for name, columns in SEVERAL.items():
        table, about = Table.load(name), {**ABOUT, "quota": PASHA(27).quota}
        found = [
            kept_rows(folder, f"pasha-several-{name}-{task}", about, seeds, partial(with_several, table, task, columns))
            for task in table.tasks
        ]
        by_table[name] = [row for rows in found for row in rows]
    report = {name: pasha_figures.several(rows) for name, rows in by_table.items()}
    together = pasha_figures.several([row for rows in by_table.values() for row in rows])
    return report, {"mo_hv_loss_median": together["hv_loss_median"], "mo_speedup": together["speedup"]}


PARTS = {"tables": tables, "synthetic": synthetic, "several": several}


def main() -> None:
    """Runs the parts and prints the report as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rows", type=Path, help="a folder to keep the rows in")
    given = parser.parse_args()
    report: dict[str, Any] = {"settings": {**ABOUT, "seeds": given.seeds, "quota": PASHA(27).quota}}
    named: dict[str, float] = {}
    for part in given.parts:
        report[part], figures = PARTS[part](range(given.seeds), given.rows)
        named |= figures
    print(json.dumps({**report, "figures": named}, indent=1))


if __name__ == "__main__":
    main()
