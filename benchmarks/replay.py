"""Speed-up of multi-objective ASHA over random full training on the ten trimtuner tasks; prints one JSON object.

Every study draws the table's 288 configurations in an order that depends on its seed and is the same for every arm, on
four workers with a virtual clock. Hypervolume is defined in `lightning_hwtune.simulation.accounting`: error linear,
seconds and US dollars in their logarithm, min-max over the task's table, reference point 1. "partial" counts every
report, "full" counts only configurations that were trained to the end. Both are fractions of the hypervolume of the
table's own front.

Arms:
- random: every configuration is trained to the end
- asha_error: ASHA with the error as its only objective
- moasha: ASHA over error, seconds and dollars
- moasha_tpe: the same with configurations drawn by TPE over fronts, which learns only from this study
- as_it_comes: a study in which nothing is chosen
- defaults: the same with the configurations in random order
- prior_other: moasha with a prior learned from the five tasks of the other network
- prior_same: moasha with a prior learned from the four other training-set sizes of the same network
- synetune_shipped, synetune_repaired, neps, optuna_nsga2, optuna_tpe: the peers with their defaults; see
  `benchmarks/peers/replay_*.py`; synetune_repaired_eta: with the eta of our arms

Priors are cross-fitted. A seed divides the configurations into two halves, and draws alternate between them. The draws
of one half come from a prior that knows only the rows of the other half, on the other tasks, too. So no prior can look
up a configuration that it proposes.

Speed-up: the virtual time (or money) at which random full training first reaches 95 % of the partial hypervolume,
divided by that of the arm, seed by seed. A run that never reaches it has speed-up 0. The figure of a task is the
median over seeds, and the headline is the median over tasks. Its interval is the 5th to 95th percentile of 2,000
bootstrap samples of the seeds, which are the same for all tasks. The settings are those of `replay_settings.json`.
They were chosen on the eight tasks other than the two `-60000` ones (`benchmarks/replay_choose.py`), before these two
were run.

Peers: the ratio of the hypervolume of moasha_tpe to the peer's at equal virtual time, seed by seed. The virtual time
is a tenth of the time in which the four workers could train all configurations to the end. Per task: the median and
its interval. We are ahead on a task if the lower end is above 1; ahead of Optuna, if this holds for both samplers.
Some peers start nothing after three tenths of that time (`until`), and what they would do later is not counted. The
same ratios are given for moasha, and for the arms with default settings. `..._as_it_comes` are the lower ends of the
speed-up in time of as_it_comes. `ahead_partial_...` and `ahead_full_...` are the numbers of tasks on which it is ahead
by all reports and by fully trained configurations; ahead of Syne Tune, if this holds for both values of eta.

The rows of the peers are kept in `benchmarks/peers/rows/`, with the versions of their packages. Those of the given
seeds are used, so that only our own arms run. `--peers` runs the peers that are installed, and keeps their rows.

The arms without a prior run again on four tasks of the synthetic generator (`lightning_hwtune.simulation.curves`,
default parameters, 288 configurations, four devices of which a trial takes 1, 2 or 4). No setting was chosen on these
tasks. They have no related tasks from which a prior could learn, and their configurations are not a grid, which Optuna
needs here.

The paper's claim (Salinas et al. 2021, abstract) is 5.8x in runtime and 8.8x in money. It can be read in two ways. One
is the speed-up of the search, as above. The other is the runtime and money of the chosen configuration: the fastest
(cheapest) fully trained one within 0.01 of the lowest error found, compared with the one with the lowest error.
`choice` has the second reading. It measures the rule of choice rather than the search: the log of ASHA on the error
alone gives nearly as much.

    python benchmarks/replay.py [--seeds 30] [--tasks cnn-60000 ...] [--arms moasha ...] [--rows FOLDER] [--peers]
                                [--onto benchmarks/results/replay.json]
    python benchmarks/replay.py --fronts reporting [--seeds 5] [--trials 60]     see `benchmarks/replay_fronts.py`

With --rows every task and arm saves its rows in a folder, and rows that already exist are not computed again, so an
interrupted run continues. Empty the folder when a rule has changed. With --onto the figures of the arms that did not
run are those of an earlier output, and are named in `older`. The script needs the table: HWTUNE_DATA, or
../shared/data. With --peers it needs the extra `bench` and `benchmarks/peers/neps.txt`. Arms of peers without rows are
left out and named.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import lightning_hwtune
from benchmarks import peer_rows
from benchmarks.replay_arms import Problem, best_error, from_table, package_of, spec_of, synthetic
from benchmarks.replay_figures import against_peers, as_it_comes, choices, curves, figures, summary
from benchmarks.replay_fronts import HALVES, fronts, share_of
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.simulation.accounting import Replay, replay_study
from lightning_hwtune.simulation.tables import Table

SETTINGS = json.loads(Path(__file__).with_name("replay_settings.json").read_text())
RESERVED = ("cnn-60000", "rnn-60000")  # no setting was chosen on these tasks
SHARE = 0.95
TOLERANCE = 0.01
_DISTRIBUTIONS = {"syne_tune": "syne-tune", "neps": "neural-pipeline-search"}
N_SYNTHETIC = 4  # tasks of the generator with its default parameters
PEERS = ("synetune_shipped", "synetune_repaired", "synetune_repaired_eta", "neps", "optuna_nsga2", "optuna_tpe")
UNCHOSEN = ("defaults", "as_it_comes")
KEPT, KEY = "replay", ("task", "arm", "seed")


def main() -> None:
    """Replays all arms and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--tasks", nargs="+")
    parser.add_argument("--arms", nargs="+")
    parser.add_argument("--rows", type=Path, help="a folder to keep the rows of each task and arm in")
    parser.add_argument("--peers", action="store_true", help="run the peers for these seeds, and keep their rows")
    parser.add_argument("--onto", type=Path, help="an earlier output, for the figures of the arms that do not run")
    parser.add_argument("--fronts", choices=HALVES, help="judge default settings by the final fronts of this half")
    parser.add_argument("--trials", type=int, help="with --fronts: the trials of a study; default: all configurations")
    arguments = parser.parse_args()
    if arguments.fronts:
        found = fronts(arguments.fronts, arguments.seeds, arguments.trials, arguments.rows)
        print(json.dumps({**found, **about(arguments.seeds)}, indent=1))
        return
    warnings.simplefilter("ignore")  # warnings of the peers at every import
    result = {**replayed_all(arguments), **about(arguments.seeds)}
    if arguments.onto:
        result = onto(json.loads(arguments.onto.read_text()), result)
    print(json.dumps(result, indent=1))


