"""What a prior from other tasks gains, and what a misleading prior costs: leave-one-task-out on measured tasks.

    python benchmarks/transfer.py [--seeds 20] [--half reporting] [--arms prior reversed] [--rows FOLDER]

Each task of lcbench-surrogate is tuned (val_error, train_s) by ASHA on 4 simulated workers over the table's own
configurations, with and without a prior learned from the other 16 tasks. Priors are cross-fitted: for each seed, a
random half of the configurations can be drawn, and the prior knows only the *other* half, so it cannot look up what it
proposes. Arms:

    none        the half in a random order
    default     the default searcher, TPE, without a prior
    prior       ParetoPrior with its defaults
    unguarded   the same with full and permanent trust in all tasks, whatever this study shows
    reversed, reversed_unguarded   the same two, learned from losses with the opposite sign
    overlap_4   a prior that knows only the first four of the seven hyperparameters (the others are missing)
    overlap_3   a prior that knows only the other three
    few         a prior that knows only 15 configurations of one other task

The ten tasks of trimtuner (error, train_s, usd) have priors from the tasks of the other network, and from the smaller
and larger data sets of the same one. They are cross-fitted in the same way, and compared with the default searcher on
the same half. (The priors of `benchmarks/replay.py` draw from both halves, and each sees only its own trials. That
alone costs a searcher a fifth of its hypervolume at 5 trainings, so it does not show what a prior is worth.)

A budget of b median trainings is b times the median time of a full training in this task, summed over the workers.
Hypervolume: "partial" counts every report, as a fraction of the hypervolume of the task's front of all configurations
at all resources. "full" counts only configurations that were trained to the end. Error is linear, and time is in its
logarithm (`simulation/accounting.py`). Figures are those of "partial", unless their names begin with `full_`. Cheap
trainings give most of "partial", so little is left to gain; "full" shows what has been trained to the end by then. A
gain is the difference between an arm and "none" with the same seed. The gain of a task is the mean over seeds, and the
interval is a bootstrap over tasks (90 %). `worst_vs_no_prior` is the least ratio of the mean hypervolumes of a prior
and of the default, over all tasks, budgets and kinds of priors.

`moved_2_decades_vs_random`: the best error after 60 draws of a prior whose best learning rate is wrong by two decades
(`benchmarks/moved_optimum.py`), divided by that of random draws; means over the seeds. `moved_2_decades_away`: the
median distance of draws 90 to 120 from the best learning rate, in decades. The same for one decade.

Settings of the prior are chosen on one half: the first nine tasks of lcbench and the tasks of trimtuner without the two
largest data sets, with other seeds. `--half reporting` has the other tasks.

The curves of lcbench are YAHPO's surrogate of LCBench, predicted and not measured (Apache-2.0). With --rows every task
and arm saves its rows in a folder, and rows that already exist are not computed again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import moved_optimum
from benchmarks.kept_rows import Row, kept_rows
from benchmarks.replay_arms import USD_PER_DEVICE_HOUR, from_table
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import TPE, Listed, ParetoPrior, Searcher
from lightning_hwtune.core.searchers.earlier_studies import EarlierTask
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.simulation.accounting import Yardstick, replay_study
from lightning_hwtune.simulation.tables import Table, TaskCurves

BUDGETS = (2, 5, 10)
KINDS = ("partial", "full")
ARMS = (
    "none", "default", "prior", "unguarded", "reversed", "reversed_unguarded", "overlap_4", "overlap_3", "few",
)  # fmt: skip
TRIMTUNER_ARMS = ("default", "other", "same")
CHOOSING = 9  # the first so many tasks of lcbench
N_FEW = 15
N_WORKERS = 4
SHARED = {"overlap_4": slice(None, 4), "overlap_3": slice(4, None)}  # the hyperparameters that a prior knows


def halves(n_configs: int, seed: int) -> tuple[list[int], list[int]]:
    """Returns the rows that can be drawn with this seed, and those that a prior knows."""
    order = np.random.default_rng(seed).permutation(n_configs)
    return sorted(order[: n_configs // 2].tolist()), sorted(order[n_configs // 2 :].tolist())


def searcher(arm: str, table: Table, task: str, seed: int) -> Searcher:
    """Returns the searcher of an arm for the study of `task`."""
    drawn, known = halves(len(table.configs), seed)
    configs = [table.configs[row] for row in drawn]
    if arm == "none":
        return Listed(configs)
    if arm == "default":
        return TPE(configs=configs)
    others = [name for name in table.tasks if name != task]
    if arm == "few":
        others, known = others[seed % len(others) :][:1], known[:N_FEW]
    learned = ParetoPrior.from_table(table, others, objectives=["val_error", "train_s"], rows=known)
    tasks = [_changed(item, arm) for item in learned.tasks]
    return ParetoPrior(tasks, learned.objectives, guarded=not arm.endswith("unguarded"), configs=configs)


def _changed(task: EarlierTask, arm: str) -> EarlierTask:
    sign = -1.0 if arm.startswith("reversed") else 1.0
    values = dict(list(task.values.items())[SHARED.get(arm, slice(None))])
    return EarlierTask(task.name, values, [[sign * cell for cell in row] for row in task.losses])


def shares(arm: str, table: Table, curves: TaskCurves, yardstick: Yardstick, seed: int) -> Row:
    """Returns the row of one study of lcbench: kind of hypervolume -> its share at each budget."""
    spec = StudySpec(
        name=f"{curves.task}-{arm}",
        space=table.space,
        objectives=table.chosen(["val_error", "train_s"]),
        scheduler=ASHA(max_epochs=table.max_resource),
        searcher=searcher(arm, table, curves.task, seed),
        pool=Pool("cpu", N_WORKERS),
        seed=seed,
    )
    return _shares(spec, table, curves, yardstick)


def trimtuner_searcher(arm: str, table: Table, task: str, seed: int) -> Searcher:
    """Returns the searcher of an arm for the study of a task of trimtuner."""
    drawn, known = halves(len(table.configs), seed)
    configs = [table.configs[row] for row in drawn]
    if arm == "default":
        return TPE(configs=configs)
    network = task.partition("-")[0]
    others = [name for name in table.tasks if (name.partition("-")[0] == network) == (arm == "same") and name != task]
    return ParetoPrior.from_table(table, others, rows=known, configs=configs)


def trimtuner_shares(arm: str, table: Table, task: str, seed: int) -> Row:
    """Returns the row of one study of trimtuner."""
    problem = from_table(table, task)
    spec = StudySpec(
        name=f"{task}-{arm}",
        space=table.space,
        objectives=problem.objectives,
        scheduler=ASHA(max_epochs=table.max_resource),
        searcher=trimtuner_searcher(arm, table, task, seed),
        pool=Pool("cpu", N_WORKERS, USD_PER_DEVICE_HOUR),
        seed=seed,
    )
    return _shares(spec, table, table.curves(task), problem.yardstick)


def _shares(spec: StudySpec, table: Table, curves: TaskCurves, yardstick: Yardstick) -> Row:
    median_s = float(np.median([curves.elapsed_s(config, table.max_resource, 1) for config in table.configs]))
    ends_s = [budget * median_s / N_WORKERS for budget in BUDGETS]
    found = replay_study(spec, curves, Limits(max_trials=len(table.configs), max_time_s=1.05 * ends_s[-1]), yardstick)
    return {kind: [found.at(end_s, kind=kind) for end_s in ends_s] for kind in KINDS}


def interval(values: npt.NDArray[np.float64]) -> list[float]:
    """Returns the 90 % bootstrap interval of the mean."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(2000, len(values)))].mean(axis=1)
    return [round(float(end), 4) for end in np.quantile(means, [0.05, 0.95])]


