"""What a framework adds to training: the same configurations through this package, its peers and a bare loop.

    python benchmarks/overhead.py                           # ours only
    python benchmarks/overhead.py --peers                   # all; `make bench` installs the peers
    python benchmarks/overhead.py --peers ray_tune,bare --rounds 1

Prints one JSON object; progress and a table go to standard error. Run it on a quiet machine.

The job: 40 pre-drawn perceptrons on the digits, asynchronous successive halving with rungs 1, 3, 9 and 27 epochs, two
trainings at a time with one thread each, one Lightning Trainer per fit with the same settings everywhere. There are
five rounds in rotated order; figures are medians, and ratios are taken within a round. Modules of the repository are
compiled once, like those of an installed package, even where the environment forbids it.

- wall_s: the whole process, from its start to its exit, with imports, start-up of workers, training and shutdown.
  Ratios compare it. run_s: the part inside the framework's call.
- training_s: the sum over epochs, from the start of an epoch to the end of its validation, measured by the same
  callback everywhere.
- cpu_s: processor time of the process and of all processes that it started. On a machine that does other work at the
  same time, ratios of it mean more than those of wall_s.
- overhead_per_trial_s = (wall_s x workers - training_s) / trials: worker-seconds outside of epochs.
- peak_pss_mb: proportional memory of the whole process tree, sampled twice a second.

The peers have only the stopping type of ASHA, which keeps no checkpoints. Our default promotes, pauses and resumes, so
it trains fewer epochs: `wall_ratio` and `run_ratio` compare the defaults, including the rule. `ours_stopping` follows
the rule of the peers and is the like-for-like comparison:

- like_for_like_vs_*: wall_s of `ours_stopping` over that of the peer.
- like_for_like_per_epoch_vs_*: the same with wall_s divided by the number of trained epochs.
- like_for_like_cpu_vs_*: the same with cpu_s.
- like_for_like_overhead_per_trial_s: overhead_per_trial_s of `ours_stopping`.

A second job, only with this package, has epochs of 2 seconds (extended by sleeping, so that the two workers do not slow
each other down). overhead_share_2s_epochs: device-seconds from each segment's start request to the release of its
device, divided by the seconds in its epochs, minus 1. idle_with_work_share: fraction of the devices' time, from the
first start request to the last release, in which a device was free while the controller had something to start.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.peers.workload import Workload  # noqa: E402 - found from the repository's root
from lightning_hwtune.host.process_family import adopt_orphans, end_children  # noqa: E402

__all__ = ["Run", "figures", "main"]

PEERS = ("ray_tune", "syne_tune", "optuna_pruner", "bare", "ours_stopping")
SHORT = {"ray": "ray_tune", "optuna": "optuna_pruner"}
RATIOS = {"ray": "ray_tune", "syne_tune": "syne_tune", "optuna": "optuna_pruner", "bare": "bare"}
SAME_RULE = ("ray", "syne_tune", "optuna")  # peers that stop as `ours_stopping` does
LOOK_EVERY_S = 0.5
LIMIT_S = 1800.0
DISTRIBUTIONS = ("lightning_hwtune", "lightning", "torch", "ray", "syne-tune", "optuna", "psutil")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a contender; the module's docstring defines the measures."""

    contender: str
    wall_s: float
    cpu_s: float
    run_s: float
    training_s: float
    epochs: int
    trials: int
    overhead_per_trial_s: float
    peak_pss_mb: float
    more: Mapping[str, float]

    @property
    def wall_per_epoch_s(self) -> float:
        """Seconds of the whole process per trained epoch."""
        return self.wall_s / self.epochs

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data."""
        own = {name: getattr(self, name) for name in self.__slots__ if name != "more"}
        return {**own, **self.more}


def main() -> None:
    """Runs the rounds and prints the result."""
    arguments = _arguments()
    rounds = []
    for number in range(arguments.rounds):
        order = _rotated(("ours", *arguments.peers), number)
        rounds.append({name: _run(name, _overhead_job(arguments)) for name in order})
        rounds[-1]["ours_2s_epochs"] = _run("ours", _slow_job(arguments))
    _print_table(rounds)
    result = {
        "figures": figures(rounds),
        "machine": _machine(),
        "versions": {"python": platform.python_version(), **_versions()},
        "seeds": [arguments.seed],
        "trials": arguments.trials,
        "rounds": [{name: run.to_dict() for name, run in one.items()} for one in rounds],
    }
    print(json.dumps(result))


def figures(rounds: Sequence[Mapping[str, Run]]) -> dict[str, float]:
    """Returns medians over the rounds; ratios are taken within each round first."""
    found = {
        f"{measure}_ratio_vs_{short}": statistics.median(
            getattr(one["ours"], f"{measure}_s") / getattr(one[name], f"{measure}_s") for one in rounds
        )
        for measure in ("wall", "run")
        for short, name in RATIOS.items()
        if all(name in one for one in rounds)
    }
    slow = [one["ours_2s_epochs"] for one in rounds]
    return {
        **found,
        **_like_for_like(rounds),
        "overhead_per_trial_s": statistics.median(one["ours"].overhead_per_trial_s for one in rounds),
        "overhead_share_2s_epochs": statistics.median(run.more["overhead_share"] for run in slow),
        "idle_with_work_share": statistics.median(run.more["idle_with_work_share"] for run in slow),
        "peak_pss_mb": statistics.median(one["ours"].peak_pss_mb for one in rounds),
    }


def _like_for_like(rounds: Sequence[Mapping[str, Run]]) -> dict[str, float]:
    """Returns the figures of `ours_stopping` against the peers; none if it did not run."""
    if not all("ours_stopping" in one for one in rounds):
        return {}
    ours = [one["ours_stopping"] for one in rounds]
    found = {"like_for_like_overhead_per_trial_s": statistics.median(run.overhead_per_trial_s for run in ours)}
    for measure, name in (
        ("wall_s", "like_for_like"),
        ("wall_per_epoch_s", "like_for_like_per_epoch"),
        ("cpu_s", "like_for_like_cpu"),
    ):
        for short in SAME_RULE:
            if all(RATIOS[short] in one for one in rounds):
                pairs = [(run, one[RATIOS[short]]) for run, one in zip(ours, rounds, strict=True)]
                ratios = [getattr(run, measure) / getattr(peer, measure) for run, peer in pairs]
                found[f"{name}_vs_{short}"] = statistics.median(ratios)
    return found


def _overhead_job(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"n_trials": arguments.trials, "max_epochs": 27, "epoch_s": 0.0, "seed": arguments.seed}


def _slow_job(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"n_trials": arguments.slow_trials, "max_epochs": 9, "epoch_s": 2.0, "seed": arguments.seed}


# ---------------------------------------------------------------------- one run


def _run(contender: str, job: Mapping[str, Any]) -> Run:
    """Runs a contender in its own process and folder."""
    _say(f"{contender}: {job['n_trials']} trials ...")
    # a short path, because it contains sockets
    with tempfile.TemporaryDirectory(prefix="hwt", dir="/tmp", ignore_cleanup_errors=True) as folder:
        workload = Workload(eta=3, n_workers=2, folder=folder, **job)
        wall_s, cpu_s, peak_bytes = _watched(contender, workload)
        result = json.loads(workload.result_path.read_text())
        epochs = [float(line) for line in workload.epochs_path.read_text().split()]
    n_workers = 1 if contender == "bare" else workload.n_workers
    return Run(
        contender=contender,
        wall_s=wall_s,
        cpu_s=cpu_s,
        run_s=result.pop("run_s"),
        training_s=sum(epochs),
        epochs=len(epochs),
        trials=workload.n_trials,
        overhead_per_trial_s=(wall_s * n_workers - sum(epochs)) / workload.n_trials,
        peak_pss_mb=peak_bytes / 1e6,
        more=result,
    )


def _watched(contender: str, workload: Workload) -> tuple[float, float, int]:
    """Starts a contender and waits for it; returns its seconds, its processor time and its peak memory."""
    log = Path(workload.folder) / "output.txt"
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "", "PYTHONPATH": os.pathsep.join(paths)}
    environment = {**os.environ, **workload.environment(), **settings}
    adopt_orphans()  # the processor time of a process belongs to the one that waits for it
    with log.open("wb") as output:
        cpu_before_s, began = _children_cpu_s(), time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.peers.{contender}"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        memory = _Memory(process.pid)
        try:
            status = process.wait(LIMIT_S)
            wall_s = time.perf_counter() - began
        finally:
            memory.stop()
            _end_session(process)
    if status != 0:
        text = log.read_text(errors="replace")
        start = max(text.find("Traceback"), 0)  # the first error explains the others
        raise RuntimeError(f"{contender} ended with status {status}:\n{text[start:][:4000]}")
    return wall_s, _children_cpu_s() - cpu_before_s, memory.peak_bytes


def _end_session(process: subprocess.Popen[bytes]) -> None:
    """Ends the processes that a contender left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    end_children()


