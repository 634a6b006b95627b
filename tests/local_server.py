"""Programs that serve on a free port of this host, as long as a test needs them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

__all__ = ["free_port", "serving"]

_END_S = 30


def free_port() -> int:
    """A port of this host that nothing uses at the moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def serving(
    command: Sequence[str],
    output: Path,
    is_up: Callable[[], bool],
    limit_s: float,
    environ: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Runs a program; waits until it is up, and ends it.

    Args:
        output: a file for what it prints.
        environ: variables in addition to those of this process.
    """
    with output.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(environ or {})})
    try:
        deadline = time.monotonic() + limit_s
        while not is_up():
            is_late = process.poll() is not None or time.monotonic() > deadline
            assert not is_late, output.read_text()
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(_END_S)
