"""What a study of 20,000 trials on 1,024 devices costs its controller; prints one JSON object.

A simulated study: 128 nodes of three instance types with 4, 8 and 16 devices, which join, leave and are lost; trials
of 1, 2, 4, 8 and 16 devices, which stay on their type, on complete nodes where a node is too small; segments that fail.
Rungs 1, 3, 9, 27, two objectives, curves whose epochs take about a minute. The loop, the controller, the placement and
the log (SQLite) are those of a real study; only the clock and the trainings are simulated.

All times are processor time, so that other work on the machine matters less. The time of the curves is not counted.

- controller_share: the part of one core that the loop uses at 17 reports per second, which is what 1,024 devices send
  with epochs of one minute: processor seconds per report x 17. Starts, ends, failures and the log are included.
- ask_ms, ask_p99_ms: one question to the controller, and the placement of what it decides.
- decisions_per_s: reports that get a verdict, and segments that start, per processor second.
- peak_mb: the memory of the process at its peak.

    python benchmarks/scale.py [--trials 20000] [--default-trials 20000] [--seed 0]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import platform
import resource
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning_hwtune
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Resume, Start
from lightning_hwtune.core.hardware.catalogue import InstanceType
from lightning_hwtune.core.hardware.kinds import Nodes
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.parameters import NumDevices
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import TPE, Random
from lightning_hwtune.core.space import Float, Int, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.engine.rented_nodes import RentedNodes
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import Failures, simulate
from lightning_hwtune.simulation.provider import Cloud
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog

__all__ = ["figures"]

MAX_EPOCHS, REPORTS_PER_S = 27, 17.0
EPOCH_S, START_S, LAUNCH_S = 60.0, 1.0, 120.0
DAY_S = 86_400.0
KINDS = tuple(
    Nodes(count, instance=InstanceType(name, 4.0 * devices, devices=devices, usd_per_hour_spot=2.0 * devices))
    for name, count, devices in (("small", 64, 4), ("medium", 32, 8), ("large", 32, 16))
)


def main() -> None:
    """Simulates the studies and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20_000, help="of the study that Random() draws")
    parser.add_argument("--default-trials", type=int, default=20_000, help="of the study with the default searcher")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sizes = {"random": arguments.trials, "default": arguments.default_trials}
    rows = {name: in_own_process(name, n, arguments.seed) for name, n in sizes.items() if n}
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "python": platform.python_version()}
    result = {"figures": figures(rows), "studies": rows, "machine": platform.platform(), "versions": versions}
    print(json.dumps({**result, "seeds": [arguments.seed]}, indent=1))


def figures(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Returns the headline numbers; those of the default searcher have `default_` in front."""
    names = ("controller_share", "ask_ms", "ask_p99_ms", "decisions_per_s", "peak_mb")
    return {
        name if searcher == "random" else f"{searcher}_{name}": row[name]
        for searcher, row in rows.items()
        for name in names
    }


def in_own_process(searcher: str, n_trials: int, seed: int) -> dict[str, Any]:
    """Returns the figures of one study, in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(study, (searcher, n_trials, seed))


def study(searcher: str, n_trials: int, seed: int) -> dict[str, Any]:
    """Simulates one study; returns its figures as plain data."""
    space = SearchSpace(
        lr=Float(1e-4, 1e-1, log=True),
        width=Int(8, 128, log=True),
        dropout=Float(0.0, 0.5),
        momentum=Float(0.5, 0.99),
        devices=NumDevices(1, 2, 4, 8, 16),
    )
    spec = StudySpec(
        name="scale",
        space=space,
        objectives=Objectives([Metric("error", "min"), TrainSeconds()]),
        scheduler=ASHA(max_epochs=MAX_EPOCHS, first_rung=1),
        searcher=Random() if searcher == "random" else TPE(),
        pool=Pool(nodes=KINDS, spot=True),
        seed=seed,
        max_failures=n_trials,
    )
    curves = TimedCurves(SyntheticCurves(space, MAX_EPOCHS, unit_s=EPOCH_S, scaling=0.0))
    with (
        tempfile.TemporaryDirectory() as folder,
        timed(Controller, "ask") as asks,
        timed(RentedNodes, "take") as places,
    ):
        files = StudyFiles(Path(folder), spec.name)
        files.create()
        log = EventLog.open(files, create=True)
        list(log.read())
        wall, begun = time.perf_counter(), time.process_time()
        state = simulate(
            spec,
            curves,
            Limits(max_trials=n_trials),
            start_s=START_S,
            failures=Failures(mean_s=DAY_S, seed=seed),
            cloud=Cloud(
                launch_s=LAUNCH_S,
                launch_spread=0.3,
                never_share=0.01,
                straggler_share=0.02,
                lost_after_s=DAY_S,
                seed=seed,
            ),
            sink=log.append,
        )
        spent_s = time.process_time() - begun - curves.spent_s
        wall_s, n_events = time.perf_counter() - wall, log.count()
        log.close()
    n_reports = sum(len(trial.measurements) for trial in state.trials)
    started = [ask_s for ask_s, answer in asks if isinstance(answer, Start | Resume)]
    pairs = [ask_s + place_s for ask_s, (place_s, _) in zip(started, places, strict=True)]
    return {
        "trials": len(state.trials),
        "controller_share": round(REPORTS_PER_S * spent_s / n_reports, 4),
        "ask_ms": round(1e3 * statistics.mean(pairs), 3),
        "ask_p99_ms": round(1e3 * statistics.quantiles(pairs, n=100)[98], 3),
        "asks": len(asks),
        "decisions_per_s": round((n_reports + len(pairs)) / spent_s),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "process_s": round(spent_s, 1),
        "curves_s": round(curves.spent_s, 1),
        "wall_s": round(wall_s, 1),
        "virtual_hours": round(state.wall_s(state.last_at) / 3600, 2),
        "reports": n_reports,
        "segments": len(state.segments),
        "events": n_events,
        "lost_segments": sum(segment.outcome == Outcome.LOST for segment in state.segments),
        "lost_nodes": sum(node.is_lost for node in state.nodes),
        "nodes": len(state.nodes),
        "segments_by_type": dict(Counter(segment.allocation.instance for segment in state.segments)),
        "fully_trained": state.n_full,
        "ended": state.closed.reason if state.closed else "",
    }


class TimedCurves:
    """Curves, and how much processor time they take."""

    def __init__(self, curves: SyntheticCurves) -> None:
        self._curves, self.metrics, self.max_resource, self.spent_s = curves, curves.metrics, curves.max_resource, 0.0

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        return self._timed(self._curves.values, config, resource)

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        return self._timed(self._curves.elapsed_s, config, resource, num_devices)

    def usd_per_s(self, config: Mapping[str, Any], num_devices: int) -> float:
        return self._timed(self._curves.usd_per_s, config, num_devices)

    def _timed(self, function: Callable[..., Any], *arguments: Any) -> Any:
        begun = time.process_time()
        result = function(*arguments)
        self.spent_s += time.process_time() - begun
        return result


@contextlib.contextmanager
def timed(owner: type, name: str) -> Iterator[list[tuple[float, Any]]]:
    """Replaces a method by one that also records its processor seconds and its result; yields the records."""
    method, found = getattr(owner, name), list[tuple[float, Any]]()

    def replacement(*arguments: Any, **options: Any) -> Any:
        begun = time.process_time()
        result = method(*arguments, **options)
        found.append((time.process_time() - begun, result))
        return result

    setattr(owner, name, replacement)
    try:
        yield found
    finally:
        setattr(owner, name, method)


if __name__ == "__main__":
    main()
