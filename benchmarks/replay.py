"""Speed-up of multi-objective ASHA over random full training on the ten trimtuner tasks; prints one JSON object.

Every study draws the table's 288 configurations in an order of its seed, the same for every arm, on four workers of a
virtual clock. Hypervolume as `lightning_hwtune.engine.replay` tells: error linear, seconds and US dollars in their
logarithm, min-max over the task's table, reference point 1; "partial" counts every report, "full" only configurations
trained to the end; both as a share of what the table's own front has.

Arms:
- random: every configuration is trained to the end
- asha_error: ASHA that looks at the error alone
- moasha: ASHA over error, seconds and dollars
- prior_other: the same with a prior learned from the five tasks of the other network
- prior_same: the same with a prior learned from the four other training-set sizes of the same network

Priors are cross-fitted: a seed divides the configurations into two halves, draws alternate between them, and those of
one half come from a prior that knows, on the other tasks too, the rows of the other half only. So no prior ever looks a
configuration up that it proposes.

Speed-up: the virtual time (or money) at which random full training first has 95 % of the partial hypervolume, over
that of the arm, seed by seed; a run that never arrives has speed-up 0. A task's figure is the median over seeds, the
headline the median over tasks; its interval is the 5th to 95th percentile of 2,000 bootstrap samples of the seeds,
which are drawn alike for all tasks. The settings are those of `replay_settings.json`, chosen on the eight tasks other
than the two `-60000` ones (`--choose` prints the comparison).

The same arms without a prior run once more on four tasks of the synthetic generator (`lightning_hwtune.engine.curves`,
default parameters, 288 configurations, four devices of which a trial takes 1, 2 or 4), on which nothing was chosen.

The paper's claim (Salinas et al. 2021, abstract) is 5.8x in runtime and 8.8x in money. It can be read in two ways: as
the speed-up of the search, above, or as runtime and money of the configuration that is chosen: the fastest (cheapest)
fully trained one within 0.01 of the least error found, against the one of least error. `choice` has the second reading;
it measures the rule of choice rather than the search: nearly as much is had from the log of ASHA on the error alone.

    python benchmarks/replay.py [--seeds 30] [--tasks cnn-60000 ...] [--choose]

About ten minutes. Needs the table: HWTUNE_DATA, or ../shared/data.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import lightning_hwtune
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import scheduler_from_settings
from lightning_hwtune.core.searchers import History, Listed, ParetoPrior, Searcher
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.streams import stream
from lightning_hwtune.engine.curves import Curves, SyntheticCurves
from lightning_hwtune.engine.replay import Replay, Yardstick, replay_study
from lightning_hwtune.store.tables import Table

Floats = npt.NDArray[np.float64]

SETTINGS = json.loads(Path(__file__).with_name("replay_settings.json").read_text())
RESERVED = ("cnn-60000", "rnn-60000")  # no setting was chosen on these
SHARE = 0.95
TOLERANCE = 0.01
N_BOOTSTRAP = 2_000
N_SYNTHETIC = 4  # tasks of the generator with its default parameters
USD_PER_DEVICE_HOUR = 1.0


def main() -> None:
    """Replays all arms and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--tasks", nargs="+")
    parser.add_argument("--choose", action="store_true", help="compare settings on the tasks that are not reserved")
    arguments = parser.parse_args()
    table = Table.load(SETTINGS["table"])
    seeds = range(arguments.seeds)
    tasks = arguments.tasks or [task for task in table.tasks if not (arguments.choose and task in RESERVED)]
    problems = [from_table(table, task) for task in tasks]
    rows = run(problems, seeds, candidates() if arguments.choose else SETTINGS["arms"])
    made_up = (
        [] if arguments.choose or arguments.tasks else run(map(synthetic, range(N_SYNTHETIC)), seeds, SETTINGS["arms"])
    )
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "numpy": np.__version__}
    versions["python"] = platform.python_version()
    print(
        json.dumps(
            {
                "figures": figures(rows) if not arguments.choose else {},
                "arms": summary(rows),
                "tasks": {task: summary([row for row in rows if row["task"] == task]) for task in tasks},
                "synthetic": summary(made_up),
                "choice": choices(rows),
                "paper": {"time": 5.8, "usd": 8.8},
                "accounting": __doc__.split("\n\n")[1:5],
                "settings": SETTINGS,
                "source": table.source,
                "licence": table.licence,
                "machine": platform.platform(),
                "versions": versions,
                "seeds": list(seeds),
                "runs": rows + made_up,
            },
            indent=1,
        )
    )


