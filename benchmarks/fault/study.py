"""A small real study in its own process, with a training function that causes the given fault.

    python -m benchmarks.fault.study FOLDER '{"fault": "abort"}'

Options: `name`, `storage`, `trials`, `devices`, `preload`; `fault`: what trial 1 does once, after its first report;
`starts`: every trial starts processes that keep running; `in_thread`; `clock_ahead_s`; `start_s`: limit for the fork
server.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import lightning_hwtune as hwt
from lightning_hwtune.engine.local import LocalExecutor
from lightning_hwtune.training.context import current_segment

__all__ = ["EPOCHS", "NAME", "main"]

NAME, EPOCHS = "faults", 3
_EPOCH_S = 0.1


def main() -> None:
    """Runs or continues the study; if it is refused or fails, ends with status 3 and one line."""
    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    if "clock_ahead_s" in options:
        now, ahead_s = time.time, options["clock_ahead_s"]
        time.time = lambda: now() + ahead_s
    if "start_s" in options:
        defaults: Any = LocalExecutor.__init__.__kwdefaults__
        defaults["start_s"] = options["start_s"]
    if options.get("in_thread"):
        thread = threading.Thread(target=_run, args=(folder, options))
        thread.start()
        thread.join()
    else:
        _run(folder, options)


def _run(folder: Path, options: dict[str, Any]) -> None:
    try:
        study = hwt.Study(
            options.get("name", NAME),
            hwt.SearchSpace(x=hwt.Float(0.0, 1.0), devices=hwt.NumDevices(options.get("devices", 1))),
            [hwt.Metric("error", "min")],
            scheduler=hwt.RunToEnd(max_epochs=EPOCHS),
            pool=hwt.Pool("cpu", devices=2),
            dir=folder,
            storage=options.get("storage"),
        )

        def train(trial: hwt.Trial) -> None:
            _train(trial, options)

        study.run(
            train,
            max_trials=options.get("trials", 4),
            check=options.get("check", False),
            preload=options.get("preload", ()),
        )
    except hwt.HwTuneError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        sys.exit(3)


def _train(trial: hwt.Trial, options: dict[str, Any]) -> None:
    study_dir = trial.dir.parent.parent
    if options.get("starts"):
        _start_processes(study_dir)
    if options.get("loader"):
        _load()
    if trial.num_devices > 1:
        import torch.distributed

        torch.distributed.init_process_group("gloo")
    done = trial.load() or 0
    for epoch in range(done + 1, EPOCHS + 1):
        time.sleep(_EPOCH_S)
        verdict = trial.report(epoch, error=trial["x"] / epoch)
        _witness(study_dir, trial, epoch)
        if trial.id == 1 and options.get("fault"):
            _once(study_dir / f"did_{options['fault']}", options["fault"])
        if verdict.kind != "continue":
            break
    trial.save(epoch)


def _witness(study_dir: Path, trial: hwt.Trial, epoch: int) -> None:
    """Writes a report that was answered to the disk."""
    if os.environ.get("RANK", "0") == "0":
        (study_dir / "witnesses").mkdir(exist_ok=True)
        with (study_dir / "witnesses" / f"{trial.id:03d}_{trial.segment:02d}.txt").open("a") as file:
            file.write(f"{trial.id} {trial.segment} {epoch}\n")
            file.flush()
            os.fsync(file.fileno())


def _once(mark: Path, fault: str) -> None:
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return
    if fault in _SIGNALS:
        os.kill(os.getpid(), _SIGNALS[fault])
        time.sleep(600)
    elif fault in _TEXTS:
        raise ValueError(_TEXTS[fault] * (20_000_000 if fault == "long_text" else 1))
    elif fault == "stop_in_message":
        _send_raw(b"\x00\x00\x10\x00" + b"x" * 500)
        os.kill(os.getpid(), signal.SIGSTOP)
    elif fault == "long_message":
        _send_raw(b"\xff\xff\xff\xff")
        time.sleep(600)
    elif fault == "exit":
        os._exit(3)


_SIGNALS = {"abort": signal.SIGABRT, "kill": signal.SIGKILL, "stop": signal.SIGSTOP, "terminate": signal.SIGTERM}
_TEXTS = {
    "raise": "a bug",
    "surrogate": "cannot read " + os.fsdecode(b"data_\xff.csv"),
    "controls": "\x00 \x1b[2J \x07",
    "long_text": "x",
}


def _send_raw(data: bytes) -> None:
    segment = current_segment()
    assert segment is not None
    end: Any = vars(segment.channel)["_end"]
    end.sendall(data)


def _start_processes(study_dir: Path) -> None:
    """Starts processes as libraries do, from ordinary children to independent daemons."""

    def note(pid: int) -> None:
        with (study_dir / "pids").open("a") as file:
            file.write(f"{pid}\n")

    note(subprocess.Popen(["sleep", "600"]).pid)
    note(subprocess.Popen(["sleep", "600"], start_new_session=True, env={}).pid)
    note(subprocess.Popen(["sh", "-c", "trap '' TERM INT HUP; while true; do sleep 600; done"]).pid)
    if os.fork() == 0:  # a daemon
        os.setsid()
        if os.fork() == 0:
            note(os.getpid())
            time.sleep(600)
        os._exit(0)


def _load() -> None:
    """Loads a batch through a worker process, which passes it through a socket."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    next(iter(DataLoader(TensorDataset(torch.ones(2, 3)), batch_size=2, num_workers=1)))


if __name__ == "__main__":
    main()
