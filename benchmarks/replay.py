"""Speed-up of multi-objective ASHA over random full training on the ten trimtuner tasks; prints one JSON object.

Every study draws the table's 288 configurations in an order of its seed, the same for every arm, on four workers of a
virtual clock. Hypervolume as `lightning_hwtune.engine.replay` tells: error linear, seconds and US dollars in their
logarithm, min-max over the task's table, reference point 1; "partial" counts every report, "full" only configurations
trained to the end; both as a share of what the table's own front has.

Arms:
- random: every configuration is trained to the end
- asha_error: ASHA that looks at the error alone
- moasha: ASHA over error, seconds and dollars

Speed-up: the virtual time (or money) at which random full training first has 95 % of the partial hypervolume, over
that of the arm, seed by seed; a run that never arrives has speed-up 0. A task's figure is the median over seeds, the
headline the median over tasks; its interval is the 5th to 95th percentile of 2,000 bootstrap samples of the seeds,
which are drawn alike for all tasks. The settings are those of `replay_settings.json`, chosen on the eight tasks other
than the two `-60000` ones (`--choose` prints the comparison).

The paper's claim (Salinas et al. 2021, abstract) is 5.8x in runtime and 8.8x in money. It can be read in two ways: as
the speed-up of the search, above, or as runtime and money of the configuration that is chosen: the fastest (cheapest)
fully trained one within 0.01 of the least error found, against the one of least error. `choice` has the second reading;
it measures the rule of choice rather than the search: nearly as much is had from the log of ASHA on the error alone.

    python benchmarks/replay.py [--seeds 30] [--tasks cnn-60000 ...] [--choose]

About ten minutes. Needs the table: HWTUNE_DATA, or ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import lightning_hwtune
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.schedulers import scheduler_from_settings
from lightning_hwtune.core.searchers import Listed
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.engine.replay import Replay, Yardstick, replay_study
from lightning_hwtune.store.tables import Table

Floats = npt.NDArray[np.float64]

SETTINGS = json.loads(Path(__file__).with_name("replay_settings.json").read_text())
RESERVED = ("cnn-60000", "rnn-60000")  # no setting was chosen on these
SHARE = 0.95
TOLERANCE = 0.01
N_BOOTSTRAP = 2_000


def main() -> None:
    """Replays all arms and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--tasks", nargs="+")
    parser.add_argument("--choose", action="store_true", help="compare settings on the tasks that are not reserved")
    arguments = parser.parse_args()
    table = Table.load(SETTINGS["table"])
    seeds = range(arguments.seeds)
    if arguments.choose:
        tasks = [task for task in table.tasks if task not in RESERVED]
        rows = run(table, tasks, seeds, candidates())
    else:
        tasks = arguments.tasks or list(table.tasks)
        rows = run(table, tasks, seeds, SETTINGS["arms"])
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "numpy": np.__version__}
    versions["python"] = platform.python_version()
    print(
        json.dumps(
            {
                "figures": figures(rows) if not arguments.choose else {},
                "arms": summary(rows),
                "tasks": {task: summary([row for row in rows if row["task"] == task]) for task in tasks},
                "choice": choices(rows),
                "paper": {"time": 5.8, "usd": 8.8},
                "accounting": __doc__.split("\n\n")[1:5],
                "settings": SETTINGS,
                "source": table.source,
                "licence": table.licence,
                "machine": platform.platform(),
                "versions": versions,
                "seeds": list(seeds),
                "runs": rows,
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
            arms[f"eta {eta}, {within}"] = {"scheduler": scheduler, "objectives": None}
    return arms


def run(table: Table, tasks: Iterable[str], seeds: range, arms: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns a row for each task, seed and arm."""
    rows = []
    for task in tasks:
        curves = table.curves(task)
        yardstick = Yardstick.of(table.objectives, curves.losses)
        for seed in seeds:
            for name, arm in arms.items():
                spec = StudySpec(
                    name=f"{task}-{name}",
                    space=table.space,
                    objectives=table.chosen(arm["objectives"]),
                    scheduler=scheduler_from_settings(arm["scheduler"]),
                    searcher=Listed(table.configs),
                    pool=Pool("cpu", SETTINGS["workers"]),
                    seed=seed,
                )
                found = replay_study(spec, curves, Limits(max_trials=len(table.configs)), yardstick)
                rows.append({"task": task, "seed": seed, "arm": name, **measured(found)})
        print(task, file=sys.stderr)
    return rows


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
    overall = summary(rows)["moasha"]
    found = {"time_low": overall["time"]["low"], "usd_low": overall["usd"]["low"]}
    for task in RESERVED:
        own = [row for row in rows if row["task"] == task]
        if own:
            found[f"{task.replace('-', '')}_time"] = summary(own)["moasha"]["time"]["median"]
    return found


if __name__ == "__main__":
    main()
