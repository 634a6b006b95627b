"""Schedulers: the rules that decide when a trial is paused, promoted or stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from lightning_hwtune.core.schedulers.asha import ASHA
from lightning_hwtune.core.schedulers.base import Promotion, Race, RungScheduler, Scheduler
from lightning_hwtune.core.schedulers.hyperband import Hyperband
from lightning_hwtune.core.schedulers.median_stopping import MedianStopping
from lightning_hwtune.core.schedulers.pasha import PASHA
from lightning_hwtune.core.schedulers.run_to_end import RunToEnd
from lightning_hwtune.core.schedulers.successive_halving import SuccessiveHalving
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.plugins import Registry

__all__ = [
    "ASHA",
    "PASHA",
    "SCHEDULERS",
    "SCHEDULER_REGISTRY",
    "Hyperband",
    "MedianStopping",
    "Promotion",
    "Race",
    "RunToEnd",
    "RungScheduler",
    "Scheduler",
    "SuccessiveHalving",
    "call_text",
    "scheduler_from_settings",
    "scheduler_or_horizon",
    "with_horizon",
]

_HORIZONS = ("max_epochs", "max_steps", "max_samples")
SCHEDULERS: Mapping[str, type[Scheduler]] = {
    cls.name: cls for cls in (ASHA, PASHA, SuccessiveHalving, Hyperband, MedianStopping, RunToEnd)
}
"""Name in study files and in the log -> scheduler class."""

SCHEDULER_REGISTRY = Registry[Scheduler]("scheduler", "hwtune.schedulers", Scheduler, SCHEDULERS)
"""The classes above, those of installed entry points, and any class with an import path."""


def scheduler_from_settings(settings: Mapping[str, Any]) -> Scheduler:
    """Returns the scheduler with these `settings()`; missing settings take their defaults.

    Raises:
        ArgumentError: the name is unknown, or a setting is not allowed.
    """
    return SCHEDULER_REGISTRY.rebuilt(settings)


def call_text(settings: Mapping[str, Any]) -> str:
    """Returns the shortest call that creates a scheduler with these settings: without defaults, and what follows."""
    name, cls = settings["name"], SCHEDULER_REGISTRY.find(settings["name"])
    horizon = {key: settings[key] for key in _HORIZONS if settings.get(key) is not None}
    defaults = {**cls(**horizon).settings(), "name": name}
    given = horizon | {key: value for key, value in settings.items() if value != defaults.get(key)}
    whole = cls(**given).settings()
    for key in [key for key in given if key not in horizon]:
        fewer = {other: value for other, value in given.items() if other != key}
        with contextlib.suppress(ArgumentError):  # some settings need another one
            if cls(**fewer).settings() == whole:  # a given first rung implies eta and brackets, for example
                given = fewer
    return f"{cls.__name__}({', '.join(f'{key}={value!r}' for key, value in given.items())})"


def with_horizon(
    described: str | Mapping[str, Any], horizon: Mapping[str, int | None]
) -> tuple[Mapping[str, Any], dict[str, int | None]]:
    """Returns a scheduler's name and options with the full training that was given next to them, and what is left.

    Nothing is taken over if the options have their own full training.
    """
    options = {"name": described} if isinstance(described, str) else described
    if any(name in options for name in _HORIZONS):
        return options, dict(horizon)
    return {**options, **{name: value for name, value in horizon.items() if value is not None}}, {}


def scheduler_or_horizon(scheduler: Scheduler | None, horizon: Mapping[str, int | None]) -> Scheduler:
    """Returns the given scheduler, or an ASHA for the full training that was given instead.

    Raises:
        ArgumentError: both are given, or neither, or the scheduler is not one.
    """
    given = {name: value for name, value in horizon.items() if value is not None}
    if scheduler is None and given:
        return ASHA(given.get("max_epochs"), max_steps=given.get("max_steps"), max_samples=given.get("max_samples"))
    if not isinstance(scheduler, Scheduler):
        hint = "Or give max_epochs=27 instead, which means ASHA(max_epochs=27)."
        raise ArgumentError("scheduler", scheduler, "a scheduler such as ASHA(max_epochs=27)", hint=hint)
    if given:
        [name, value] = next(iter(given.items()))
        hint = f"Set the full training in the scheduler: {type(scheduler).__name__}({name}={value}, ...)."
        raise ArgumentError(name, value, "None, because a scheduler is given", hint=hint)
    return scheduler