def summary(by_arm: Mapping[str, npt.NDArray[np.float64]], tasks: list[str]) -> dict[str, Any]:
    """Returns the report on one kind of hypervolume, of shape `(n_tasks, n_seeds, n_budgets)`."""
    gains = {arm: (by_arm[arm] - by_arm["none"]).mean(axis=1) for arm in by_arm if arm != "none"}
    report: dict[str, Any] = {
        "hypervolume_without": {
            f"at_{b}": round(float(by_arm["none"][:, :, i].mean()), 4) for i, b in enumerate(BUDGETS)
        }
    }
    for arm, gain in gains.items():
        report[arm] = {
            f"at_{budget}": {
                "mean_gain": round(float(gain[:, i].mean()), 4),
                "interval_90": interval(gain[:, i]),
                "tasks_worse_by_0.02": int((gain[:, i] < -0.02).sum()),
                "worst": round(float(gain[:, i].min()), 4),
                "by_task": dict(zip(tasks, gain[:, i].round(4).tolist(), strict=True)),
            }
            for i, budget in enumerate(BUDGETS)
        }
    return report


def behind(prior: npt.NDArray[np.float64], default: npt.NDArray[np.float64], names: list[str]) -> dict[str, Any]:
    """Returns the least ratio of mean hypervolumes at each budget, and of which task; shapes as in `summary`."""
    ratios = prior.mean(axis=1) / default.mean(axis=1)
    return {
        f"at_{budget}": {
            "least": round(float(ratios[:, i].min()), 4),
            "task": names[int(ratios[:, i].argmin())],
            "median": round(float(np.median(ratios[:, i])), 4),
        }
        for i, budget in enumerate(BUDGETS)
    }


