"""Starts the imports of a study before the study is described, so that they overlap with those of the script."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import sys

from lightning_hwtune.engine.fork_server import fork_server
from lightning_hwtune.errors import TrialError

__all__ = ["warm_up"]

_RANK_VARIABLES = ("RANK", "LOCAL_RANK")


def warm_up() -> None:
    """Starts importing torch and Lightning in the background, in the process from which trials are forked.

    Call it above the imports of a script that runs a study. The script's own imports then take place at the same time,
    and the first trial starts sooner. The background process ends with the script. A second call does nothing. Nor does
    a call in a trial, in a rank of a distributed training, in a process of `multiprocessing`, or where processes cannot
    be forked. Set environment variables that torch reads when it is imported before the call.
    """
    if _is_useful():
        with contextlib.suppress(TrialError):  # `Study.run` raises it again
            fork_server().warm_up()


def _is_useful() -> bool:
    if not hasattr(os, "fork") or not hasattr(socket, "send_fds"):
        return False
    if multiprocessing.parent_process() is not None or any(name in os.environ for name in _RANK_VARIABLES):
        return False
    context = sys.modules.get("lightning_hwtune.training.context")  # without it, this process has no segment
    return context is None or context.current_segment() is None
