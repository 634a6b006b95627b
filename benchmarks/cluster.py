"""What a cluster adds to the trainings of a study, with Ray, Slurm and agents on this host; prints one JSON object.

The same study of the digits trains under each executor: locally on two devices, and on two nodes with one device each.
The nodes are on this host: two agents, two nodes of a real Ray, two nodes of a real Slurm. An executor whose programs
are missing is left out. Each round runs all of them, in rotated order. Ratios are taken within a round, and figures are
their medians. Run it on a quiet machine.

- segment_s: from the start of a segment, as in the log, to its first batch; the median of the segments that are not
  among the first ones, which wait for imports. first_segment_s: the longest of those.
- wall_s: from the first batch of all to the end of the last segment. engine_s: from the opening of the session to that
  batch: agents start and join, fork servers import.
- NAME_segment_ratio: segment_s over that of the local executor; NAME_segment_more_s: the difference.
- NAME_wall_ratio: wall_s over that of the local executor.

    python benchmarks/cluster.py [--rounds 3] [--trials 40] [--engines local,agents,ray,slurm]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "cluster")]

import lightning_hwtune as hwt  # noqa: E402 - found from the repository's root
from lightning_hwtune.core import events as ev  # noqa: E402

__all__ = ["figures", "measured"]

ENGINES = ("local", "agents", "ray", "slurm")
MAX_EPOCHS, LIMIT_S = 9, 1200.0
_FIRST = 2  # segments that wait for imports: one per node


def main() -> None:
    """Runs the rounds and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--study", nargs=2, metavar=("EXECUTOR", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.study:
        study(*arguments.study, arguments.trials)
        return
    names = [name for name in arguments.engines.split(",") if is_there(name)]
    with contextlib.ExitStack() as stack:
        environs = {name: stack.enter_context(engine(name)) for name in names}
        rounds = []
        for number in range(arguments.rounds):
            first = number % len(names)
            order = [*names[first:], *names[:first]]
            rounds.append({name: run(name, arguments.trials, environs[name]) for name in order})
    versions = {"lightning_hwtune": hwt.__version__, "python": platform.python_version()}
    result = {"figures": figures(rounds), "rounds": rounds, "trials": arguments.trials, "versions": versions}
    print(json.dumps({**result, "machine": platform.platform(), "load_1min": os.getloadavg()[0]}, indent=1))


def figures(rounds: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, float]:
    """Returns the medians over the rounds; ratios and differences are taken within each round first."""
    found: dict[str, float] = {}
    for name in rounds[0]:
        pairs = [(one[name], one["local"]) for one in rounds if name != "local" and "local" in one]
        for measure in ("segment", "wall"):
            if pairs:
                ratios = [own[f"{measure}_s"] / local[f"{measure}_s"] for own, local in pairs]
                found[f"{name}_{measure}_ratio"] = round(statistics.median(ratios), 3)
        if pairs:
            more = [own["segment_s"] - local["segment_s"] for own, local in pairs]
            found[f"{name}_segment_more_s"] = round(statistics.median(more), 3)
        for measure in ("segment_s", "first_segment_s", "wall_s", "engine_s"):
            found[f"{name}_{measure}"] = round(statistics.median(one[name][measure] for one in rounds), 3)
    return found


def is_there(name: str) -> bool:
    """Returns whether an engine's programs are on this host."""
    if name == "ray":
        return importlib.util.find_spec("ray") is not None
    if name == "slurm":
        from slurm_cluster import slurm_programs

        return slurm_programs() is not None
    return True


@contextlib.contextmanager
def engine(name: str) -> Iterator[Mapping[str, str]]:
    """Starts what an engine needs for all rounds; yields the environment variables of its studies."""
    if name == "ray":
        from ray_bench import ENVIRON, ray_cluster

        with ray_cluster("a100", "h100") as nodes:
            yield {**os.environ, **ENVIRON, "RAY_ADDRESS": nodes.address}
    elif name == "slurm":
        from slurm_cluster import SlurmCluster

        with SlurmCluster() as cluster:
            yield cluster.environ
    else:
        yield os.environ


def run(name: str, n_trials: int, environ: Mapping[str, str]) -> dict[str, float]:
    """Trains the study under one executor, in its own process and folder; returns its times."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="hwt", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, __file__, "--trials", str(n_trials), "--study", name, folder]
        if name == "slurm":
            command = ["salloc", "--quiet", "--nodes=2", "--ntasks-per-node=1", *command]
        paths = [str(ROOT), *sys.path[1:3], *filter(None, [os.environ.get("PYTHONPATH")])]
        given = {**environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
        agents = []
        with (Path(folder) / "output.txt").open("wb") as out:
            process = subprocess.Popen(command, env=given, stdout=out, stderr=out, cwd=ROOT)
            if name == "agents":
                agent = [sys.executable, "-m", "lightning_hwtune", "agent", f"{folder}/digits", "--name"]
                agents = [subprocess.Popen([*agent, f"n{i}"], env=given, stdout=out, stderr=out) for i in (1, 2)]
            try:
                status = process.wait(LIMIT_S)
            finally:
                for one in (process, *agents):
                    one.terminate()
                    one.wait()
        if status != 0:
            text = (Path(folder) / "output.txt").read_text(errors="replace")
            raise RuntimeError(f"{name} ended with status {status}:\n{text[-4000:]}")
        return measured(hwt.Study.load("digits", dir=folder).events(), first_batches(Path(folder) / "digits"))


def study(executor: str, folder: str, n_trials: int) -> None:
    """Trains the study under one executor."""
    pool = hwt.Pool("cpu", devices=2) if executor == "local" else hwt.Pool("cpu", devices=1, nodes=2)
    made = hwt.Study(
        "digits",
        {"lr": hwt.Float(1e-3, 1e-1, log=True)},
        [hwt.Metric("error", "min")],
        scheduler=hwt.ASHA(max_epochs=MAX_EPOCHS, first_rung=1),
        searcher=hwt.Random(),
        pool=pool,
        dir=folder,
        seed=0,
    )
    from cluster_functions import digits

    made.run(digits, max_trials=n_trials, finishers=0, executor=executor, check=False, progress=False)


def first_batches(folder: Path) -> dict[tuple[int, int], float]:
    """Returns when the first epoch of each segment began, by trial and segment."""
    found: dict[tuple[int, int], float] = {}
    for path in folder.glob("trials/*/epochs"):
        for line in path.read_text().splitlines():
            segment, *_, at = line.split()
            found.setdefault((int(path.parent.name), int(segment)), float(at))
    return found


def measured(events: Sequence[ev.Event], first: Mapping[tuple[int, int], float]) -> dict[str, float]:
    """Returns the times of a study from its log, and from when each segment began its first epoch."""
    started = [event for event in events if isinstance(event, ev.SegmentStarted)]
    ended = [event.at for event in events if isinstance(event, ev.SegmentEnded)]
    opened = next(event.at for event in events if isinstance(event, ev.SessionOpened))
    seconds = [first[event.trial_id, event.segment] - event.at for event in started]
    return {
        "segments": len(started),
        "segment_s": statistics.median(seconds[_FIRST:]),
        "first_segment_s": max(seconds[:_FIRST]),
        "wall_s": max(ended) - min(first.values()),
        "engine_s": min(first.values()) - opened,
    }


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
