"""What it costs to read a large study: whole commands, the constructor, and following a log; prints one JSON object.

The log is that of a simulated study with rungs 1, 3, 9, 27 and eight devices. Each command runs in its own process, as
a user runs it; `empty_status_s` is the same command on a study without trials. The first `status` comes before any
other command (`cold`), the others after it (`warm`). Run it on a quiet machine:

    python benchmarks/reading.py [--trials 20000] [--rounds 3] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning_hwtune
from lightning_hwtune.core.events import Event, SessionOpened
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, TrainSeconds
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, Int, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.engine.reading import Reader
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.study import Study

__all__ = ["figures", "measure"]

MAX_EPOCHS, DEVICES = 27, 8
NAME, EMPTY = "reading", "empty"
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""An installed package has compiled modules."""
CHUNK = 100  # events that a writer adds between two reads of the follower


@dataclass(frozen=True, slots=True)
class Command:
    """The time of one `hwtune` command; `process_s` is its processor time, which matters on a busy machine."""

    wall_s: float
    process_s: float
    memory_mb: float

    @classmethod
    def of(cls, folder: Path, *words: str) -> Command:
        """Runs the command in its own process."""
        begun = time.perf_counter()
        command = [sys.executable, "-m", "lightning_hwtune", *words, "--dir", str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=_ENVIRONMENT)
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"`hwtune {' '.join(words)}` ended with {process.returncode}")
        return cls(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def median(commands: Sequence[Command]) -> Command:
    """Returns the median of each figure."""
    return Command(
        *(statistics.median(getattr(one, name) for one in commands) for name in ("wall_s", "process_s", "memory_mb"))
    )


def main() -> None:
    """Makes the log, reads it and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3, help="of each warm command; their median counts")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(Path(folder), arguments.trials, arguments.rounds, arguments.seed)
    versions = {"lightning_hwtune": lightning_hwtune.__version__, "python": platform.python_version()}
    result = {"figures": figures(measured), "measured": measured, "machine": platform.platform(), "versions": versions}
    print(json.dumps({**result, "seeds": [arguments.seed]}, indent=1))


def figures(measured: dict[str, Any]) -> dict[str, float]:
    """Returns the headline numbers."""
    names = ("cold_status_s", "warm_status_s", "warm_why_s", "follow_events_per_s", "constructor_ms", "memory_mb")
    return {name: measured[name] for name in (*names, "warm_vs_empty", "why_vs_empty")}


def measure(folder: Path, n_trials: int, rounds: int, seed: int) -> dict[str, Any]:
    """Makes the studies in `folder`; returns the times of reading them."""
    events = simulated_events(n_trials, seed)
    write(folder, NAME, events)
    first_session = next(i for i, event in enumerate(events, 1) if isinstance(event, SessionOpened))
    write(folder, EMPTY, events[:first_session])
    cold = Command.of(folder, "status", "--study", NAME)
    warm = median([Command.of(folder, "status", "--study", NAME) for _ in range(rounds)])
    why = median([Command.of(folder, "why", "0", "--study", NAME) for _ in range(rounds)])
    empty = median([Command.of(folder, "status", "--study", EMPTY) for _ in range(rounds)])
    commands = {"cold_status": cold, "warm_status": warm, "warm_why": why, "empty_status": empty}
    return {
        "trials": n_trials,
        "events": len(events),
        **{f"{name}_s": round(one.wall_s, 2) for name, one in commands.items()},
        **{f"{name}_process_s": round(one.process_s, 2) for name, one in commands.items()},
        "warm_vs_empty": round(warm.wall_s / empty.wall_s, 2),
        "why_vs_empty": round(why.wall_s / empty.wall_s, 2),
        "follow_events_per_s": round(follow(folder, events)),
        "constructor_ms": round(constructor_ms(folder, seed, rounds), 1),
        "memory_mb": round(cold.memory_mb),
    }


def simulated_events(n_trials: int, seed: int) -> list[Event]:
    """Returns the whole log of a simulated study."""
    log: list[Event] = []
    curves = SyntheticCurves(space(), MAX_EPOCHS)
    simulate(spec(seed), curves, Limits(max_trials=n_trials), start_s=1.0, restore_s=1.0, sink=log.extend)
    return log


def space() -> SearchSpace:
    """Returns the search space."""
    return SearchSpace(
        lr=Float(1e-4, 1e-1, log=True), width=Int(8, 128, log=True), dropout=Float(0.0, 0.5), momentum=Float(0.5, 0.99)
    )


def settings(seed: int) -> dict[str, Any]:
    """Returns the study's settings as `Study` takes them."""
    return {
        "scheduler": ASHA(max_epochs=MAX_EPOCHS, first_rung=1),
        "searcher": Random(),  # reading runs no searcher, and a model would take most of the simulation's time
        "pool": Pool("cpu", DEVICES),
        "seed": seed,
    }


def spec(seed: int) -> StudySpec:
    """Returns the study's settings as the simulation takes them: those that `Study` makes of them."""
    with tempfile.TemporaryDirectory() as folder:
        return Study(NAME, space(), [Metric("error", "min"), TrainSeconds()], dir=folder, **settings(seed)).spec


def write(folder: Path, name: str, events: Sequence[Event]) -> None:
    """Appends these events to the log of a study."""
    files = StudyFiles(folder, name)
    files.create()
    with EventLog.open(files, create=True) as log:
        for start in range(0, len(events), 10_000):
            log.append(events[start : start + 10_000])


def follow(folder: Path, events: Sequence[Event]) -> float:
    """Returns how many events per second a reader processes that reads after every `CHUNK` new events.

    The second half of the log is added while the reader follows; at most 200 times.
    """
    half = len(events) // 2
    write(folder, "followed", events[:half])
    files = StudyFiles(folder, "followed")
    reader, reading_s, end = Reader(files, None), 0.0, half
    reader.state()
    with EventLog.open(files, create=True) as log:
        for start in range(half, min(len(events), half + 200 * CHUNK), CHUNK):
            new = events[start : start + CHUNK]
            log.append(new)
            end = start + len(new)
            begun = time.perf_counter()
            reader.state()
            reading_s += time.perf_counter() - begun
    return (end - half) / reading_s


def constructor_ms(folder: Path, seed: int, rounds: int) -> float:
    """Returns the milliseconds that the constructor of the stored study takes."""
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        Study(NAME, space(), [Metric("error", "min"), TrainSeconds()], dir=folder, **settings(seed))
        taken.append(1000 * (time.perf_counter() - begun))
    return statistics.median(taken)


if __name__ == "__main__":
    main()
