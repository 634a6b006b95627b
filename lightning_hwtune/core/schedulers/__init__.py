"""When a trial goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_hwtune.core.schedulers.asha import ASHA
from lightning_hwtune.core.schedulers.base import Promotion, Scheduler
from lightning_hwtune.core.schedulers.hyperband import Hyperband
from lightning_hwtune.core.schedulers.median_stopping import MedianStopping
from lightning_hwtune.core.schedulers.pasha import PASHA
from lightning_hwtune.core.schedulers.run_to_end import RunToEnd
from lightning_hwtune.core.schedulers.successive_halving import SuccessiveHalving
from lightning_hwtune.errors import ArgumentError, nearest

__all__ = [
    "ASHA",
    "PASHA",
    "SCHEDULERS",
    "Hyperband",
    "MedianStopping",
    "Promotion",
    "RunToEnd",
    "Scheduler",
    "SuccessiveHalving",
    "scheduler_from_settings",
]

SCHEDULERS: Mapping[str, type[Scheduler]] = {
    cls.name: cls for cls in (ASHA, PASHA, SuccessiveHalving, Hyperband, MedianStopping, RunToEnd)
}
"""Name in study files and in the log -> class."""


def scheduler_from_settings(settings: Mapping[str, Any]) -> Scheduler:
    """Returns the scheduler whose `settings()` these are; settings that are left out take their defaults.

    Raises:
        ArgumentError: an unknown name, or a setting that is not allowed.
    """
    name = settings.get("name")
    if not isinstance(name, str) or name not in SCHEDULERS:
        raise ArgumentError("scheduler", name, f"{', '.join(SCHEDULERS)}{nearest(str(name), SCHEDULERS)}")
    return SCHEDULERS[name](**{key: value for key, value in settings.items() if key != "name"})
