"""Studies with a deadline and a budget: SEER-style plans, fixed successive halving, and ASHA; prints one JSON object.

Curves are those of the table lcbench-surrogate (52 epochs, rungs 1, 3, 9, 27 and 52, validation error), in a random
order of configurations per seed. Deadlines are 0.25, 0.5, 1, 1.5 and 2 times a full training: the median seconds of the
table's configurations on one device. Speed-ups are measured ones (`benchmarks/measured_speeds.py`): bert, deepspeech2
and imagenet at the middle batch. Each start takes 1 % of a full training. The same money for all: 8 devices until the
deadline. A fixed pool has 8 devices and is paid from beginning to end. Elastic devices are rented one by one, without a
delay, at most 64 at a time, and each is paid until the stage has no more work for it.

- sha: synchronous successive halving on the fixed pool, with as many trials as end by the deadline at the median pace.
  In each stage, trials get the number of devices with which it ends first.
- seer: `seer_plan`, asked again after each stage with the mean pace of the trials that continue, and what is left.
  Everything ends when the money is spent.
- In these two, a stage ends at the latest after LAG times its planned time, without the trials that are late.
- asha: ASHA on the fixed pool with one device per trial, as if there were no deadline.
- deadline_asha: the same with the deadline as `max_time` and `DeadlineAllocation`, which chooses devices at promotions.

The regret of a study is (best - least) / (median - least): its best error of any report by the deadline, and the least
and the median error of all fully trained configurations.

Figures, over tasks, seeds, speed-ups and deadlines:
- seer_vs_sha, seer_vs_asha, deadline_asha_vs_asha: mean regret of the second divided by that of the first.
- deadline_asha_tight: the last of these at a deadline of 0.25.
- none_at_1_5, none_at_1: the share of deadline_asha's studies without a fully trained model at deadlines of at least
  1.5, and at 1. The cells have those of plain ASHA, too (`none_asha`).
- planned_worst_cell, planned_tight: the same of what `planning.deadline_choice` chooses beforehand for a deadline and a
  speed-up, plain ASHA or deadline_asha, by simulations on the tasks of the other half (`--half`): the least upper end
  of the 90 % intervals of the cells, and the mean over the cells with deadlines of at most 0.5.
- budget_exceeded: the share of SEER-style studies that cost more than the budget, where each segment takes a random
  multiple of its time (log-normal, 0.1), and one in fifty three times as long.
The output has a 90 % interval for each ratio, from a bootstrap over tasks.

LAG and MARGIN (the part of the time and money that is planned for) were chosen with `--half choosing`.

    python benchmarks/elastic.py [--seeds 3] [--half reporting] [--lag 1.5] [--margin 1.0] [--quick]
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import itertools
import json
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[1]))
import lightning_hwtune
from benchmarks.deadline import N_CHOOSING, PRICE, START_SHARE, Problem, problems, simulated
from benchmarks.measured_speeds import measured_apps, measured_speeds
from lightning_hwtune.core.hardware.deadline_policy import DeadlineAllocation
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.core.streams import stream
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.planning.deadline_choice import WAYS, AtSpeeds, LikelyStudy, best_way
from lightning_hwtune.planning.nodes import NodeKind, StageTimes
from lightning_hwtune.planning.seer import Halving, seer_plan

DEADLINES, SPEEDS = (0.25, 0.5, 1.0, 1.5, 2.0), ("bert", "deepspeech2", "imagenet")
POOL, MOST, FIRST, ETA = 8, 64, 1, 3
LAG, MARGIN = 1.5, 1.0
NOISE, STRAGGLERS, SLOWER = 0.1, 0.02, 3.0
N_TASKS = {"choosing": N_CHOOSING, "reporting": 8}

Floats = npt.NDArray[np.float64]


@dataclass
class World:
    """What happens in trainings: configurations in their order, their seconds and their errors.

    Attributes:
        epoch_s: seconds of one epoch of each configuration on one device.
        errors: shape `(n_configs, max_epochs)`: the error after each epoch.
        speeds: number of devices -> how many times as fast as one.
        start_s: seconds of each start.
        noise: multiples of the seconds of each segment, by configuration and stage.
    """

    epoch_s: Floats
    errors: Floats
    speeds: Mapping[int, float]
    start_s: float
    noise: Floats

    def stage(
        self, trials: Sequence[int], stage: int, reached: int, level: int, slots: int, devices: int, until_s: float
    ) -> Stage:
        """Returns what happens if these trials train from `reached` to `level` on this many slots; times from 0."""
        free = [0.0] * min(slots, len(trials))
        done, best, ends = [], np.inf, list(free)
        heapq.heapify(free)
        for trial in trials:
            begin = heapq.heappop(free)
            epoch_s = self.epoch_s[trial] / self.speeds[devices] * self.noise[trial, stage]
            at = begin + self.start_s + epoch_s * np.arange(1, level - reached + 1)
            seen = int(np.searchsorted(at, until_s, side="right"))
            if seen:
                best = min(best, float(self.errors[trial, reached : reached + seen].min()))
            if seen == level - reached:
                done.append(trial)
            heapq.heappush(free, min(float(at[-1]), until_s) if begin < until_s else begin)
        ends = sorted(min(end, until_s) for end in free)
        return Stage(done, best, ends[-1], sum(ends) * devices)


@dataclass
class Stage:
    """What one stage did: the trials that reached its level, the best error, its end, and its device-seconds."""

    done: list[int]
    best: float
    ends_s: float
    device_s: float


def world_of(problem: Problem, speeds: Mapping[int, float], *, is_noisy: bool = False) -> World:
    """Returns the trainings of a problem, with random seconds if asked."""
    top = problem.curves.max_resource
    whole_s = np.array([problem.whole_s(config) for config in problem.configs])
    errors = [[problem.curves.values(c, r)[problem.error] for r in range(1, top + 1)] for c in problem.configs]
    noise = np.ones((len(whole_s), 8))
    if is_noisy:
        rng = stream(problem.seed, "stragglers", 0)
        slower = np.where(rng.random(noise.shape) < STRAGGLERS, SLOWER, 1.0)
        noise = np.exp(NOISE * rng.standard_normal(noise.shape)) * slower
    known = {count: speed for count, speed in speeds.items() if count <= POOL}
    return World(whole_s / top, np.array(errors), known, START_SHARE * problem.full_s, noise)


def kept(world: World, done: Sequence[int], level: int, most: int) -> list[int]:
    """Returns the best trials at a level, ties by their order."""
    return sorted(done, key=lambda trial: (world.errors[trial, level - 1], trial))[:most]


def run_seer(problem: Problem, world: World, deadline_s: float, lag: float, margin: float) -> tuple[float, float]:
    """Returns the best error and the cost of a SEER-style study."""
    top, budget = problem.curves.max_resource, POOL * deadline_s * PRICE / 3600
    study = Halving.of(top, problem.full_s / top, world.speeds, first=FIRST, eta=ETA, start_s=world.start_s)
    kind = NodeKind(1, MOST, PRICE)
    trials, now, spent, best = list(range(len(world.epoch_s))), 0.0, 0.0, np.inf
    for number in range(len(study.levels)):
        try:
            left = {"deadline_s": margin * (deadline_s - now), "budget_usd": margin * (budget - spent)}
            found = seer_plan(study, kind, len(trials), **left)
        except ArgumentError:
            break
        first, level = found.plan.stages[0], study.levels[number]
        trials = trials[: found.trials]
        affordable_s = (budget - spent) * 3600 / PRICE / first.nodes
        until_s = min(deadline_s - now, affordable_s, lag * (first.ends_s - first.begins_s))
        slots = kind.slots(first.nodes, first.devices)
        stage = world.stage(trials, number, study.reached, level, slots, first.devices, until_s)
        now, spent, best = now + stage.ends_s, spent + stage.device_s * PRICE / 3600, min(best, stage.best)
        trials = kept(world, stage.done, level, len(trials))
        if level == top or not trials:
            break
        trials = trials[: max(1, len(stage.done) // ETA)]
        study = dataclasses.replace(study, reached=level, unit_s=float(world.epoch_s[trials].mean()))
    return best, spent


def run_sha(problem: Problem, world: World, deadline_s: float, lag: float) -> float:
    """Returns the best error of successive halving on the fixed pool."""
    top = problem.curves.max_resource
    study = Halving.of(top, problem.full_s / top, world.speeds, first=FIRST, eta=ETA, start_s=world.start_s)
    kind, numbers = NodeKind(1, POOL, PRICE), range(1, len(world.epoch_s) + 1)
    n_trials, up_to = 1, study.levels[0]
    for level in reversed(study.levels):
        fitting = [n for n in numbers if _takes_s(study, kind, n, level) <= deadline_s]
        if fitting:
            n_trials, up_to = max(fitting), level
            break
    trials, now, best, reached = list(range(n_trials)), 0.0, np.inf, 0
    times = StageTimes(study.job(n_trials, up_to), kind)
    for number, level in enumerate(level for level in study.levels if level <= up_to):
        devices, planned_s = int(times.devices[number, POOL - 1]), float(times.seconds[number, POOL - 1])
        until_s = min(deadline_s - now, lag * planned_s)
        stage = world.stage(trials, number, reached, level, kind.slots(POOL, devices), devices, until_s)
        now, best, reached = now + stage.ends_s, min(best, stage.best), level
        trials = kept(world, stage.done, level, max(1, len(trials) // ETA))
        if not trials or now >= deadline_s:
            break
    return best


def _takes_s(study: Halving, kind: NodeKind, trials: int, up_to: int) -> float:
    return float(StageTimes(study.job(trials, up_to), kind).seconds[:, POOL - 1].sum())


def run_asha(problem: Problem, deadline_s: float, speeds: Mapping[int, float] | None = None) -> tuple[float, bool]:
    """Returns the best error of ASHA by the deadline, and whether it has no full training then.

    Args:
        speeds: None for plain ASHA; otherwise it knows the deadline and chooses devices.
    """
    limits = Limits() if speeds is None else Limits(max_time_s=deadline_s)
    curves = problem.curves if speeds is None else AtSpeeds(problem.curves, speeds)
    policy = None if speeds is None else DeadlineAllocation()
    seen, _ = simulated(problem, curves, POOL, limits, deadline_s, policy)
    reports, top = seen.until(deadline_s), problem.curves.max_resource
    return min((error for *_, error in reports), default=np.inf), all(resource < top for _, resource, _ in reports)


def relative_speeds() -> dict[str, dict[int, float]]:
    """Returns the speed-ups of each application."""
    found, apps = {}, {app.name: app for app in measured_apps()}
    for name in SPEEDS:
        speeds = measured_speeds(apps[name], apps[name].global_batches[len(apps[name].global_batches) // 2])
        found[name] = {count: speed / speeds[1] for count, speed in speeds.items()}
    return found


def planned_ways(deadlines: Sequence[float], half: str, seeds: int) -> dict[tuple[float, str], str]:
    """Returns what is chosen beforehand for each deadline and speed-up, by studies on the tasks of the other half."""
    other = "choosing" if half == "reporting" else "reporting"
    earlier = [
        dataclasses.replace(problem, has_two_objectives=False)
        for problem in problems("lcbench", other, range(seeds * N_TASKS[other]))
    ]
    found = {}
    for deadline, (name, speeds) in itertools.product(deadlines, relative_speeds().items()):
        likely = [
            LikelyStudy(
                item.spec(POOL), AtSpeeds(item.curves, speeds), deadline * item.full_s, START_SHARE * item.full_s
            )
            for item in earlier
        ]
        found[deadline, name] = best_way(likely, WAYS[1:]).way.name
    return found


def rows_of(
    problem: Problem,
    deadlines: Sequence[float],
    lag: float,
    margin: float,
    planned: Mapping[tuple[float, str], str],
) -> Iterator[dict[str, Any]]:
    """Yields a row for each deadline and speed-up."""
    ends = np.array([problem.curves.values(c, problem.curves.max_resource)[problem.error] for c in problem.configs])
    least, median = float(np.nanmin(ends)), float(np.nanmedian(ends))
    worst = max(problem.curves.values(config, 1)[problem.error] for config in problem.configs)

    def regret(best: float) -> float:
        return (min(best, worst) - least) / (median - least)

    for deadline in deadlines:
        deadline_s = deadline * problem.full_s
        plain, is_none_plain = run_asha(problem, deadline_s)
        for name, relative in relative_speeds().items():
            world = world_of(problem, relative)
            timed, is_none = run_asha(problem, deadline_s, relative)
            asha = {"asha": regret(plain), "deadline_asha": regret(timed)}
            asha |= {"planned": asha["asha" if planned[deadline, name] == "plain" else "deadline_asha"]}
            asha |= {"none_asha": is_none_plain, "none": is_none}
            best, _ = run_seer(problem, world, deadline_s, lag, margin)
            _, noisy = run_seer(problem, world_of(problem, relative, is_noisy=True), deadline_s, lag, margin)
            yield {
                "task": problem.name, "seed": problem.seed, "deadline": deadline, "speeds": name, "seer": regret(best),
                "sha": regret(run_sha(problem, world, deadline_s, lag)), **asha,
                "spent_noisy": noisy / (POOL * deadline_s * PRICE / 3600),
            }  # fmt: skip


def ratio(rows: Sequence[Mapping[str, Any]], of: str, by: str) -> float:
    """Returns the mean regret of one method divided by that of another."""
    return float(np.mean([row[of] for row in rows]) / np.mean([row[by] for row in rows]))


RATIOS = {
    "seer_vs_sha": ("sha", "seer"),
    "seer_vs_asha": ("asha", "seer"),
    "deadline_asha_vs_asha": ("asha", "deadline_asha"),
}
METHODS = ("seer", "sha", "asha", "deadline_asha", "planned", "none_asha", "none")


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Returns the headline numbers; see the module."""
    tight = [row for row in rows if row["deadline"] <= 0.25]
    found = {name: ratio(rows, *pair) for name, pair in RATIOS.items()}
    found["deadline_asha_tight"] = ratio(tight, *RATIOS["deadline_asha_vs_asha"]) if tight else float("nan")
    for name, part in (
        ("none_at_1_5", [row["none"] for row in rows if row["deadline"] >= 1.5]),
        ("none_at_1", [row["none"] for row in rows if row["deadline"] == 1.0]),
    ):
        found[name] = float(np.mean(part)) if part else float("nan")
    by_cell = [[row for row in rows if (row["deadline"], row["speeds"]) == cell] for cell in _cell_keys(rows)]
    uppers = [bootstrap(part, "asha", "planned")[1] for part in by_cell]
    found["planned_worst_cell"] = min(uppers, default=float("nan"))
    early = [ratio(part, "asha", "planned") for part in by_cell if part[0]["deadline"] <= 0.5]
    found["planned_tight"] = float(np.mean(early)) if early else float("nan")
    found["budget_exceeded"] = float(np.mean([row["spent_noisy"] > 1 + 1e-9 for row in rows]))
    return {name: round(value, 4) for name, value in found.items()}