def figures(
    partial: Mapping[str, Any], full: Mapping[str, Any], no_prior: Mapping[str, Any], moved: Mapping[str, Any]
) -> dict[str, float]:
    """Returns the headline numbers of the reports."""
    found = {
        "worst_vs_no_prior": min(item["least"] for split in no_prior.values() for item in split.values()),
        **{f"moved_{d}_decades_vs_random": moved[f"moved_by_{d}"]["vs_random_at_60"] for d in (1, 2)},
        **{f"moved_{d}_decades_away": moved[f"moved_by_{d}"]["prior"]["decades_away_late"] for d in (1, 2)},
    }
    for name, report in (("", partial), ("full_", full)):
        found |= {f"{name}gain_at_{b}": report["prior"][f"at_{b}"]["mean_gain"] for b in (5, 10)}
        if "reversed" in report:
            found |= {
                f"{name}reversed_cost_at_{b}": round(-report["reversed"][f"at_{b}"]["mean_gain"], 4) for b in (5, 10)
            }
    if "few" in partial:
        found["few_cost_at_5"] = round(-partial["few"]["at_5"]["mean_gain"], 4)
    return found | {"tasks_worse_at_10": partial["prior"]["at_10"]["tasks_worse_by_0.02"]}


def halved(names: Sequence[str], choosing: Sequence[str], half: str | None) -> list[str]:
    """Returns the tasks of one half; all for None."""
    return [name for name in names if half is None or (name in choosing) == (half == "choosing")]


def main() -> None:
    """Runs all arms and prints the report as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--half", choices=("choosing", "reporting"), help="only the tasks of one half")
    parser.add_argument(
        "--arms", nargs="+", choices=ARMS[2:], default=list(ARMS[2:]), help="in addition to none and default"
    )
    parser.add_argument("--rows", type=Path, help="a folder to keep the rows in")
    options = parser.parse_args()
    table, trimtuner, seeds = Table.load("lcbench-surrogate"), Table.load("trimtuner"), range(options.seeds)
    tasks = halved(table.tasks, table.tasks[:CHOOSING], options.half)
    others = halved(trimtuner.tasks, [name for name in trimtuner.tasks if not name.endswith("60000")], options.half)
    arms = [*ARMS[:2], *(arm for arm in ARMS[2:] if arm in {"prior", *options.arms})]
    about = {"budgets": list(BUDGETS), "workers": N_WORKERS, "kinds": list(KINDS)}
    found: dict[str, list[list[Row]]] = {arm: [] for arm in arms}
    for task in tasks:
        curves = table.curves(task)
        yardstick = Yardstick.of(table.chosen(["val_error", "train_s"]), curves.losses[..., _columns(table)])
        for arm in arms:
            find = partial(shares, arm, table, curves, yardstick)
            found[arm].append(kept_rows(options.rows, f"transfer-{task}-{arm}", about, seeds, find))
    of_trimtuner: dict[str, list[list[Row]]] = {
        arm: [
            kept_rows(
                options.rows, f"transfer-{task}-{arm}", about, seeds, partial(trimtuner_shares, arm, trimtuner, task)
            )
            for task in others
        ]
        for arm in TRIMTUNER_ARMS
    }
    draws = {"decades": list(moved_optimum.DECADES), "draws": list(moved_optimum.N_DRAWS)}
    moved = kept_rows(options.rows, "transfer-moved", draws, seeds, moved_optimum.row_of)
    of_moved = moved_optimum.summary(moved)
    reports = {kind: summary({arm: _array(found[arm], kind) for arm in arms}, tasks) for kind in KINDS}
    no_prior = {"lcbench": behind(_array(found["prior"], "partial"), _array(found["default"], "partial"), tasks)}
    for arm in ("other", "same"):
        columns = _array(of_trimtuner[arm], "partial"), _array(of_trimtuner["default"], "partial")
        no_prior[f"trimtuner, {arm}"] = behind(*columns, others)
    settings = {"table": table.name, "source": table.source, "licence": table.licence, "seeds": options.seeds}
    settings["tasks"] = options.half or "all"
    print(
        json.dumps(
            {
                "settings": {**settings, "workers": N_WORKERS, "eta": 3},
                **reports,
                "prior_over_default": no_prior,
                "moved": of_moved,
                "figures": figures(**reports, no_prior=no_prior, moved=of_moved),
            },
            indent=1,
        )
    )


def _array(found: list[list[Row]], kind: str) -> npt.NDArray[np.float64]:
    """Returns the shares of an arm, shape `(n_tasks, n_seeds, n_budgets)`."""
    return np.array([[row[kind] for row in rows] for rows in found])


def _columns(table: Table) -> list[int]:
    return [table.objectives.names.index(name) for name in ("val_error", "train_s")]


if __name__ == "__main__":
    main()
