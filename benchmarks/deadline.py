"""The end of studies with a limit of time or money, compared with plain ASHA; prints one JSON object.

Each study draws random configurations of a problem and ends at a limit. The limit is a multiple of a full training:
the median seconds of the problem's configurations on one device. A limit of money is what the whole pool costs in that
time. Plain ASHA is the same study without a limit, seen up to the limit: it decides as if there were no end. Every
segment takes 1 % of a full training to start, and as much more to resume.

Problems: `SyntheticCurves` (27 or 81 epochs) and the tasks of lcbench-surrogate (52 epochs), in turn with one objective
(the error) and two (the error and the training seconds). Settings were chosen with `--half choosing`: synthetic curves
with crossing 0 and 0.3, and the first nine tasks of the table. The figures are those of the other half: crossing
0.5 and 0.7, other seeds, the other tasks.

Figures, pooled over problems, devices (1, 4, 8) and both kinds of limit:
- none_at_1_5: the share of studies with limits of 1.5 full trainings and above that have no fully trained model at
  the end, although one could have been trained: one of the configurations that were drawn, trained alone from the
  start, would have ended within the limit. none_at_1: the same at a limit of 1.
- best_report_ratio: the best error of any report, divided by that of plain ASHA; a ratio of means over the studies.
- full_hv_ratio_1_5: the hypervolume of fully trained configurations at a limit of 1.5, divided by that of plain ASHA;
  a ratio of means. Hypervolume as in `lightning_hwtune.simulation.accounting`.
- exceeded: the largest part by which a limit was exceeded, where all epochs of a trial take the same time.
- exceeded_noisy, none_at_1_5_noisy: the same where each epoch takes a random multiple of that (log-normal, 0.1).

    python benchmarks/deadline.py [--seeds 17] [--half reporting] [--curves synthetic lcbench] [--quick]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import lightning_hwtune
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.hardware.policy import AllocationPolicy
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objective, Objectives, TrainSeconds
from lightning_hwtune.core.ranking.hypervolume import hypervolume
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Listed
from lightning_hwtune.core.space import Choice, Float, Int, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.core.streams import stream
from lightning_hwtune.simulation.curves import Curves, SyntheticCurves
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.simulation.tables import Table

DEVICES, LIMITS, KINDS = (1, 4, 8), (0.5, 1.0, 1.5, 2.0, 3.0), ("time", "money")
N_CONFIGS, N_CHOOSING = 300, 9
START_SHARE, NOISE, PRICE = 0.01, 0.1, 1.0
TABLE = "lcbench-surrogate"


class EqualEpochs:
    """Curves of a table, whose epochs take exactly the same time for a whole trial."""

    def __init__(self, curves: Curves) -> None:
        self._curves = curves
        self.metrics, self.max_resource = curves.metrics, curves.max_resource
        self.values, self.usd_per_s = curves.values, curves.usd_per_s

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        """Returns the seconds of training from scratch."""
        return self._curves.elapsed_s(config, self.max_resource, num_devices) * resource / self.max_resource


class NoisySeconds:
    """Curves whose seconds vary from epoch to epoch."""

    def __init__(self, curves: Curves, seed: int) -> None:
        self._curves, self._seed = curves, seed
        self._ends: dict[str, list[float]] = {}
        self.metrics, self.max_resource = curves.metrics, curves.max_resource
        self.values, self.usd_per_s = curves.values, curves.usd_per_s

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        """Returns the seconds of training from scratch."""
        key = f"{sorted(config.items())}"
        if key not in self._ends:
            rng = stream(self._seed, f"seconds {key}", 0)
            ends = [self._curves.elapsed_s(config, r, 1) for r in range(self.max_resource + 1)]
            factors = np.exp(NOISE * rng.standard_normal(self.max_resource))
            self._ends[key] = [0.0, *np.cumsum(np.diff(ends) * factors).tolist()]
        return self._ends[key][resource]


@dataclass
class Problem:
    """Configurations of one problem in the order in which they are drawn, and their curves."""

    name: str
    space: SearchSpace
    configs: Sequence[Mapping[str, Any]]
    curves: Curves
    error: str
    seed: int
    has_two_objectives: bool

    @property
    def objectives(self) -> Objectives:
        """The objectives of the study."""
        seconds: list[Objective] = [TrainSeconds()] if self.has_two_objectives else []
        return Objectives([Metric(self.error, "min"), *seconds])

    def whole_s(self, config: Mapping[str, Any]) -> float:
        """Returns the seconds of one full training on one device."""
        return self.curves.elapsed_s(config, self.curves.max_resource, 1)

    @cached_property
    def full_s(self) -> float:
        """The median seconds of a full training."""
        return statistics.median(self.whole_s(config) for config in self.configs)

    @cached_property
    def _scale(self) -> tuple[Any, Any]:
        ends = np.array([self._loss(config) for config in self.configs])
        return np.nanmin(ends, axis=0), np.nanmax(ends, axis=0)

    def _loss(self, config: Mapping[str, Any]) -> list[float]:
        error = self.curves.values(config, self.curves.max_resource)[self.error]
        return [error, np.log(self.whole_s(config))][: 1 + self.has_two_objectives]

    def hypervolume(self, configs: Sequence[Mapping[str, Any]]) -> float:
        """Returns the hypervolume of fully trained configurations; the reference point is the worst of each loss."""
        low, high = self._scale
        unit = (np.array([self._loss(config) for config in configs]).reshape(-1, len(low)) - low) / (high - low)
        if len(low) == 1:
            return max(1.0 - float(unit.min()), 0.0) if len(unit) else 0.0
        return hypervolume(unit, np.ones(len(low)))

    def spec(self, devices: int, policy: AllocationPolicy | None = None) -> StudySpec:
        """Returns the study of plain or deadline-aware ASHA, by default with one device per trial."""
        return StudySpec(
            name="deadline", space=self.space, objectives=self.objectives,
            scheduler=ASHA(self.curves.max_resource, first_rung=1, brackets=1),
            searcher=Listed(self.configs), pool=Pool("cpu", devices, PRICE), seed=self.seed,
            allocation=policy,
        )  # fmt: skip


def problems(kind: str, half: str, seeds: range) -> Iterator[Problem]:
    """Yields the problems of one kind of curves."""
    table = Table.load(TABLE) if kind == "lcbench" else None
    for seed in seeds:
        is_two = seed % 2 == 1
        if table is None:
            yield _synthetic(seed, half, has_two_objectives=is_two)
            continue
        tasks = table.tasks[:N_CHOOSING] if half == "choosing" else table.tasks[N_CHOOSING:]
        task = tasks[seed % len(tasks)]
        order = np.random.default_rng(seed).permutation(len(table.configs)).tolist()
        configs = [table.configs[row] for row in order]
        yield Problem(task, table.space, configs, EqualEpochs(table.curves(task)), "val_error", seed, is_two)


def _synthetic(seed: int, half: str, *, has_two_objectives: bool) -> Problem:
    space = SearchSpace(
        lr=Float(1e-4, 1e-1, log=True), width=Int(8, 256, log=True), dropout=Float(0.0, 0.5), kind=Choice(["a", "b"])
    )
    crossing = {"choosing": (0.0, 0.3), "reporting": (0.5, 0.7)}[half][seed // 2 % 2]
    number = seed if half == "choosing" else 1000 + seed
    configs = [space.sample(stream(number, "configs", index)) for index in range(N_CONFIGS)]
    curves = SyntheticCurves(space, (27, 81)[seed // 4 % 2], number, crossing=crossing)
    return Problem(f"synthetic-{number}", space, configs, curves, "error", number, has_two_objectives)


class _Over(Exception):
    """The simulated time is over."""


@dataclass
class Seen:
    """What a study has reported, and when."""

    trials: Sequence[Mapping[str, Any]]
    reports: list[tuple[float, int, int, float]]  # time, trial, resource, error

    def until(self, seconds: float) -> list[tuple[int, int, float]]:
        """Returns trial, resource and error of the reports up to a time."""
        return [(trial, resource, error) for at, trial, resource, error in self.reports if at <= seconds]


def simulated(
    problem: Problem,
    curves: Curves,
    devices: int,
    limits: Limits,
    until_s: float,
    policy: AllocationPolicy | None = None,
) -> tuple[Seen, Any]:
    """Returns what a study has seen, and its final state (None if it was cut off at `until_s`)."""
    reports, created = list[tuple[float, int, int, float]](), list[Mapping[str, Any]]()

    def sink(events: Sequence[ev.Event]) -> None:
        for event in events:
            if event.at > until_s:
                raise _Over
            if isinstance(event, ev.TrialCreated):
                created.append(event.config)
            elif isinstance(event, ev.Reported):
                reports.append((event.at, event.trial_id, event.resource, event.values[problem.error]))

    start_s, state = START_SHARE * problem.full_s, None
    with contextlib.suppress(_Over):
        state = simulate(problem.spec(devices, policy), curves, limits, start_s=start_s, restore_s=start_s, sink=sink)
    return Seen(created, reports), state


def rows_of(
    problem: Problem, devices: Sequence[int], limits: Sequence[float], *, is_noisy: bool = False
) -> Iterator[dict[str, Any]]:
    """Yields one row per study of a problem."""
    curves: Curves = NoisySeconds(problem.curves, problem.seed) if is_noisy else problem.curves
    for n in devices:
        plain, _ = simulated(problem, curves, n, Limits(), max(limits) * problem.full_s)
        for limit in limits:
            seconds = limit * problem.full_s
            for kind in KINDS:
                usd = seconds * n * PRICE / 3600
                bound = Limits(max_time_s=seconds) if kind == "time" else Limits(max_cost_usd=usd)
                seen, state = simulated(problem, curves, n, bound, np.inf)
                used = _used_share(state, bound)
                row = {"problem": problem.name, "objectives": len(problem.objectives), "devices": n, "limit": limit}
                yield row | {"kind": kind} | _compared(problem, curves, seen, plain, seconds, kind, n) | {"used": used}


def _used_share(state: StudyState, bound: Limits) -> float:
    if bound.max_time_s is not None:
        return state.wall_s(state.last_at) / bound.max_time_s
    return state.billed_usd(state.last_at) / (bound.max_cost_usd or 1.0)


def _compared(
    problem: Problem, curves: Curves, seen: Seen, plain: Seen, seconds: float, kind: str, devices: int
) -> dict[str, Any]:
    top, start_s = curves.max_resource, START_SHARE * problem.full_s
    ours, theirs = seen.until(np.inf), plain.until(seconds)
    full = [seen.trials[trial] for trial, resource, _ in ours if resource == top]
    full_plain = [plain.trials[trial] for trial, resource, _ in theirs if resource == top]
    alone_s = seconds if kind == "time" else seconds * devices
    could = any(start_s + curves.elapsed_s(config, top, 1) <= alone_s for config in seen.trials)
    best, best_plain = (min((error for *_, error in reports), default=np.nan) for reports in (ours, theirs))
    return {
        "n_trials": len(seen.trials), "n_full": len(full), "n_full_plain": len(full_plain), "could": could,
        "best": best, "best_plain": best_plain, "hv": problem.hypervolume(full),
        "hv_plain": problem.hypervolume(full_plain),
    }  # fmt: skip


def figures(rows: Sequence[Mapping[str, Any]], noisy: Sequence[Mapping[str, Any]] = ()) -> dict[str, float]:
    """Returns the headline numbers; see the module."""
    at_1_5 = [row for row in rows if row["limit"] == 1.5]
    reported = [row for row in rows if np.isfinite(row["best"]) and np.isfinite(row["best_plain"])]
    found = {
        "none_at_1_5": _none(rows, lambda limit: limit >= 1.5),
        "none_at_1": _none(rows, lambda limit: limit == 1.0),
        "best_report_ratio": _mean(reported, "best") / _mean(reported, "best_plain"),
        "full_hv_ratio_1_5": _mean(at_1_5, "hv") / max(_mean(at_1_5, "hv_plain"), 1e-9),
        "exceeded": max(max(row["used"] for row in rows) - 1.0, 0.0),
    }
    if noisy:
        found["none_at_1_5_noisy"] = _none(noisy, lambda limit: limit >= 1.5)
        found["exceeded_noisy"] = max(max(row["used"] for row in noisy) - 1.0, 0.0)
    return {name: round(value, 6) for name, value in found.items()}


def _none(rows: Sequence[Mapping[str, Any]], is_meant: Callable[[float], bool]) -> float:
    able = [row["n_full"] == 0 for row in rows if is_meant(row["limit"]) and row["could"]]
    return float(np.mean(able)) if able else 0.0


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for row in rows])) if rows else 0.0


def cells(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the figures of each limit, and of each kind of limit, device count and number of objectives there."""
    found = []
    for limit in sorted({row["limit"] for row in rows}):
        at = [row for row in rows if row["limit"] == limit]
        for name in ("limit", "kind", "devices", "objectives"):
            for value in sorted({row[name] for row in at}):
                part = [row for row in at if row[name] == value]
                seen = [row for row in part if np.isfinite(row["best"]) and np.isfinite(row["best_plain"])]
                ratio = _mean(seen, "best") / max(_mean(seen, "best_plain"), 1e-9)
                found.append(
                    {
                        "limit": limit, **({name: value} if name != "limit" else {}), "studies": len(part),
                        "none": round(_none(part, lambda _: True), 4),
                        "none_plain": round(float(np.mean([r["n_full_plain"] == 0 for r in part if r["could"]])), 4),
                        "full": round(_mean(part, "n_full"), 2), "full_plain": round(_mean(part, "n_full_plain"), 2),
                        "best_ratio": round(float(ratio), 4), "hv": round(_mean(part, "hv"), 4),
                        "hv_plain": round(_mean(part, "hv_plain"), 4), "used": round(_mean(part, "used"), 4),
                    }
                )  # fmt: skip
    return found


def main() -> None:
    """Simulates the studies and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=17, help="problems per kind of curves")
    parser.add_argument("--half", choices=["choosing", "reporting"], default="reporting")
    parser.add_argument("--curves", nargs="+", choices=["synthetic", "lcbench"], default=["synthetic", "lcbench"])
    parser.add_argument("--limits", nargs="+", type=float, default=LIMITS)
    parser.add_argument("--devices", nargs="+", type=int, default=DEVICES)
    parser.add_argument("--quick", action="store_true", help="two synthetic problems, one limit")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seeds, arguments.curves, arguments.limits = 2, ["synthetic"], [1.5]
    rows, noisy = [], []
    for kind in arguments.curves:
        for problem in problems(kind, arguments.half, range(arguments.seeds)):
            rows += list(rows_of(problem, arguments.devices, arguments.limits))
            noisy += list(rows_of(problem, [4], [1.5, 2.0], is_noisy=True))
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "python": platform.python_version()}
    result = {"figures": figures(rows, noisy), "cells": cells(rows), "half": arguments.half, "versions": versions}
    print(json.dumps({**result, "seeds": arguments.seeds}, indent=1))


if __name__ == "__main__":
    main()