def _cell_keys(rows: Sequence[Mapping[str, Any]]) -> list[tuple[float, str]]:
    return sorted({(row["deadline"], row["speeds"]) for row in rows})


def bootstrap(rows: Sequence[Mapping[str, Any]], of: str, by: str, draws: int = 1000) -> list[float]:
    """Returns the 90 % interval of a ratio, by a bootstrap over tasks."""
    tasks = sorted({row["task"] for row in rows})
    parts, rng = [[row for row in rows if row["task"] == task] for task in tasks], np.random.default_rng(0)
    drawn = [[row for i in rng.integers(len(parts), size=len(parts)) for row in parts[i]] for _ in range(draws)]
    found = [ratio(part, of, by) for part in drawn]
    return [round(float(np.quantile(found, q)), 4) for q in (0.05, 0.95)]


def intervals(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Returns the 90 % interval of each ratio."""
    return {name: bootstrap(rows, *pair) for name, pair in RATIOS.items()}


def cells(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the means of each deadline, and of each speed-up there: regrets, and shares without a full training."""
    found = []
    for deadline in sorted({row["deadline"] for row in rows}):
        for name in ("all", *SPEEDS):
            part = [row for row in rows if row["deadline"] == deadline and name in ("all", row["speeds"])]
            if not part:
                continue
            means = {key: round(float(np.mean([row[key] for row in part])), 4) for key in METHODS}
            if name != "all":
                means |= {"planned_ratio": round(ratio(part, "asha", "planned"), 4)}
                means |= {"planned_interval": bootstrap(part, "asha", "planned")}
            found.append({"deadline": deadline, "speeds": name, "studies": len(part), **means})
    return found


def main() -> None:
    """Simulates the studies and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="seeds per task")
    parser.add_argument("--half", choices=["choosing", "reporting"], default="reporting")
    parser.add_argument("--lag", type=float, default=LAG)
    parser.add_argument("--margin", type=float, default=MARGIN)
    parser.add_argument("--quick", action="store_true", help="one seed, one deadline")
    given = parser.parse_args()
    seeds = 1 if given.quick else given.seeds
    deadlines = DEADLINES[1:2] if given.quick else DEADLINES
    planned = planned_ways(deadlines, given.half, seeds)
    rows = []
    for problem in problems("lcbench", given.half, range(seeds * N_TASKS[given.half])):
        alone = dataclasses.replace(problem, has_two_objectives=False)
        rows += list(rows_of(alone, deadlines, given.lag, given.margin, planned))
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "python": platform.python_version()}
    result = {"figures": figures(rows), "intervals_90": intervals(rows), "cells": cells(rows), "half": given.half}
    result["planned"] = [{"deadline": key[0], "speeds": key[1], "way": way} for key, way in planned.items()]
    print(
        json.dumps({**result, "lag": given.lag, "margin": given.margin, "seeds": seeds, "versions": versions}, indent=1)
    )


if __name__ == "__main__":
    main()
