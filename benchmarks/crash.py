"""Does a study survive when its controller is killed again and again?

    python benchmarks/crash.py --kills 20 --seed 0

Runs a small real study (perceptrons on the digits, one or two ranks, ASHA with promotion) in its own process and kills
that process with SIGKILL at seeded random moments: after a number of further events and a fraction of a second. The
same command then continues the study. After the last kill, it runs until the study is finished. Every rank writes each
report that was acknowledged into its own witness file, and waits until the line is on the disk.

Prints one JSON object and exits with 1 if a promise was broken. `figures`:

- kills. trials_asked: trials that were created. trials_final: those that ended, or that wait at a rung with nothing
  left to do.
- failed_trials: trials that failed. The death of a controller is not an error of a trial.
- lost_reports: witnessed reports that are missing in the log. duplicate_reports: those that are in the log twice or
  more.
- decided_twice: rungs at which a trial was decided more than once.
- bad_checkpoints: files that the log lists and that are missing or have another digest, over all kills.
- orphans: processes of the study that were alive 5 seconds after their controller died, over all kills.
- witnessed, interrupted_segments: how much could have been lost. slowest_end_s: how long the last child took to end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import lightning_hwtune as hwt  # noqa: E402 - found from the repository's root
from lightning_hwtune.core.events import Event, Reported, SegmentEnded  # noqa: E402
from lightning_hwtune.core.record import TrialRecord, TrialState  # noqa: E402
from lightning_hwtune.store.files import StudyFiles  # noqa: E402
from lightning_hwtune.store.log import EventLog  # noqa: E402

__all__ = ["decided_twice", "main", "missing_and_repeated", "run_study", "witnessed"]

Line = tuple[int, int, int]
"""Trial, segment, resource: one report."""

NAME = "crash"
TAG = "HWTUNE_CRASH_TAG"  # an environment variable that marks every process of the study
MOST_EVENTS = 30  # between two kills; each session writes five more events
MOST_JITTER_S = 0.3
STARTUP_S = 8.0  # the latest moment of a kill that comes before the first event
RUNGS = (1, 3)  # of ASHA(max_epochs=9), without the last one
TRIALS_PER_KILL = 3  # enough for the study to continue after all kills
ORPHAN_S = 5.0
LIFE_S = 600.0
LOOK_EVERY_S = 0.01


def main() -> None:
    """Runs the study, or the benchmark around it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--study", metavar="FOLDER", help="run or continue the study in this folder, nothing else")
    arguments = parser.parse_args()
    if arguments.study is not None:
        run_study(Path(arguments.study), TRIALS_PER_KILL * arguments.kills, arguments.seed)
        return
    with tempfile.TemporaryDirectory(prefix="hwtune-crash-") as folder:
        figures = _figures(Path(folder), arguments.kills, arguments.seed)
    versions = {"python": platform.python_version(), "lightning_hwtune": hwt.__version__}
    machine = {"platform": platform.platform(), "cores": len(os.sched_getaffinity(0))}
    print(json.dumps({"figures": figures, "machine": machine, "versions": versions, "seeds": [arguments.seed]}))
    broken = ("failed_trials", "lost_reports", "duplicate_reports", "decided_twice", "bad_checkpoints", "orphans")
    n_wanted = TRIALS_PER_KILL * arguments.kills
    is_whole = figures["kills"] == arguments.kills and figures["trials_asked"] == n_wanted == figures["trials_final"]
    sys.exit(0 if is_whole and not any(figures[name] for name in broken) else 1)


# ---------------------------------------------------------------------- the study


