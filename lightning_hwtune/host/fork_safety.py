"""Detects what a fork of this process would lose: threads, and an initialised CUDA."""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final

__all__ = ["ForkState", "is_installed"]

_NAMES = ("stdlib", "platstdlib", "purelib", "platlib")
_RESTARTED = ("jemalloc_bg_thd",)  # jemalloc, which pyarrow contains, restarts its threads after a fork
_PLACES = tuple({f"{sysconfig.get_path(name)}{os.sep}" for name in _NAMES})


def is_installed(origin: str | None) -> bool:
    """Return whether a module's file belongs to an installed library, which is not edited while a study runs."""
    return origin is not None and (origin.startswith(_PLACES) or f"{os.sep}site-packages{os.sep}" in origin)


@final
@dataclass(frozen=True, slots=True)
class ForkState:
    """What a fork of this process would lose.

    Attributes:
        n_python: the number of threads that Python started.
        n_native: the number of all threads, without those that start again after a fork; 0 if unknown.
        n_blas: the number of loaded OpenBLAS libraries. OpenBLAS starts its threads again after a fork.
        uses_cuda: whether torch has initialised CUDA.
    """

    n_python: int
    n_native: int
    n_blas: int
    uses_cuda: bool

    @classmethod
    def now(cls) -> Self:
        """Returns the current state of this process."""
        cuda: Any = getattr(sys.modules.get("torch"), "cuda", None)
        uses_cuda = hasattr(cuda, "is_initialized") and bool(cuda.is_initialized())
        try:
            maps = Path("/proc/self/maps").read_text().splitlines()
            n_native = sum(_is_lost(task) for task in Path("/proc/self/task").iterdir())
        except OSError:  # not on Linux
            return cls(threading.active_count(), 0, 0, uses_cuda)
        n_blas = len({line.split()[-1] for line in maps if "openblas" in line})
        return cls(threading.active_count(), n_native, n_blas, uses_cuda)

    def is_as_safe_as(self, before: ForkState) -> bool:
        """Return whether a fork would lose nothing that was started since `before`."""
        has_threads = self.n_native > before.n_native and self.n_blas == before.n_blas
        return self.n_python <= before.n_python and not has_threads and (before.uses_cuda or not self.uses_cuda)


def _is_lost(task: Path) -> bool:
    """Return whether a fork would lose this thread for good."""
    try:
        return (task / "comm").read_text().strip() not in _RESTARTED
    except OSError:  # the thread has just ended
        return False