def onto(earlier: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the new figures, and those of an earlier output for the arms that did not run."""
    older = [arm for arm in SETTINGS["arms"] if arm in earlier["arms"] and arm not in new["arms"]]
    was_older = set(older) <= set(earlier.get("older", ()))
    merged = {**earlier, **new, "older": older, "older_seeds": earlier["older_seeds" if was_older else "seeds"]}
    merged["figures"] = {**earlier["figures"], **new["figures"]}
    merged["arms"] = {**_only(earlier["arms"], older), **new["arms"]}
    for part in ("tasks", "curves"):
        parts = {**earlier[part], **new[part]}
        merged[part] = {
            name: {**_only(earlier[part].get(name, {}), older), **new[part].get(name, {})} for name in parts
        }
    merged["peers"] = {**_only(earlier["peers"], older), **{arm: found for arm, found in new["peers"].items() if found}}
    return {**merged, **{part: earlier[part] for part in ("choice", "synthetic") if "moasha" in older}}


def _only(found: Mapping[str, Any], arms: Sequence[str]) -> dict[str, Any]:
    return {arm: found[arm] for arm in arms if arm in found}


def about(seeds: int) -> dict[str, Any]:
    """Returns the settings and versions behind the figures."""
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "numpy": np.__version__}
    versions["python"] = platform.python_version()
    return {"seeds": seeds, "machine": platform.platform(), "versions": versions}


def replayed_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the report on all arms, or on the given ones."""
    table, seeds = Table.load(SETTINGS["table"]), range(arguments.seeds)
    tasks = arguments.tasks or table.tasks
    wanted = ("random", *(arguments.arms or SETTINGS["arms"]))
    arms = {name: arm for name, arm in SETTINGS["arms"].items() if name in wanted}
    problems = [from_table(table, task) for task in tasks]
    made_up = [] if arguments.tasks else [synthetic(seed) for seed in range(N_SYNTHETIC)]
    if arguments.peers:
        keep_peers(problems, seeds, arms, arguments.rows)
        keep_peers(made_up, seeds, on_made_up(arms), arguments.rows)
    rows = [row for each in problems for row in run(each, seeds, own(arms), arguments.rows)]
    peers = kept_peers(tasks, seeds, arms)
    made_up_rows = [row for each in made_up for row in run(each, seeds, own(on_made_up(arms)), arguments.rows)]
    made_up_rows += kept_peers([each.task for each in made_up], seeds, on_made_up(arms))
    left_out = {name: package_of(arms[name]) for name in arms if name not in {row["arm"] for row in rows + peers}}
    return {
        **found(rows + peers, tasks),
        "peer_versions": peer_versions(peers),
        "synthetic": {"arms": summary(made_up_rows), "curves": curves(made_up_rows)} if made_up_rows else {},
        "left_out": left_out,
        "paper": {"time": 5.8, "usd": 8.8},
        "settings": SETTINGS,
        "source": table.source,
        "licence": table.licence,
    }


def found(rows: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> dict[str, Any]:
    """Returns the figures of the rows of the table."""
    by_task = {task: [row for row in rows if row["task"] == task] for task in tasks}
    place = SETTINGS["shares"].index(SETTINGS["compare_at"])
    return {
        "figures": {
            **figures(rows, RESERVED, SETTINGS["ours"], PEERS, place),
            **as_it_comes(rows, UNCHOSEN[-1], RESERVED, PEERS, place),
        },
        "arms": summary(rows),
        "tasks": {task: summary(own) for task, own in by_task.items()},
        "peers": {arm: against_peers(rows, arm, PEERS, place) for arm in ("moasha", SETTINGS["ours"], *UNCHOSEN)},
        "choice": choices(rows),
        "curves": {"all": curves(rows), **{task: curves(own) for task, own in by_task.items() if task in RESERVED}},
    }


def own(arms: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arms that are not peers."""
    return {name: arm for name, arm in arms.items() if "peer" not in arm}


def keep_peers(problems: Sequence[Problem], seeds: range, arms: Mapping[str, Any], folder: Path | None) -> None:
    """Runs the installed peers among these arms, and keeps their rows with the version of the package."""
    for name, arm in arms.items():
        if (package := package_of(arm)) and is_installed(package):
            about = {"about": arm, "version": importlib.metadata.version(_DISTRIBUTIONS.get(package, package))}
            rows = [{**row, **about} for each in problems for row in run(each, seeds, {name: arm}, folder)]
            peer_rows.keep(KEPT, rows, KEY)


def kept_peers(tasks: Sequence[str], seeds: range, arms: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the kept rows of the peers among these arms, for these tasks and seeds."""
    return [
        row
        for row in peer_rows.kept(KEPT)
        if row["task"] in tasks and row["seed"] in seeds and row["about"] == arms.get(row["arm"])
    ]


def peer_versions(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Returns the versions of the packages behind these rows of peers."""
    found: dict[str, str] = {}
    for package in dict.fromkeys(package_of(row["about"]) for row in rows):
        found |= peer_rows.versions((row for row in rows if package_of(row["about"]) == package), str(package))
    return found


def is_installed(package: str | None) -> bool:
    """Return whether a package can be imported; always True for None."""
    return package is None or importlib.util.find_spec(package) is not None


def on_made_up(arms: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arms with chosen settings that need neither related tasks nor a full grid."""
    return {
        name: arm
        for name, arm in arms.items()
        if name not in UNCHOSEN and "prior" not in arm and "eta" not in arm and "optuna" not in arm.get("peer", "")
    }


def run(problem: Problem, seeds: range, arms: Mapping[str, Any], folder: Path | None = None) -> list[dict[str, Any]]:
    """Returns a row for each seed and arm; those in the folder are read, the others are replayed and saved there."""
    rows = []
    for name, arm in arms.items():
        path = folder and folder / f"{problem.task}.{name}.json"
        known = _read(path, arm)
        known |= {seed: replayed(problem, name, arm, seed) for seed in seeds if seed not in known}
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"arm": arm, "rows": list(known.values())}))
        rows += [known[seed] for seed in seeds]
        print(f"{problem.task} {name}", file=sys.stderr, flush=True)
    return rows


def _read(path: Path | None, arm: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Returns seed -> row of a file; empty if its arm was another one."""
    if path is None or not path.exists():
        return {}
    kept = json.loads(path.read_text())
    return {row["seed"]: row for row in kept["rows"]} if kept["arm"] == arm else {}


def replayed(problem: Problem, name: str, arm: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Returns the row of one study."""
    limits = Limits(
        max_trials=len(problem.configs),
        max_time_s=arm["until"] * problem.all_s if "until" in arm else None,
        finishers=0 if "peer" in arm else 4,
    )
    study = replay_study(spec_of(problem, arm, seed), problem.curves, limits, problem.yardstick)
    row = {"task": problem.task, "seed": seed, "arm": name, **measured(study, problem.all_s)}
    return row | {"chosen_error": row["chosen"]["least_error"][0] - best_error(problem)}


def measured(study: Replay, all_s: float) -> dict[str, Any]:
    """Returns the saved values of one study; null if the target was never reached."""
    time_s, usd = study.first(SHARE), study.first(SHARE, by="usd")
    return {
        "time_s": None if np.isnan(time_s) else time_s,
        "usd": None if np.isnan(usd) else usd,
        "partial": float(study.partial[-1]),
        "full": float(study.full[-1]),
        "total_s": study.state.last_at,
        "total_usd": float(study.usd[-1]),
        "partial_at": [round(study.at(share * all_s), 5) for share in SETTINGS["shares"]],
        "full_at": [round(study.at(share * all_s, kind="full"), 5) for share in SETTINGS["shares"]],
        "full_share": share_of(study.first(SHARE, kind="full"), all_s),
        "chosen": chosen(study),
    }


def chosen(study: Replay) -> dict[str, list[float]]:
    """Returns (error, seconds, dollars) of the fully trained configuration that each rule chooses."""
    full = study.losses[study.resources >= study.state.ladder.top]
    full = full[np.isfinite(full).all(axis=1)]
    near = full[full[:, 0] <= full[:, 0].min() + TOLERANCE]
    rules = {"least_error": full[:, 0], "fastest_near": near[:, 1], "cheapest_near": near[:, -1]}
    pools = {"least_error": full, "fastest_near": near, "cheapest_near": near}
    return {rule: pools[rule][int(values.argmin())].tolist() for rule, values in rules.items()}


if __name__ == "__main__":
    main()
