"""A random study against one scheduler: writes what a controller would write, and keeps the writes for a replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from started_race import started

from lightning_hwtune.core.decisions import Verdict
from lightning_hwtune.core.schedulers import Promotion, Race, Scheduler

Write = tuple[str, tuple[Any, ...]]


class Run:
    """Trials whose losses are drawn again at each level; trial ids count the arrivals."""

    def __init__(self, settings: Scheduler, n_objectives: int) -> None:
        self.settings, self.scheduler, self.n_objectives = settings, started(settings, n_objectives), n_objectives
        self.writes: list[Write] = []
        self.brackets: list[int] = []
        self.verdicts: dict[tuple[int, int], Verdict] = {}
        self.arrived: dict[tuple[int, int], list[tuple[int, Sequence[float]]]] = {}
        self.promotions: list[Promotion] = []

    def write(self, method: str, *arguments: Any) -> None:
        self.writes.append((method, arguments))
        getattr(self.scheduler, method)(*arguments)

    def start(self, bracket: int = 0) -> int:
        self.brackets.append(bracket)
        return len(self.brackets) - 1

    def arrive(self, trial_id: int, level: int, loss: Sequence[float]) -> Verdict:
        bracket, vector = self.brackets[trial_id], np.asarray(loss, dtype=float)
        verdict = self.scheduler.verdict(trial_id, bracket, level, vector)
        self.write("record", trial_id, bracket, level, vector, verdict.kind)
        self.verdicts[trial_id, level] = verdict
        self.arrived.setdefault((bracket, level), []).append((trial_id, loss))
        return verdict

    def promote(self, exclude: Sequence[int] = ()) -> Promotion | None:
        promotion = self.scheduler.promotable(exclude)
        if promotion is not None:
            self.promotions.append(promotion)
            self.write("promoted", promotion.trial_id, self.brackets[promotion.trial_id], promotion.level)
        return promotion


def rebuilt(settings: Scheduler, n_objectives: int, writes: Sequence[Write]) -> Race:
    scheduler = started(settings, n_objectives)
    for method, arguments in writes:
        getattr(scheduler, method)(*arguments)
    return scheduler
