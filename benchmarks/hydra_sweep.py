"""Does a Hydra multirun of an app without any code for tuning keep the sweeper's promises, even if it is killed?

    python benchmarks/hydra_sweep.py --kills 5 --seed 0

Sweeps a copy of the app in `tests/apps/template` twice: 12 trials over learning rate, width and `trainer.devices` in
{1, 2}, two objectives, rungs 1, 3 and 9. The first sweep runs undisturbed. The second is killed with SIGKILL at seeded
random moments: after a number of further events and a fraction of a second. The same command then continues it.

Prints one JSON object and exits with 1 if a promise was broken. `figures`:

- sweep_dirs: directories of the sweep, the larger number of the two. trial_dirs: in the undisturbed one.
- resumed_segments: trials that were promoted after a pause and resumed from their checkpoints.
- two_rank_segments: segments whose process group really had two ranks.
- solutions: in `optimization_results.yaml`. trials_after_kill: of the killed sweep at its end.
- orphans: processes of the sweep that were alive 5 seconds after it was killed, over all kills.
- exit_code: of the last command of both sweeps, the larger one.
- kills: those that hit a running sweep. failed_trials: of both sweeps. wall_s: of the undisturbed sweep.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
import yaml

import lightning_hwtune as hwt
from lightning_hwtune.core.events import SegmentStarted
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog

__all__ = ["main"]

APP = Path(__file__).resolve().parent.parent / "tests" / "apps" / "template"
OVERRIDES = ("hparams_search=two_objectives", "logger=csv")  # two_objectives.yaml sets the rest
NAME = "digits"
N_TRIALS = 12
TAG = "HWTUNE_SWEEP_TAG"  # an environment variable that marks every process of the sweep
MOST_EVENTS = 20  # between two kills
MOST_JITTER_S = 0.5
ORPHAN_S = 5.0
LIFE_S = 900.0


def main() -> None:
    """Runs the two sweeps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hwtune-hydra-") as folder:
        figures = _figures(Path(folder), arguments.kills, arguments.seed)
    machine = {"platform": platform.platform(), "cores": len(os.sched_getaffinity(0))}
    versions = {"python": platform.python_version(), "lightning_hwtune": hwt.__version__}
    print(json.dumps({"figures": figures, "machine": machine, "versions": versions, "seeds": [arguments.seed]}))
    sys.exit(0 if _is_kept(figures, arguments.kills) else 1)


def _is_kept(figures: dict[str, float], n_kills: int) -> bool:
    """Return whether every promise was kept."""
    exact = {"sweep_dirs": 1, "trial_dirs": N_TRIALS, "trials_after_kill": N_TRIALS, "orphans": 0, "exit_code": 0}
    exact |= {"kills": n_kills, "failed_trials": 0}
    least = {"resumed_segments": 3, "two_rank_segments": 1, "solutions": 1}
    return all(figures[name] == value for name, value in exact.items()) and all(
        figures[name] >= value for name, value in least.items()
    )


def _figures(folder: Path, n_kills: int, seed: int) -> dict[str, float]:
    rng, tag = random.Random(seed), uuid.uuid4().hex
    calm, killed = folder / "calm", folder / "killed"
    for place in (calm, killed):
        shutil.copytree(APP, place)
    began = time.monotonic()
    codes = [_started(calm, tag).wait(LIFE_S)]
    wall_s = time.monotonic() - began
    n_hits = n_orphans = 0
    for _ in range(n_kills):
        n_hits += _hit(_started(killed, tag), killed, rng)
        n_orphans += _orphans(tag)
        _say(f"killed after {_count(killed)} events, {n_orphans} orphans so far")
    codes.append(_started(killed, tag).wait(LIFE_S))
    n_orphans += _orphans(tag)
    [sweep_dir] = _sweep_dirs(calm)
    study, after = (hwt.Study.load(NAME, dir=place / "hwtune") for place in (calm, killed))
    starts = [event for event in study.events() if isinstance(event, SegmentStarted)]
    return {
        "sweep_dirs": max(len(_sweep_dirs(place)) for place in (calm, killed)),
        "trial_dirs": len([path for path in sweep_dir.iterdir() if path.is_dir()]),
        "resumed_segments": sum(event.promoted_from is not None and event.resource > 0 for event in starts),
        "two_rank_segments": sum(segment.world_size == 2 for segment in study.state().segments),
        "solutions": len(yaml.safe_load((sweep_dir / "optimization_results.yaml").read_text())["solutions"]),
        "trials_after_kill": len(after.state().trials),
        "orphans": n_orphans,
        "exit_code": max(codes),
        "kills": n_hits,
        "failed_trials": sum(t.state is TrialState.FAILED for s in (study, after) for t in s.state().trials),
        "wall_s": round(wall_s, 1),
    }


def _started(folder: Path, tag: str) -> subprocess.Popen[bytes]:
    """Starts the one command that begins or continues the sweep."""
    environment = {**os.environ, TAG: tag, "OMP_NUM_THREADS": "1"}
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "train.py", "-m", *OVERRIDES],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _hit(process: subprocess.Popen[bytes], folder: Path, rng: random.Random) -> bool:
    """Kills the sweep at a random moment; returns False if it had ended before."""
    target, deadline = _count(folder) + rng.randrange(1, MOST_EVENTS), time.monotonic() + LIFE_S
    while _count(folder) < target and process.poll() is None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the sweep wrote too little in {LIFE_S:.0f} s")
        time.sleep(0.01)
    time.sleep(rng.uniform(0.0, MOST_JITTER_S))
    process.kill()
    return process.wait() == -signal.SIGKILL


def _count(folder: Path) -> int:
    """Returns the number of events in the study's log."""
    files = StudyFiles(folder / "hwtune", NAME)
    if not files.database_path.exists():
        return 0
    try:
        log = EventLog.open(files, create=False)
    except hwt.HwTuneError:  # not yet complete
        return 0
    try:
        return sum(1 for _ in log.read())
    finally:
        log.close()


def _orphans(tag: str) -> int:
    """Returns how many processes of the sweep are left after a short time, and ends them."""
    deadline = time.monotonic() + ORPHAN_S
    while (alive := _alive(tag)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in alive:
        process.kill()
    return len(alive)


def _alive(tag: str) -> list[Any]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(TAG) == tag and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def _sweep_dirs(folder: Path) -> list[Path]:
    return [path for path in (folder / "logs" / "train" / "multiruns").iterdir() if path.is_dir()]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
