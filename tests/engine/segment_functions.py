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


def counting(trial: Any) -> None:
    """Reports until told otherwise, and resumes."""
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
    """Dies beside a child that Python does not know of and that holds its end of the pipe."""
    import ctypes

    child = ctypes.PyDLL(None).fork()
    if child == 0:
        ctypes.CDLL(None).sleep(600)
    (Path(trial.dir) / "pids").write_text(str(child))
    os.kill(os.getpid(), signal.SIGKILL)


def frozen(trial: Any) -> None:
    """Stops for ever, without ending."""
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


def exiting(trial: Any) -> None:
    sys.exit(3)


def with_children(trial: Any) -> None:
    """Forks a child, as a loader worker is forked; both tell their process ids, and stay."""
    child = os.fork()
    if child == 0:
        Path(trial.config["folder"], "child").write_text(str(os.getpid()))
        time.sleep(600)
    Path(trial.config["folder"], "rank").write_text(str(os.getpid()))
    time.sleep(600)


def printing(trial: Any) -> None:
    print("hello from", "main" if __name__ == "__main__" else "a module")
    print("and to stderr", file=sys.stderr)
    trial.report(1, error=1.0)
