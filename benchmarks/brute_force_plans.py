"""The cheapest elastic plan of a small job, by trying everything; shares no code with `lightning_hwtune.planning`.

In every stage: every number of nodes, every number of devices per trial that was measured, and every choice of nodes to
release. The number of plans grows exponentially with stages and nodes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["SmallJob", "brute_force_usd", "small_jobs"]


@dataclass(frozen=True)
class SmallJob:
    """A job, a kind of node, and a deadline, as plain numbers."""

    stages: Sequence[tuple[int, float]]
    unit_s: float
    start_s: float
    speeds: Mapping[int, float]
    devices: int
    most: int
    usd_per_hour: float
    launch_s: float
    minimum_s: float
    quantum_s: float
    deadline_s: float


def small_jobs(n: int, seed: int) -> list[SmallJob]:
    """Returns random jobs of three to five stages on at most two to five nodes.

    Bills are not rounded, or rounded to 5 or 20 minutes.
    """
    rng, jobs = np.random.default_rng(seed), []
    for _ in range(n):
        n_stages = int(rng.integers(3, 6))
        trials = np.sort(rng.integers(1, 13, n_stages))[::-1]
        if rng.random() < 0.5:
            trials = rng.permutation(trials)  # a plan may have to launch nodes late
        exponent = float(rng.uniform(0.2, 1.0))
        speeds = {g: float(g**exponent * rng.uniform(0.8, 1.2)) for g in (1, 2, 4, 8)}
        work_s = float(rng.uniform(20, 600))
        jobs.append(
            SmallJob(
                stages=[(int(count), float(rng.integers(1, 6))) for count in trials],
                unit_s=work_s,
                start_s=float(rng.choice([0.0, 10.0, 60.0])),
                speeds=speeds,
                devices=int(rng.choice([1, 2, 4])),
                most=int(rng.integers(2, {3: 6, 4: 5, 5: 4}[n_stages])),
                usd_per_hour=float(rng.uniform(0.5, 10)),
                launch_s=float(rng.choice([0.0, 30.0, 300.0, 1000.0])),
                minimum_s=float(rng.choice([0.0, 60.0, 1000.0])),
                quantum_s=float(rng.choice([0.0, 0.0, 300.0, 1200.0])),
                deadline_s=float(rng.uniform(2, 12)) * n_stages * work_s,
            )
        )
    return jobs


def brute_force_usd(job: SmallJob) -> float:
    """Returns the cost of the cheapest plan that ends by the deadline; infinity if there is none.

    If bills are rounded, the nodes that have been up longest are released first; otherwise any nodes may be.
    """
    best, is_oldest_first = math.inf, job.quantum_s > 0

    def bill(up_s: float) -> float:
        if job.quantum_s:
            up_s = math.ceil(up_s / job.quantum_s * (1 - 1e-9)) * job.quantum_s
        return job.usd_per_hour / 3600 * max(job.minimum_s, up_s)

    def slots(n_nodes: int, devices: int) -> int:
        if devices > job.devices:
            return n_nodes // (devices // job.devices) if devices % job.devices == 0 else 0
        return n_nodes * (job.devices // devices)

    def extend(stage: int, now: float, up: tuple[float, ...], usd: float) -> None:
        nonlocal best
        if now > job.deadline_s or usd >= best:
            return
        if stage == len(job.stages):
            best = min(best, usd + sum(bill(now - since) for since in up))
            return
        trials, units = job.stages[stage]
        for n_nodes, devices in itertools.product(range(1, job.most + 1), job.speeds):
            if slots(n_nodes, devices) == 0:
                continue
            n_kept = min(n_nodes, len(up))
            kept_choices = {up[len(up) - n_kept :]} if is_oldest_first else set(itertools.combinations(up, n_kept))
            for kept in kept_choices:
                released = list(up)
                for since in kept:
                    released.remove(since)
                spent = usd + sum(bill(now - since) for since in released)
                new = n_nodes - n_kept
                waves = math.ceil(trials / slots(n_nodes, devices))
                train_s = units * job.unit_s * job.speeds[1] / job.speeds[devices]
                ends = now + (job.launch_s if new else 0.0) + waves * (job.start_s + train_s)
                extend(stage + 1, ends, (*kept, *[now] * new), spent)

    extend(0, 0.0, (), 0.0)
    return best
