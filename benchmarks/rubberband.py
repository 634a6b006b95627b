"""RubberBand-style plans on measured speeds, compared with static plans; prints one JSON object.

Jobs are successive halving with one of three ladders. Their speeds are those that Pollux measured on T4 GPUs: six
applications with three global batches each (`benchmarks/measured_speeds.py`). Nodes are those of the measurements, with
four T4s, at the price of a g4dn.12xlarge of AWS, billed per second, for at least 60 seconds. A full training takes 2 or
12 hours on one GPU, and a trial 20 seconds to start. At most 8 or 16 nodes are rented, and a launch takes 60 or 300
seconds. A deadline is a multiple of the time of the fastest static plan.

A static plan keeps its nodes from the beginning to the end; in each stage, its trials use the number of GPUs with which
the stage ends first, as in the elastic plan.

Figures:
- ratio_at_1_2, ratio_at_2: cost of the cheapest static plan divided by that of the elastic plan, at these deadlines;
  medians over the jobs.
- ratio_no_idle: the same at a deadline of 1.2, where the static plan pays a GPU only while a trial occupies it.
- bound_at_1_2, bound_at_2: the same ratios for a cost that no plan reaches, the lower bound of the cost of all
  plans (`benchmarks/plan_bounds.py`); medians. No planner can have a larger `ratio_at_1_2` or `ratio_at_2`.
- gap_max: the largest relative difference from the cheapest plan by brute force, on small random jobs.
- plan_ms: milliseconds to plan a job of 81 trials in 5 stages on at most 16 nodes; the largest of the medians of the
  deadlines.
- missed_share: plans made on fitted speeds (below), run on the measured ones: the share that misses its deadline. The
  details say by how much, and the same for plans that were made for 90 % of the deadline.

Fitted speeds are made from all batches on one GPU, 2 and 4 GPUs of a node, and one probe on two complete nodes.

    python benchmarks/rubberband.py [--small-jobs 200] [--quick]
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import lightning_hwtune
from benchmarks.brute_force_plans import SmallJob, brute_force_usd, small_jobs
from benchmarks.measured_speeds import PER_NODE, SOURCE, fitted_speeds, measured_apps, measured_speeds, some_batches
from benchmarks.plan_bounds import least_usd, undominated
from lightning_hwtune.core.hardware.billing import RULES, BillingRule
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.planning.job import Job, Stage, halving_stages
from lightning_hwtune.planning.nodes import NodeKind
from lightning_hwtune.planning.plan import executed
from lightning_hwtune.planning.rubberband import cheapest_plan
from lightning_hwtune.planning.static import cheapest_static_plan, fastest_static_plan

DEADLINES = (1.2, 1.5, 2.0, 5.0)
LADDERS = ((81, 81, 3), (64, 64, 2), (64, 64, 4))
FULL_H, LAUNCH_S, MOST = (2.0, 12.0), (60.0, 300.0), (8, 16)
START_S, USD_PER_HOUR, RULE = 20.0, 3.912, RULES["aws"]
MARGIN = 0.9


@dataclass(frozen=True)
class Instance:
    """A job, once with measured and once with fitted speeds, and its nodes."""

    app: str
    batch: int
    job: Job
    fitted: Job
    kind: NodeKind


def instances(*, is_quick: bool = False) -> Iterator[Instance]:
    """Yields all jobs."""
    pairs = [(app, batch) for app in measured_apps() for batch in some_batches(app)]
    known = [(app, batch, (measured_speeds(app, batch), fitted_speeds(app, batch))) for app, batch in pairs]
    grid = itertools.product(known, LADDERS, FULL_H, LAUNCH_S, MOST)
    for (app, batch, speeds), (trials, units, eta), full_h, launch_s, most in grid:
        if is_quick and (full_h, launch_s, most, trials) != (2.0, 60.0, 8, 81):
            continue
        stages, unit_s = halving_stages(trials, units, eta=eta), full_h * 3600 / units
        jobs = [Job(stages, unit_s, of, START_S) for of in speeds]
        kind = NodeKind(PER_NODE, most, USD_PER_HOUR, launch_s, RULE)
        yield Instance(app.name, batch, jobs[0], jobs[1], kind)


def no_idle_usd(job: Job, kind: NodeKind, deadline_s: float) -> float:
    """Returns the cost of the cheapest static plan that pays a GPU only while a trial occupies it."""
    usd_per_s = kind.usd_per_hour / 3600 / kind.devices
    found = []
    for n_nodes in range(1, kind.most + 1):
        ways = [(kind.launch_s, 0.0)]
        for stage in job.stages:
            steps = []
            for count in job.counts:
                if n_slots := kind.slots(n_nodes, count):
                    trial_s = job.trial_s(stage, count)
                    steps.append((math.ceil(stage.trials / n_slots) * trial_s, stage.trials * count * trial_s))
            ways = undominated((a + c, b + d) for (a, b), (c, d) in itertools.product(ways, steps))
        found += [used_s for ends_s, used_s in ways if ends_s <= deadline_s * (1 + 1e-9)]
    return usd_per_s * min(found)


def row_of(item: Instance, deadline: float) -> dict[str, Any]:
    """Returns what one job has at one deadline."""
    job, kind = item.job, item.kind
    deadline_s = deadline * fastest_static_plan(job, kind).seconds
    plan = cheapest_plan(job, kind, deadline_s)
    static = cheapest_static_plan(job, kind, deadline_s)
    return {
        "app": item.app, "batch": item.batch, "trials": job.stages[0].trials, "stages": len(job.stages),
        "most": kind.most, "launch_s": kind.launch_s, "deadline": deadline, "ratio": static.usd / plan.usd,
        "ratio_no_idle": no_idle_usd(job, kind, deadline_s) / plan.usd,
        "ratio_bound": static.usd / least_usd(job, kind, deadline_s),
        "overrun": overrun(item, deadline_s, 1.0), "overrun_with_margin": overrun(item, deadline_s, MARGIN),
    }  # fmt: skip


def overrun(item: Instance, deadline_s: float, margin: float) -> float | None:
    """Returns by which part of it a deadline is missed, negative if it is met; None if no plan was made for it."""
    try:
        planned = cheapest_plan(item.fitted, item.kind, margin * deadline_s)
    except ArgumentError:
        return None
    held, devices = [s.nodes for s in planned.stages], [s.devices for s in planned.stages]
    return executed(planned.policy, item.job, item.kind, held, devices).seconds / deadline_s - 1


def gaps(jobs: Sequence[SmallJob]) -> list[float]:
    """Returns the relative difference between plan and brute force for each job; infinity if only one finds a plan."""
    found = []
    for small in jobs:
        job = Job(tuple(itertools.starmap(Stage, small.stages)), small.unit_s, small.speeds, small.start_s)
        rule = BillingRule(quantum_s=small.quantum_s, minimum_s=small.minimum_s)
        kind = NodeKind(small.devices, small.most, small.usd_per_hour, small.launch_s, rule)
        least = brute_force_usd(small)
        try:
            planned = cheapest_plan(job, kind, small.deadline_s).usd
        except ArgumentError:
            planned = math.inf
        found.append(0.0 if planned == least else abs(planned / least - 1) if least < math.inf else math.inf)
    return found


def plan_ms(repeats: int = 11) -> float:
    """Returns the milliseconds to plan 81 trials in 5 stages, the largest of the medians of the deadlines."""
    [app] = [app for app in measured_apps() if app.name == "imagenet"]
    job = Job(halving_stages(81, 81), 120.0, measured_speeds(app, 3200), START_S)
    kind, medians = NodeKind(PER_NODE, max(MOST), USD_PER_HOUR, max(LAUNCH_S), RULE), []
    fastest_s = fastest_static_plan(job, kind).seconds
    for deadline in DEADLINES:
        taken = []
        for _ in range(repeats):
            begun = time.perf_counter()
            cheapest_plan(job, kind, deadline * fastest_s)
            taken.append(1000 * (time.perf_counter() - begun))
        medians.append(statistics.median(taken))
    return max(medians)


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the medians of a group of rows, and how their plans on fitted speeds did."""
    found: dict[str, Any] = {"plans": len(rows)}
    for name in ("ratio", "ratio_no_idle", "ratio_bound"):
        values = [row[name] for row in rows]
        found[name] = {"median": statistics.median(values), "p10": float(np.quantile(values, 0.1)), "max": max(values)}
    for name in ("overrun", "overrun_with_margin"):
        values = [row[name] for row in rows if row[name] is not None]
        late = [value for value in values if value > 1e-9]
        by = {"median": statistics.median(late), "max": max(late)} if late else {}
        found[name] = {"planned": len(values), "missed": len(late) / len(values) if values else None, "late_by": by}
    return found


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Returns the headline numbers that follow from the rows; see the module."""
    at = {deadline: [row for row in rows if row["deadline"] == deadline] for deadline in DEADLINES}
    overruns = [row["overrun"] for row in rows if row["overrun"] is not None]
    return {
        "ratio_at_1_2": statistics.median(row["ratio"] for row in at[1.2]),
        "ratio_at_2": statistics.median(row["ratio"] for row in at[2.0]),
        "ratio_no_idle": statistics.median(row["ratio_no_idle"] for row in at[1.2]),
        "bound_at_1_2": statistics.median(row["ratio_bound"] for row in at[1.2]),
        "bound_at_2": statistics.median(row["ratio_bound"] for row in at[2.0]),
        "missed_share": sum(value > 1e-9 for value in overruns) / len(overruns),
    }


def main() -> None:
    """Plans all jobs and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small-jobs", type=int, default=200, help="jobs for the brute force")
    parser.add_argument("--quick", action="store_true", help="one ladder, one kind of node")
    given = parser.parse_args()
    found = list(instances(is_quick=given.quick))
    rows = [row_of(item, deadline) for item in found for deadline in DEADLINES]
    gap = max(gaps(small_jobs(given.small_jobs, 0)))
    groups = {"deadline": DEADLINES, "app": [app.name for app in measured_apps()], "trials": (81, 64), "most": MOST}
    groups["launch_s"] = LAUNCH_S
    parts = {
        f"{name} {value}": summary(part)
        for name, values in groups.items()
        for value in values
        if (part := [row for row in rows if row[name] == value])
    }
    for deadline, launch_s in itertools.product(DEADLINES, LAUNCH_S):
        part = [row for row in rows if (row["deadline"], row["launch_s"]) == (deadline, launch_s)]
        parts |= {f"deadline {deadline}, launch_s {launch_s}": summary(part)} if part else {}
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "python": platform.python_version()}
    result = {
        "figures": {key: round(value, 4) for key, value in figures(rows).items()}
        | {"gap_max": gap, "plan_ms": round(plan_ms(), 2)},
        "jobs": len(found), "small_jobs": given.small_jobs, "parts": parts, "versions": versions,
        "source": SOURCE, "licence": "Apache-2.0",
    }  # fmt: skip
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
