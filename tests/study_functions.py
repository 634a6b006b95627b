"""Training functions for the tests of whole studies: importable and light, so that rank processes find them by name.

They train by a formula, report through `trial.report`, and write what they did into files of the study's folder.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_WAIT_S = 120.0


def study_dir(trial: Any) -> Path:
    return Path(trial.dir).parents[1]


def leave(trial: Any, name: str, text: object = "") -> None:
    """Appends a line to a file in the study's folder; on the disk when this returns."""
    with (study_dir(trial) / name).open("a") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.02)


def error_of(trial: Any, epoch: int) -> float:
    return abs(trial["x"] - 0.3) + 1 / epoch


def epochs(trial: Any) -> Iterator[int]:
    """Yields each epoch that is to be trained, and leaves "trial epoch" in the file `epochs`."""
    for epoch in range((trial.load() or 0) + 1, trial.max_epochs + 1):
        leave(trial, "epochs", f"{trial.id} {epoch}")
        yield epoch


def report(trial: Any, epoch: int, error: float | None = None) -> bool:
    """Reports and saves where a segment ends; returns whether to continue."""
    verdict = trial.report(epoch, error=error_of(trial, epoch) if error is None else error)
    if verdict.kind != "continue":
        trial.save(epoch)
    return bool(verdict.kind == "continue")


def plain(trial: Any) -> None:
    """Trains until the verdict is pause or stop, and resumes."""
    for epoch in epochs(trial):
        if not report(trial, epoch):
            return


def slow(trial: Any) -> None:
    """The same, a twentieth of a second an epoch."""
    for epoch in epochs(trial):
        time.sleep(0.05)
        if not report(trial, epoch):
            return


def held(trial: Any) -> None:
    """Reports its first epoch and then waits for the file `release` before each further one."""
    for epoch in epochs(trial):
        if epoch > 1:
            leave(trial, "held", os.getpid())
            wait_for(study_dir(trial) / "release")
        if not report(trial, epoch):
            return


def interrupting(trial: Any) -> None:
    """Its fourth epoch signals the study's process, whose id and signal are in the environment; slow until then."""
    for epoch in epochs(trial):
        if epoch == 4 and not (study_dir(trial) / "signalled").exists():
            leave(trial, "signalled")
            os.kill(int(os.environ["STUDY_PID"]), int(os.environ["STUDY_SIGNAL"]))
        time.sleep(0 if (study_dir(trial) / "release").exists() else 0.05)
        if not report(trial, epoch):
            return


def interrupting_after_the_end(trial: Any) -> None:
    """Signals the study's process once it is fully trained and saved, and then has other work for a while."""
    for epoch in epochs(trial):
        if not report(trial, epoch):
            leave(trial, "trained")
            os.kill(int(os.environ["STUDY_PID"]), int(os.environ["STUDY_SIGNAL"]))
            time.sleep(30)


def diverging(trial: Any) -> None:
    """NaN in one half of the space, infinity in a quarter."""
    for epoch in epochs(trial):
        error = math.nan if trial["x"] > 0.5 else math.inf if trial["x"] < 0.1 else None
        if not report(trial, epoch, error):
            return


def broken(trial: Any) -> None:
    """Raises before its first report, unless the file `fixed` is there."""
    if not (study_dir(trial) / "fixed").exists():
        raise ValueError("a bug in the model")
    plain(trial)


def breaking_late(trial: Any) -> None:
    """Trial 1 raises in its second epoch, always."""
    for epoch in epochs(trial):
        if trial.id == 1 and epoch == 2:
            raise ValueError("a bug in epoch 2")
        if not report(trial, epoch):
            return


def breaking_all_but_first(trial: Any) -> None:
    """Every trial but the first raises."""
    if trial.id > 0:
        raise ValueError("a bug in every further trial")
    plain(trial)


