"""What an import may change for the whole process, so that it must not be done before the segments are forked."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["changed_variables", "global_state"]

_OWN = ("PL_", "TORCHELASTIC_", "PYTEST_")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


def global_state() -> dict[str, Any]:
    """Returns the random streams, settings and handlers of this process, as far as their modules are loaded."""
    states: dict[str, Any] = {
        "python": random.getstate(),
        "limits": (sys.getrecursionlimit(), sys.getswitchinterval()),
        "folder": _folder(),
        "handlers": [signal.getsignal(number) for number in _SIGNALS],
        "start method": multiprocessing.get_start_method(allow_none=True),
    }
    if "numpy.random" in sys.modules:
        kind, keys, *rest = sys.modules["numpy.random"].get_state(legacy=True)
        states["numpy"] = (kind, keys.tobytes(), *rest)
        states["numpy errors"] = sys.modules["numpy"].geterr()
    torch: Any = sys.modules.get("torch")
    if hasattr(torch, "get_rng_state"):
        states["torch"] = torch.get_rng_state().numpy().tobytes()
        states["torch settings"] = (
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
        )
    return states


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return ""


def changed_variables(before: Mapping[str, str]) -> set[str]:
    """Returns the names of the environment variables that differ from earlier ones, without those of a rank."""
    now = dict(os.environ)
    names = {name for name in {*before, *now} if before.get(name) != now.get(name)}
    return {name for name in names if not name.startswith(_OWN)}
