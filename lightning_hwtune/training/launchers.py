"""Strategies that start processes, such as `ddp_spawn` and `ddp_notebook`, inside a segment.

A segment already has one process per rank. Processes started by such a strategy would not have the segment, and would
wait for ranks that do not exist. So in a segment Lightning's launchers run the fit in the current process, and the
strategy behaves like plain `ddp`. Only launchers of imported packages are changed, and only during a segment.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lightning_hwtune.errors import ArgumentError

if TYPE_CHECKING:
    from lightning_hwtune.training.context import ActiveSegment

__all__ = ["give_back_launchers", "take_launchers"]

_TREES = ("lightning.pytorch", "pytorch_lightning", "lightning.fabric", "lightning_fabric")
_LAUNCHERS = {"multiprocessing": "_MultiProcessingLauncher", "subprocess_script": "_SubprocessScriptLauncher"}
_taken: dict[type, Any] = {}  # class -> its original `launch`


def take_launchers(segment: ActiveSegment) -> None:
    """Makes the launchers that are imported so far work in this segment; call it again for those imported later."""
    for tree in _TREES:
        for module, name in _LAUNCHERS.items():
            launcher = getattr(sys.modules.get(f"{tree}.strategies.launchers.{module}"), name, None)
            if launcher is not None and launcher not in _taken:
                _taken[launcher] = launcher.launch
                launcher.launch = _launch_in(segment, launcher.launch, starts_all=module == "multiprocessing")


def give_back_launchers() -> None:
    """Restores the launchers."""
    while _taken:
        launcher, launch = _taken.popitem()
        launcher.launch = launch  # type: ignore[attr-defined]


def _launch_in(segment: ActiveSegment, launch: Callable[..., Any], *, starts_all: bool) -> Callable[..., Any]:
    """Returns a `launch` that starts no process.

    Args:
        launch: the launcher's original method.
        starts_all: whether the launcher starts a process for every rank; otherwise for every rank except the first.
    """

    @functools.wraps(launch)
    def launch_here(self: Any, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        strategy = getattr(self, "_strategy", None) or getattr(trainer, "strategy", None)
        n_processes = getattr(strategy, "num_processes", None) or getattr(self, "num_processes", 1)
        if n_processes != segment.order.local_devices:
            raise ArgumentError(
                "devices", n_processes, f"{segment.order.local_devices}, the number of devices of this segment",
                hint=segment.hints.devices,
            )  # fmt: skip
        if starts_all:
            written = _written(strategy, trainer)
            text = f"strategy {written} acts like plain ddp in a study, which already starts one process per rank"
            segment.note(text, once_per="study", topic="launcher")
            return function(*args, **kwargs)
        passed = {} if trainer is None else {"trainer": trainer}
        return launch(self, function, *args, **passed, **kwargs)

    return launch_here


def _written(strategy: Any, trainer: Any) -> str:
    """Return a strategy as the user wrote it: its name, or the class with its start method."""
    given = getattr(getattr(trainer, "_accelerator_connector", None), "_strategy_flag", None)
    if isinstance(given, str):
        return repr(given)
    method = getattr(strategy, "_start_method", None)
    return type(strategy).__name__ if method is None else f"{type(strategy).__name__}(start_method={method!r})"