def _children_cpu_s() -> float:
    """Returns the processor time of all descendants that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class _Memory:
    """Samples the memory of a process tree until it is stopped."""

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self._root = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops sampling."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self.peak_bytes = max(self.peak_bytes, _tree_bytes(self._root))


def _tree_bytes(root: psutil.Process) -> int:
    """Returns the proportional set size of a process and its descendants; those that have ended count 0."""
    try:
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in tree:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


# ---------------------------------------------------------------------- around it


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", nargs="?", const=",".join(PEERS), default="", help="names, by comma; all if bare")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--slow-trials", type=int, default=18, help="of the job with epochs of 2 seconds")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    names = [name for name in arguments.peers.split(",") if name]
    arguments.peers = tuple(SHORT.get(name, name) for name in names)
    unknown = [name for name in arguments.peers if name not in PEERS]
    if unknown:
        parser.error(f"no peer {unknown[0]!r}; there are {', '.join((*SHORT, *PEERS))}")
    return arguments


def _rotated(names: Sequence[str], number: int) -> list[str]:
    """Returns the names in rotated order, which begins with another one in each round."""
    first = number % len(names)
    return [*names[first:], *names[:first]]


def _machine() -> dict[str, Any]:
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": psutil.virtual_memory().total / 1e6,
        "load_1min": os.getloadavg()[0],
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _versions() -> dict[str, str]:
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _print_table(rounds: Sequence[Mapping[str, Run]]) -> None:
    columns = (
        "wall_s",
        "cpu_s",
        "wall_per_epoch_s",
        "run_s",
        "training_s",
        "epochs",
        "overhead_per_trial_s",
        "peak_pss_mb",
    )
    _say(f"{'medians':16}" + "".join(f"{column:>22}" for column in columns))
    for name in sorted({name for one in rounds for name in one}):
        runs = [one[name] for one in rounds if name in one]
        medians = [statistics.median(getattr(run, column) for run in runs) for column in columns]
        _say(f"{name:16}" + "".join(f"{value:22.2f}" for value in medians))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
