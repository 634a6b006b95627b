"""Fully trained trials that were clearly better before their end, and the setting that counts their best values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.objectives import Metric
from lightning_hwtune.core.record import Measurement, TrialRecord, TrialState
from lightning_hwtune.names.spelling import spelled
from lightning_hwtune.views.amounts import number
from lightning_hwtune.views.front_points import ended_early, front_points

__all__ = ["Better", "best_hint", "better_before"]

_CLEARLY = 0.05  # of the range of the trial's values
_CLEARLY_EARLY = 0.01  # for a trial that its own early stopping ended, which waits some epochs after the best one


@final
@dataclass(frozen=True, slots=True)
class Better:
    """A metric of a trial with its best measurement and its last one, which counts."""

    metric: Metric
    best: Measurement
    last: Measurement

    def text(self, unit: str) -> str:
        """Returns "val_error was 0.1 at epoch 5 and is 0.12 at epoch 9"."""
        name, one = self.metric.name, unit.removesuffix("s")
        best, last = (f"{number(float(m.values[name]))} at {one} {m.resource}" for m in (self.best, self.last))
        return f"{name} was {best} and is {last}"


def better_before(state: StudyFacts, trial: TrialRecord) -> Better | None:
    """Returns the first metric in which a completed trial was clearly better before its end; None if there is none."""
    if trial.state is not TrialState.COMPLETED or len(trial.measurements) < 2:
        return None
    least = _CLEARLY_EARLY if ended_early(trial, state.ladder.top) else _CLEARLY
    last = trial.measurements[-1]
    for metric in state.spec.objectives:
        if not isinstance(metric, Metric) or metric.best:
            continue
        sign = 1.0 if metric.mode == "min" else -1.0
        losses = {sign * float(m.values[metric.name]): m for m in reversed(trial.measurements)}
        finite = [loss for loss in losses if math.isfinite(loss)]
        final_loss = sign * float(last.values[metric.name])
        if finite and math.isfinite(final_loss) and final_loss - min(finite) > least * (max(finite) - min(finite)):
            return Better(metric, losses[min(finite)], last)
    return None


def best_hint(state: StudyFacts) -> str:
    """Returns a hint if a trial of the front was clearly better before its end; otherwise an empty text."""
    for point in front_points(state):
        found = better_before(state, point.trial)
        if found is not None:
            metric = f'`Metric("{found.metric.name}", "{found.metric.mode}", best=True)`'
            return spelled(
                f"note: the last value of a trial counts. Trial {point.trial.trial_id} was better before: "
                f"{found.text(state.ladder.unit)}. In a new study, {metric} lets the best value count and keeps its "
                "checkpoint"
            )
    return ""
