"""Training functions for the executors' tests: importable, so that rank processes find them by name."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def join_group() -> None:
    import torch.distributed

    torch.distributed.init_process_group("gloo")


def chosen(trial: Any) -> None:
    """Is the function that the configuration names."""
    globals()[trial.config["function"]](trial)


def counting(trial: Any) -> None:
    """Reports until a verdict ends it, and resumes."""
    begun = trial.load() or 0
    for epoch in range(begun + 1, trial.max_epochs + 1):
        time.sleep(trial.config.get("epoch_s", 0.0))
        if trial.report(epoch, error=1.0 / epoch).kind != "continue":
            trial.save(epoch)
            return


def killed(trial: Any) -> None:
    """Rank 1 dies by SIGKILL while rank 0 waits for it."""
    import torch
    import torch.distributed

    join_group()
    trial.report(1, error=1.0)
    if rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    torch.distributed.all_reduce(torch.ones(1))


def killed_beside_an_untied_child(trial: Any) -> None:
    """Dies and leaves a child that Python does not know and that keeps its end of the pipe open."""
    import ctypes

    child = ctypes.PyDLL(None).fork()
    if child == 0:
        ctypes.CDLL(None).sleep(600)
    (Path(trial.dir) / "pids").write_text(str(child))
    os.kill(os.getpid(), signal.SIGKILL)


def frozen(trial: Any) -> None:
    """Stops permanently, without ending."""
    trial.report(1, error=1.0)
    os.kill(os.getpid(), signal.SIGSTOP)


def idle(trial: Any) -> None:
    """Lives, but gets nowhere."""
    time.sleep(600)


def failing_on_rank_1(trial: Any) -> None:
    """Rank 1 raises while rank 0 waits for it."""
    import torch
    import torch.distributed

    join_group()
    if rank() == 1:
        raise ValueError("the root cause")
    torch.distributed.all_reduce(torch.ones(1))


def out_of_memory(trial: Any) -> None:
    import torch

    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def raising(trial: Any) -> None:
    raise ValueError("cannot read " + trial.config["text"] + " for this reason")


def exiting(trial: Any) -> None:
    sys.exit(3)


def with_children(trial: Any) -> None:
    """Forks a child, as a loader worker is forked; both write their process ids, and stay."""
    child = os.fork()
    if child == 0:
        Path(trial.config["folder"], "child").write_text(str(os.getpid()))
        time.sleep(600)
    Path(trial.config["folder"], "rank").write_text(str(os.getpid()))
    time.sleep(600)


STARTED = 5  # processes that `start_processes` starts


def start_processes(folder: Path) -> None:
    """Starts processes as libraries do, from the tamest to the most independent; notes their ids."""
    import subprocess

    def note(pid: int) -> None:
        with (folder / "pids").open("a") as file:
            file.write(f"{pid}\n")

    note(subprocess.Popen(["sleep", "600"]).pid)
    note(subprocess.Popen(["sleep", "600"], start_new_session=True, env={}).pid)
    note(subprocess.Popen(["sh", "-c", "trap '' TERM INT HUP; while true; do sleep 600; done"]).pid)
    note(os.getpid())
    if os.fork() == 0:  # a daemon
        os.setsid()
        if os.fork() == 0:
            note(os.getpid())
            subprocess.run(["sleep", "600"])
        os._exit(0)
    while len((folder / "pids").read_text().split()) < STARTED:
        time.sleep(0.01)


def starting_processes(trial: Any) -> None:
    """Starts processes, and ends in the way that the configuration says."""
    start_processes(Path(trial.dir))
    how = trial.config["how"]
    if how == "raises":
        raise ValueError("a bug")
    if how == "aborts":
        os.abort()
    if how == "hangs":
        time.sleep(600)
    trial.report(trial.max_epochs, error=1.0)


def stopped_in_a_message(trial: Any) -> None:
    """Stops permanently when it has sent the first bytes of a message."""
    send_raw(b"\x00\x00\x10\x00" + b"x" * 500)
    os.kill(os.getpid(), signal.SIGSTOP)


def announcing_too_much(trial: Any) -> None:
    """Announces a message of 4 GB."""
    send_raw(b"\xff\xff\xff\xff")
    time.sleep(600)


def babbling(trial: Any) -> None:
    """Sends data that is not a message."""
    send_raw(b"\x00\x00\x00\x05hello")
    time.sleep(600)


def send_raw(data: bytes) -> None:
    from lightning_hwtune.training.context import current_segment

    segment = current_segment()
    assert segment is not None
    channel: Any = segment.channel
    with channel._lock:
        channel._end.sendall(data)


def listening(trial: Any) -> None:
    """Notes on which addresses the ranks of a group listen."""
    import psutil

    join_group()
    listening = [c.laddr.ip for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN]
    (Path(trial.dir) / f"listening_{rank()}").write_text(" ".join(listening))
    trial.report(trial.max_epochs, error=1.0)


def with_loader_workers(trial: Any) -> None:
    """Loads a batch through a worker process, which sends it over a socket in a temporary folder."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    (batch,) = next(iter(DataLoader(TensorDataset(torch.ones(2, 3)), batch_size=2, num_workers=1)))
    trial.report(trial.max_epochs, error=float(batch.sum()))


def printing(trial: Any) -> None:
    print("hello from", "main" if __name__ == "__main__" else "a module")
    print("and to stderr", file=sys.stderr)
    trial.report(1, error=1.0)
