"""Ends a launcher's job with the sweep that ordered it: nothing else could stop it, and its trial continues elsewhere.

The sweep withdraws its orders when it ends. A killed sweep cannot do this. Then jobs on the same host detect that its
process is gone, and jobs on other hosts train on until the next run of the sweep finds their orders. A job that ends
this way also ends the programs that it has started. A worker that a launcher keeps for further jobs ends with the
sweep, too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self, final

from lightning_hwtune.apps.hydra.leftover_programs import end_programs_of
from lightning_hwtune.host.periodic_thread import repeated
from lightning_hwtune.host.process_identity import birth_of, is_alive

__all__ = ["SweepProcess"]

_LOOK_S = 1.0
_followed: set[SweepProcess] = set()


@final
@dataclass(frozen=True, slots=True)
class SweepProcess:
    """The process that ordered a job. `birth` distinguishes it from other processes with the same number."""

    pid: int
    birth: str

    @classmethod
    def this(cls) -> Self:
        """Returns this process."""
        return cls(os.getpid(), birth_of(os.getpid()))

    def wants(self, order: Path) -> bool:
        """Return whether the sweep still waits for the job of this order, as far as can be seen from here."""
        return order.exists() and is_alive(self.pid, self.birth) is not False

    @contextlib.contextmanager
    def watched(self, order: Path) -> Iterator[None]:
        """Kills this process within a second after the sweep has stopped waiting for it.

        Raises:
            ConnectionError: the sweep has already stopped waiting.
        """
        is_kept = os.getppid() == self.pid  # a joblib worker, which trains other trials later
        if is_kept:
            self._follow(order.parent)
        if is_alive(self.pid, self.birth) is False:  # joblib workers outlive the sweep by minutes
            _end_this_process(order.parent)
        if not self.wants(order):
            raise ConnectionError(f"the sweep that ordered this segment has ended, or has withdrawn {order.name}")
        if self.pid == os.getpid():  # the launcher runs jobs in the sweep's own process
            yield
            return

        def look() -> None:
            if not self.wants(order):
                _end_this_process(order)

        try:
            with repeated(look, _LOOK_S, "hwtune-wanted"):
                yield
        finally:
            if not is_kept:  # a process for this job alone, as with submitit
                end_programs_of(order)

    def _follow(self, orders: Path) -> None:
        """Makes this child process end with the sweep, even between jobs, since launchers keep workers for minutes."""

        def end_after_sweep() -> None:
            while is_alive(self.pid, self.birth) is not False:
                time.sleep(_LOOK_S)
            _end_this_process(orders)

        if self not in _followed:
            _followed.add(self)
            threading.Thread(target=end_after_sweep, name="hwtune-sweep", daemon=True).start()


def _end_this_process(orders: Path) -> None:
    end_programs_of(orders)
    os.kill(os.getpid(), signal.SIGKILL)
