"""A process that the fork server has forked: a rank, or a spare that waits until it becomes one."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

__all__ = ["run_process", "run_rank_of", "run_spare_of"]

_MAX_DESCRIPTORS = 2  # of the channel and, for rank 0 of several, of its listening socket


def run_process(work: Callable[[], None]) -> NoReturn:
    """Does the work of this process, then ends it."""
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        _leave_python()
        os._exit(code)


def run_rank_of(server: int, channel: int, listener: int | None) -> None:
    """Runs a rank in this process, which the server has just forked.

    Args:
        server: process id of the server.
        channel: descriptor of the channel to the engine.
        listener: descriptor of the socket on which rank 0 of several ranks hosts the group's store.
    """
    from lightning_hwtune.training.process.connection import PipeChannel
    from lightning_hwtune.training.process.rank_main import become_independent, run_rank

    become_independent(server)
    run_rank(PipeChannel(socket.socket(fileno=channel)), listener)


def run_spare_of(server: int, end: socket.socket) -> None:
    """Prepares this process, waits for the descriptors of a rank, and runs that rank; returns if the server ends first.

    Until then it has no data of any segment. Arguments, environment, working folder, seed and log file are part of
    the order, as for every rank.

    Args:
        end: the spare's end of a socket pair with the server.
    """
    from lightning_hwtune.training.import_times import count_age_from_now
    from lightning_hwtune.training.process.connection import PipeChannel
    from lightning_hwtune.training.process.rank_main import become_independent, run_rank

    become_independent(server)
    data, descriptors, _, _ = socket.recv_fds(end, 1, _MAX_DESCRIPTORS)
    end.close()
    if data:
        count_age_from_now()
        channel, *listener = descriptors
        run_rank(PipeChannel(socket.socket(fileno=channel)), listener[0] if listener else None)


def _leave_python() -> None:
    """Waits for threads and children and deletes temporary files, like a process of multiprocessing at its end.

    The interpreter's own shutdown is skipped, because it takes seconds with torch loaded.
    """
    import threading
    from multiprocessing import util

    with contextlib.suppress(BaseException):
        vars(threading)["_shutdown"]()
        vars(util)["_exit_function"]()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