def candidates() -> dict[str, Any]:
    """Returns the arms among which `--choose` compares."""
    arms = {"random": SETTINGS["arms"]["random"]}
    for eta in (2, 3, 4):
        for within in ("farthest_first", "hypervolume_contribution", "crowding"):
            scheduler = {"name": "asha", "max_epochs": 10, "eta": eta, "within": within}
            arms[f"eta {eta}, {within}"] = {"scheduler": scheduler}
    return arms


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One task to replay on: of the table, or made up."""

    task: str
    space: SearchSpace
    configs: Sequence[Mapping[str, Any]]
    objectives: Objectives
    curves: Curves
    yardstick: Yardstick
    table: Table | None = None


def from_table(table: Table, task: str) -> Problem:
    """Returns a task of the table."""
    curves = table.curves(task)
    yardstick = Yardstick.of(table.objectives, curves.losses)
    return Problem(task, table.space, table.configs, table.objectives, curves, yardstick, table)


def synthetic(seed: int) -> Problem:
    """Returns a task of the generator: 288 configurations of four numbers, two options and 1, 2 or 4 devices."""
    space = SearchSpace(
        lr=Float(1e-4, 1e-1, log=True), width=Int(8, 256, log=True), dropout=Float(0.0, 0.5), decay=Float(0.0, 0.1),
        kind=Choice(["a", "b"]), devices=NumDevices(1, 2, 4),
    )  # fmt: skip
    configs = [space.sample(stream(seed, "configs", index)) for index in range(288)]
    curves = SyntheticCurves(space, 27, seed, usd_per_device_hour=USD_PER_DEVICE_HOUR)
    measured = Objectives([Metric("error", "min"), TrainSeconds(), Metric("usd", "min", "USD")])
    yardstick = Yardstick.sampled(measured, curves, space, configs)
    return Problem(
        f"synthetic-{seed}",
        space,
        configs,
        Objectives([Metric("error", "min"), TrainSeconds(), Cost()]),
        curves,
        yardstick,
    )


def run(problems: Iterable[Problem], seeds: range, arms: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns a row for each task, seed and arm; made-up tasks have no relatives, and so no arms with a prior."""
    rows = []
    for problem in problems:
        for seed in seeds:
            for name, arm in arms.items():
                if problem.table is None and arm.get("prior"):
                    continue
                spec = spec_of(problem, arm, seed)
                found = replay_study(spec, problem.curves, Limits(max_trials=len(problem.configs)), problem.yardstick)
                rows.append({"task": problem.task, "seed": seed, "arm": name, **measured(found)})
        print(problem.task, file=sys.stderr)
    return rows


def spec_of(problem: Problem, arm: Mapping[str, Any], seed: int) -> StudySpec:
    """Returns the study of an arm."""
    wanted = arm.get("objectives") or problem.objectives.names
    searcher = (
        Listed(problem.configs)
        if problem.table is None
        else searcher_of(problem.table, problem.task, arm.get("prior"), seed)
    )
    return StudySpec(
        name=problem.task,
        space=problem.space,
        objectives=Objectives([item for item in problem.objectives if item.name in wanted]),
        scheduler=scheduler_from_settings({**arm["scheduler"], "max_epochs": problem.curves.max_resource}),
        searcher=searcher,
        pool=Pool("cpu", SETTINGS["workers"], USD_PER_DEVICE_HOUR),
        seed=seed,
    )


def searcher_of(table: Table, task: str, prior: str | None, seed: int) -> Searcher:
    """Returns the table's configurations in random order, or a cross-fitted prior from "other" or "same" tasks."""
    if prior is None:
        return Listed(table.configs)
    network = task.partition("-")[0]
    is_same = prior == "same"
    tasks = [name for name in table.tasks if name != task and (name.partition("-")[0] == network) == is_same]
    order = np.random.default_rng(seed).permutation(len(table.configs))
    halves = [sorted(order[::2].tolist()), sorted(order[1::2].tolist())]
    return CrossFitted(
        tuple(
            ParetoPrior.from_table(table, tasks, rows=known, configs=[table.configs[row] for row in drawn])
            for drawn, known in (halves, halves[::-1])
        )
    )