def run_study(folder: Path, n_trials: int, seed: int, storage: str | None = None) -> None:
    """Runs or continues the study to its end, with its log in `storage`."""
    space = hwt.SearchSpace(
        lr=hwt.Float(1e-4, 1e-1, log=True), width=hwt.Int(16, 128, log=True), devices=hwt.NumDevices(1, 2)
    )
    study = hwt.Study(
        NAME,
        space,
        [hwt.Metric("val_error", "min"), hwt.TrainSeconds()],
        scheduler=hwt.ASHA(max_epochs=9, first_rung=1),
        pool=hwt.Pool("cpu", devices=2),
        dir=folder,
        storage=storage,
        seed=seed,
    )
    # no check: its reports are answered but not logged, and would be witnessed
    study.run(_train, max_trials=n_trials, check=False, progress=False, preload=("models", "datamodules"))


def _train(trial: hwt.Trial) -> None:
    """Trains a perceptron, with a witness."""
    import lightning as L

    from datamodules import DigitsDataModule
    from models import DigitsMLP

    number = trial.segment
    folder = trial.dir.parent.parent / "witnesses"
    folder.mkdir(exist_ok=True)
    witness = folder / f"{trial.id:03d}_{number:02d}_{os.getpid()}.txt"

    answered: list[int] = []  # not in the callback, whose attributes continue in a resumed segment

    class Witness(L.Callback):
        """Writes a line for each report that was answered: in the next hook, as reports come last in an epoch."""

        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            """Remembers the epoch that is reported next."""
            answered.append(trainer.current_epoch + 1)

        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            """Writes a line, and waits for the disk."""
            if answered:
                with witness.open("a") as file:
                    file.write(f"{trial.id} {number} {answered.pop()}\n")
                    file.flush()
                    os.fsync(file.fileno())

        on_train_end = on_train_epoch_start

    model = DigitsMLP(lr=trial["lr"], width=trial["width"])
    data = DigitsDataModule(batch_size=trial.per_device_batch_size(64))
    trial.fit(model, data, callbacks=[Witness()])


# ---------------------------------------------------------------------- kills


def _figures(folder: Path, n_kills: int, seed: int) -> dict[str, float]:
    """Kills and continues the study; returns the results."""
    rng = random.Random(seed)
    tag = uuid.uuid4().hex
    totals: Counter[str] = Counter(kills=0, bad_checkpoints=0, orphans=0)
    slowest_end_s = 0.0
    for number in range(n_kills + 1):
        is_last = number == n_kills
        process = _continued(folder, n_kills, seed, tag, number)
        if is_last:
            process.wait(LIFE_S)
        else:
            totals["kills"] += _killed(process, folder, rng)
        n_orphans, end_s = _orphans(tag)
        totals["orphans"] += n_orphans
        totals["bad_checkpoints"] += _n_bad_checkpoints(folder)
        slowest_end_s = max(slowest_end_s, end_s)
        _say(f"life {number}: {_count(folder)} events, {n_orphans} orphans, the last child ended after {end_s:.2f} s")
        if is_last and process.returncode != 0:
            raise RuntimeError(f"the study did not finish:\n{_output(folder, number)}")
    study = hwt.Study.load(NAME, dir=folder)
    events, trials = study.events(), study.state().trials
    lines = witnessed(folder)
    lost, repeated = missing_and_repeated(lines, events)
    return {
        "kills": totals["kills"],
        "trials_asked": len(trials),
        "trials_final": sum(trial.state.is_final or _rests(trial) for trial in trials),
        "failed_trials": sum(trial.state is TrialState.FAILED for trial in trials),
        "lost_reports": lost,
        "duplicate_reports": repeated,
        "decided_twice": decided_twice(events),
        "bad_checkpoints": totals["bad_checkpoints"],
        "orphans": totals["orphans"],
        "witnessed": len(lines),
        "interrupted_segments": sum(isinstance(e, SegmentEnded) and e.outcome == "interrupted" for e in events),
        "slowest_end_s": round(slowest_end_s, 3),
    }


def _rests(trial: TrialRecord) -> bool:
    """Return whether a trial waits at a rung for a promotion, even if it was killed between its report and its save."""
    return trial.state is TrialState.PAUSED or (trial.state is TrialState.WAITING and trial.resource in RUNGS)


