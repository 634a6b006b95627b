"""What to do when the system starts no further process: which limit is reached, and how to need fewer processes."""

from __future__ import annotations

import errno
import os
import resource

__all__ = ["why_no_process"]

_FEWER = "train fewer trials at a time (`max_parallel`) or use fewer workers in the data loaders"


def why_no_process(number: int) -> str:
    """Returns why a process could not be started, from the error number, and what to do; settings are in backticks."""
    why = os.strerror(number)
    if number == errno.EAGAIN:
        limit, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        own = "no limit" if limit == resource.RLIM_INFINITY else str(limit)
        return (
            f"{why}. The number of processes and threads is limited: for this user by `ulimit -u` ({own}), or by the "
            f"container or batch job. End other programs, raise the limit, {_FEWER}"
        )
    if number == errno.ENOMEM:
        return f"{why}. End other programs, {_FEWER}"
    return why