def breaking_once(trial: Any) -> None:
    """Trial 1 raises the first time it comes to epoch 4."""
    for epoch in epochs(trial):
        if trial.id == 1 and epoch == 4 and not (trial.dir / "broken").exists():
            (trial.dir / "broken").touch()
            raise ValueError("a bug that does not come back")
        if not report(trial, epoch):
            return


def out_of_memory_on_one(trial: Any) -> None:
    """Needs two devices."""
    import torch

    if trial.num_devices == 1:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
    plain_on_ranks(trial)


def out_of_memory_from(trial: Any) -> None:
    """Large configurations fit nowhere."""
    if trial["x"] > 0.5:
        raise MemoryError("unable to allocate 1.00 TiB")
    plain_on_ranks(trial)


def plain_on_ranks(trial: Any) -> None:
    """`plain` on any number of ranks, which form a real process group."""
    import torch.distributed

    if trial.num_devices > 1:
        torch.distributed.init_process_group("gloo")
        leave(trial, "world_sizes", torch.distributed.get_world_size())
    for epoch in range((trial.load() or 0) + 1, trial.max_epochs + 1):
        if not report(trial, epoch):
            return


def frozen_once(trial: Any) -> None:
    """Trial 0 stops permanently when it first reaches epoch 2."""
    for epoch in epochs(trial):
        if trial.id == 0 and epoch == 2 and not (trial.dir / "frozen").exists():
            (trial.dir / "frozen").touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        if not report(trial, epoch):
            return


def filling_the_disk(trial: Any) -> None:
    """Trial 0 cannot write more than a few bytes when it saves its second checkpoint, the first time it tries."""
    for epoch in epochs(trial):
        verdict = trial.report(epoch, error=error_of(trial, epoch))
        if verdict.kind == "continue":
            continue
        if trial.id == 0 and epoch > 1 and not (trial.dir / "full").exists():
            (trial.dir / "full").touch()
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
        trial.save(epoch)
        return


def filling_the_logs_disk(trial: Any) -> None:
    """Leaves no byte free on the study's disk, once, and reports on."""
    for epoch in range((trial.load() or 0) + 1, trial.max_epochs + 1):
        if epoch == 2 and not (study_dir(trial) / "filler").exists():
            with (study_dir(trial) / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
        if not report(trial, epoch):
            return


def heavy(trial: Any) -> None:
    """`plain` with checkpoints of about 100 kB."""
    begun = trial.load()
    for epoch in range((begun[0] if begun else 0) + 1, trial.max_epochs + 1):
        leave(trial, "epochs", f"{trial.id} {epoch}")
        if trial.report(epoch, error=error_of(trial, epoch)).kind != "continue":
            trial.save((epoch, os.urandom(100_000)))
            return


def bulky(trial: Any) -> None:
    """`plain` with checkpoints of 3 MB."""
    begun = trial.load()
    for epoch in range((begun[0] if begun else 0) + 1, trial.max_epochs + 1):
        if trial.report(epoch, error=error_of(trial, epoch)).kind != "continue":
            trial.save((epoch, os.urandom(3_000_000)))
            return


def misnaming(trial: Any) -> None:
    trial.report(1, val_eror=0.1, loss=0.2)


def silent(trial: Any) -> None:
    """Never reports."""


def witnessing(trial: Any) -> None:
    """Writes down, fsynced, each report that was acknowledged to it."""
    for epoch in epochs(trial):
        time.sleep(0.02)
        verdict = trial.report(epoch, error=error_of(trial, epoch))
        leave(trial, "witness", f"{trial.id} {epoch} {verdict.kind}")
        if verdict.kind != "continue":
            trial.save(epoch)
            return


def seeded(trial: Any) -> None:
    """Trains until the verdict is pause or stop, with values that depend on the seed."""
    for epoch in epochs(trial):
        if not report(trial, epoch, error_of(trial, epoch) + trial.seed % 1000 / 1e5):
            return