def _continued(folder: Path, n_kills: int, seed: int, tag: str, number: int) -> subprocess.Popen[bytes]:
    """Starts the one command that begins or continues the study."""
    command = [sys.executable, __file__, "--kills", str(n_kills), "--seed", str(seed), "--study", str(folder)]
    environment = {**os.environ, TAG: tag, "OMP_NUM_THREADS": "1"}
    with (folder / f"life_{number:02d}.txt").open("wb") as output:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)


def _killed(process: subprocess.Popen[bytes], folder: Path, rng: random.Random) -> bool:
    """Kills the controller at a random moment; returns False if it had ended before."""
    n_events = rng.randrange(MOST_EVENTS)
    wait_s = rng.uniform(0.0, MOST_JITTER_S if n_events else STARTUP_S)
    target, deadline = _count(folder) + n_events, time.monotonic() + LIFE_S
    while _count(folder) < target and process.poll() is None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the study wrote no {n_events} events in {LIFE_S:.0f} s")
        time.sleep(LOOK_EVERY_S)
    time.sleep(wait_s)
    is_alive = process.poll() is None
    process.kill()
    process.wait()
    return is_alive and process.returncode == -signal.SIGKILL


def _orphans(tag: str) -> tuple[int, float]:
    """Waits a short time until no process of the study is left; returns how many are left, and the seconds."""
    began = time.monotonic()
    while left := _tagged(tag):
        waited_s = time.monotonic() - began
        if waited_s > ORPHAN_S:
            for process in left:
                _say(f"orphan {process.pid}, child of {process.ppid()}: {' '.join(process.cmdline())[:150]}")
                process.kill()
            return len(left), waited_s
        time.sleep(LOOK_EVERY_S)
    return 0, time.monotonic() - began


def _tagged(tag: str) -> list[psutil.Process]:
    """Returns the living processes that were started with the tag in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(TAG) == tag:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


# ---------------------------------------------------------------------- what the store contains


def missing_and_repeated(witnessed: Sequence[Line], events: Sequence[Event]) -> tuple[int, int]:
    """Returns how many witnessed reports are missing in the log, and how many are in it more than once."""
    logged = Counter((e.trial_id, e.segment, e.resource) for e in events if isinstance(e, Reported))
    return sum(logged[line] == 0 for line in witnessed), sum(logged[line] > 1 for line in witnessed)


def decided_twice(events: Sequence[Event]) -> int:
    """Returns at how many rungs a trial is decided more than once in the log."""
    decided = Counter((e.trial_id, e.level) for e in events if isinstance(e, Reported) and e.level is not None)
    return sum(n > 1 for n in decided.values())


def witnessed(folder: Path) -> list[Line]:
    """Returns the reports in the witness files of the study in this folder."""
    lines: list[Line] = []
    for path in sorted((folder / NAME / "witnesses").glob("*.txt")):
        for line in path.read_text().splitlines():
            trial_id, segment, resource = map(int, line.split())
            lines.append((trial_id, segment, resource))
    return lines


def _count(folder: Path) -> int:
    """Returns how many events the log has; 0 before it exists."""
    try:
        with EventLog.open(StudyFiles(folder, NAME), create=False) as log:
            return log.count()
    except hwt.StudyNotFoundError:
        return 0


def _n_bad_checkpoints(folder: Path) -> int:
    """Returns how many checkpoints are missing or differ from the record in the log."""
    if _count(folder) == 0:
        return 0
    files, n_bad = StudyFiles(folder, NAME), 0
    for trial in hwt.Study.load(NAME, dir=folder).state().trials:
        if trial.checkpoint is not None:
            try:
                files.verify(trial.checkpoint)
            except hwt.CheckpointError:
                n_bad += 1
    return n_bad


def _output(folder: Path, number: int) -> str:
    return (folder / f"life_{number:02d}.txt").read_text(errors="replace")[-4000:]


def _say(line: Any) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
