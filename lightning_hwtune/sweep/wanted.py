"""A launcher's job ends with the sweep that ordered it: nobody else could stop it, and its trial goes on elsewhere.

The sweep takes its orders back when it ends. One that was killed cannot: jobs of the same host then miss its process,
jobs of other hosts train on until the next run of the sweep finds their orders.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self, final

from lightning_hwtune.store.process import birth_of, is_alive
from lightning_hwtune.training.repeated import repeated

__all__ = ["SweepProcess"]

_LOOK_S = 1.0


@final
@dataclass(frozen=True, slots=True)
class SweepProcess:
    """Which process ordered a job. `birth`: tells it from others of the same number."""

    pid: int
    birth: str

    @classmethod
    def this(cls) -> Self:
        """Returns this process."""
        return cls(os.getpid(), birth_of(os.getpid()))

    def wants(self, order: Path) -> bool:
        """Tells whether the sweep still waits for the job of this order, as far as can be seen from here."""
        return order.exists() and is_alive(self.pid, self.birth) is not False

    @contextlib.contextmanager
    def watched(self, order: Path) -> Iterator[None]:
        """Kills this process within a second after the sweep has stopped waiting for it.

        Raises:
            ConnectionError: it does not wait any more already.
        """
        if not self.wants(order):
            raise ConnectionError(f"the sweep that ordered this segment has ended, or took {order.name} back")
        if self.pid == os.getpid():  # a launcher that runs jobs in the sweep's own process
            yield
            return

        def look() -> None:
            if not self.wants(order):
                os.kill(os.getpid(), signal.SIGKILL)

        with repeated(look, _LOOK_S, "hwtune-wanted"):
            yield