class CrossFitted(Searcher):
    """Draws in turn from two priors, each of which sees the trials that it drew itself, under its own numbers."""

    name = "cross_fitted"

    def __init__(self, priors: tuple[ParetoPrior, ...]) -> None:
        self.priors = priors

    def check(self, space: SearchSpace) -> None:
        """Refuses what one of the priors refuses."""
        for prior in self.priors:
            prior.check(space)

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        """Returns the next draw of the prior whose turn it is, or of the other one if that has no more."""
        n = len(self.priors)
        for turn in (draw % n, (draw + 1) % n):
            own = [
                dataclasses.replace(trial, draw=trial.draw // n)
                for trial in history.trials
                if trial.draw is not None and trial.draw % n == turn
            ]
            config = self.priors[turn].propose(space, draw // n, seed, dataclasses.replace(history, trials=own))
            if config is not None:
                return config
        return None

    def settings(self) -> dict[str, Any]:
        """Returns what tells two of them apart."""
        return {"name": self.name, "priors": [prior.digest for prior in self.priors]}


def measured(found: Replay) -> dict[str, Any]:
    """Returns what is kept of one study; never arrived = null."""
    time_s, usd = found.first(SHARE), found.first(SHARE, by="usd")
    return {
        "time_s": None if np.isnan(time_s) else time_s,
        "usd": None if np.isnan(usd) else usd,
        "partial": float(found.partial[-1]),
        "full": float(found.full[-1]),
        "total_s": found.state.last_at,
        "total_usd": float(found.usd[-1]),
        "chosen": chosen(found),
    }


def chosen(found: Replay) -> dict[str, list[float]]:
    """Returns (error, seconds, dollars) of the fully trained configuration that each rule chooses."""
    full = found.losses[found.resources >= found.state.scheduler.max_resource]
    full = full[np.isfinite(full).all(axis=1)]
    near = full[full[:, 0] <= full[:, 0].min() + TOLERANCE]
    rules = {"least_error": full[:, 0], "fastest_near": near[:, 1], "cheapest_near": near[:, 2]}
    pools = {"least_error": full, "fastest_near": near, "cheapest_near": near}
    return {rule: pools[rule][int(values.argmin())].tolist() for rule, values in rules.items()}


def speed_ups(rows: list[dict[str, Any]], arm: str, kind: str) -> dict[str, Floats]:
    """Returns task -> speed-up of each seed over random full training; 0 where the arm never arrived."""
    cells = {(row["task"], row["seed"], row["arm"]): row[kind] for row in rows}
    tasks, seeds = dict.fromkeys(row["task"] for row in rows), dict.fromkeys(row["seed"] for row in rows)
    return {
        task: np.array([ratio(cells[task, seed, "random"], cells[task, seed, arm]) for seed in seeds]) for task in tasks
    }


def ratio(base: float | None, own: float | None) -> float:
    """Returns base / own; 0 if the arm never arrived. Random full training of the whole table always arrives."""
    return 0.0 if own is None or base is None else base / own


def interval(by_task: Mapping[str, Floats]) -> dict[str, float]:
    """Returns the median over tasks of the medians over seeds, and its bootstrap interval."""
    matrix = np.stack(list(by_task.values()))
    rng = np.random.default_rng(0)
    samples = matrix[:, rng.integers(matrix.shape[1], size=(N_BOOTSTRAP, matrix.shape[1]))]
    medians = np.median(np.median(samples, axis=2), axis=0)
    low, high = np.percentile(medians, [5, 95])
    middle = float(np.median(np.median(matrix, axis=1)))
    return {"median": round(middle, 2), "low": round(float(low), 2), "high": round(float(high), 2)}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns each arm's speed-ups, share of runs that arrive, and final full hypervolume."""
    found = {}
    for arm in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == arm]
        found[arm] = {
            "time": interval(speed_ups(rows, arm, "time_s")),
            "usd": interval(speed_ups(rows, arm, "usd")),
            "arrived": round(statistics.mean(row["time_s"] is not None for row in own), 3),
            "full_median": round(statistics.median(row["full"] for row in own), 4),
            "full_p10": round(float(np.percentile([row["full"] for row in own], 10)), 4),
        }
    return found


def choices(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the other reading of the claim: what is chosen from ASHA on the error, against the tolerant choices."""
    by_task: dict[str, Any] = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row["chosen"] for row in rows if row["task"] == task and row["arm"] == "moasha"]
        single = [row["chosen"] for row in rows if row["task"] == task and row["arm"] == "asha_error"]
        if own and single:
            pairs = list(zip(single, own, strict=True))
            by_task[task] = {
                "time": median(s["least_error"][1] / o["fastest_near"][1] for s, o in pairs),
                "usd": median(s["least_error"][2] / o["cheapest_near"][2] for s, o in pairs),
                "time_from_the_error_log": median(s["least_error"][1] / s["fastest_near"][1] for s in single),
                "usd_from_the_error_log": median(s["least_error"][2] / s["cheapest_near"][2] for s in single),
            }
    return by_task


def median(values: Iterable[float]) -> float:
    """Returns the median, rounded for print."""
    return round(statistics.median(values), 2)


def figures(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Returns the headline numbers; those of tasks that were not run are missing."""
    overall, found = summary(rows), {}
    for suffix, arm in (("", "moasha"), ("_other", "prior_other"), ("_same", "prior_same")):
        if arm in overall:
            found[f"time_low{suffix}"] = overall[arm]["time"]["low"]
            found[f"usd_low{suffix}"] = overall[arm]["usd"]["low"]
        for task in RESERVED:
            own = [row for row in rows if row["task"] == task]
            if own and arm in overall:
                found[f"{task.replace('-', '')}_time{suffix}"] = summary(own)[arm]["time"]["median"]
    return found | prior_losses(rows)


def prior_losses(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Returns what priors cost in final full hypervolume, relative to the same seed without one.

    The median over all runs with a prior, and the loss that one run in ten exceeds (the 10th percentile of what is
    left). Negative = a gain.
    """
    plain = {(row["task"], row["seed"]): row["full"] for row in rows if row["arm"] == "moasha"}
    losses = [
        1 - row["full"] / plain[row["task"], row["seed"]] for row in rows if row["arm"] in ("prior_other", "prior_same")
    ]
    if not losses:
        return {}
    return {
        "prior_hv_loss_median": round(float(np.median(losses)), 4),
        "prior_hv_loss_p10": round(float(np.percentile(losses, 90)), 4),
    }


if __name__ == "__main__":
    main()
