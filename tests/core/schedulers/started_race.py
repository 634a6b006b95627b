"""Starts the race of a scheduler for losses of a given length."""

from __future__ import annotations

from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.schedulers import Race, Scheduler


def started(scheduler: Scheduler, n_objectives: int = 1) -> Race:
    """Returns a race with empty rungs; objective number 0 is called m0."""
    return scheduler.start(Objectives([Metric(f"m{i}", "min") for i in range(n_objectives)]))
