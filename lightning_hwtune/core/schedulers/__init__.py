"""When a trial goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_hwtune.core.schedulers.asha import ASHA
from lightning_hwtune.core.schedulers.base import Promotion, Scheduler, SchedulerState
from lightning_hwtune.core.schedulers.run_to_end import RunToEnd
from lightning_hwtune.errors import ArgumentError, nearest

__all__ = ["ASHA", "SCHEDULERS", "Promotion", "RunToEnd", "Scheduler", "SchedulerState", "scheduler_from_settings"]

SCHEDULERS: Mapping[str, type[ASHA] | type[RunToEnd]] = {cls.name: cls for cls in (ASHA, RunToEnd)}
"""Name in the log and in study files -> class."""


def scheduler_from_settings(settings: Mapping[str, Any]) -> Scheduler:
    """Returns the scheduler that `Scheduler.settings` described.

    Raises:
        ArgumentError: an unknown name.
    """
    name = settings.get("name")
    if name not in SCHEDULERS:
        raise ArgumentError("scheduler", name, f"one of {sorted(SCHEDULERS)}{nearest(str(name), SCHEDULERS)}")
    return SCHEDULERS[str(name)](**{key: value for key, value in settings.items() if key != "name"})
