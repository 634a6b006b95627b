"""The proof that a pause does not change a training: it compares the training with and without a pause bit by bit.

The first segment of a check trains up to three shortened epochs without a pause. A second segment pauses one epoch
before the end of the first. A third segment resumes it in a new process. Both ways must end with the same objectives
and the same weights. So this also detects causes that are not known in advance.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from lightning_hwtune.engine.check_segment import CheckSegment
from lightning_hwtune.text import counted
from lightning_hwtune.training.channel import Report

__all__ = ["N_EPOCHS", "SAVES_NOTHING", "TOO_LONG", "ResumeProof", "is_affordable"]

N_EPOCHS = 3
_MOST_S = 60.0
_NOT_REPEATABLE = (
    "two trainings with the same configuration and seed give different values: after {at}, {numbers}. So the "
    "check cannot show whether a pause changes the training. Usual causes: a random generator that is seeded from the "
    "time, or operations that are not deterministic (see Trainer(deterministic=True))"
)
_DIFFERENT = (
    "a pause changes this training: after {at} of the check, {numbers}. Usual causes: a random generator or a "
    "counter in your own data set, sampler or callback; augmentation in persistent workers; a stream whose position is "
    "not in the checkpoint. The guide explains them (docs/failures.md). To avoid pauses, use `ASHA(type='stopping')` "
    "or `RunToEnd()`"
)
SAVES_NOTHING = (
    "the training saves nothing when it pauses, so a promoted trial starts again from scratch: call trial.save(state) "
    "on a pause, and start with trial.load()"
)
TOO_LONG = "the check did not test whether a pause changes this training, since that would take more than a minute"


def is_affordable(first: Report) -> bool:
    """Return whether the proof is expected to take at most a minute, judged by the first report."""
    startup_s = first.probe.startup_s if first.probe is not None else 0.0
    return (2 * N_EPOCHS - 1) * first.train_s + 2 * (0.0 if math.isnan(startup_s) else startup_s) <= _MOST_S


@final
@dataclass(frozen=True, slots=True)
class ResumeProof:
    """The results of both ways.

    Attributes:
        whole: the segment without a pause.
        before: the segment before the pause.
        after: the segment after the pause.
    """

    whole: CheckSegment
    before: CheckSegment
    after: CheckSegment

    def note(self, unit: str) -> str:
        """Returns a note for the user; empty if both ways are equal."""
        if not self.after.reports or self.whole.reports[-1].resource != self.after.reports[-1].resource:
            return ""
        end, resumed = self.whole.reports[-1], self.after.reports[-1]
        whole = {report.resource: report for report in self.whole.reports}
        for report in self.before.reports:
            first = whole.get(report.resource)
            if first is not None and not _is_same(first, report):
                numbers = _numbers(first.metrics, report.metrics, "in one training", "in the next")
                return _NOT_REPEATABLE.format(at=counted(report.resource, unit), numbers=numbers)
        if _is_same(end, resumed) and self._has_same_weights:
            return ""
        numbers = _numbers(end.metrics, resumed.metrics)
        if _is_same(end, resumed):
            numbers += ", but the weights differ"
        return _DIFFERENT.format(at=counted(end.resource, unit), numbers=numbers)

    @property
    def _has_same_weights(self) -> bool:
        saved = self.whole.saved_as, self.after.saved_as
        return None in saved or saved[0].weights == saved[1].weights  # type: ignore[union-attr]


def _is_same(a: Report, b: Report) -> bool:
    return a.metrics.keys() == b.metrics.keys() and all(_bits(a.metrics[k]) == _bits(b.metrics[k]) for k in a.metrics)


def _bits(value: float) -> bytes:
    """Returns the bits of a number; all NaN values have the same bits."""
    return struct.pack("d", math.nan if math.isnan(value) else value)


def _numbers(
    a: Mapping[str, float], b: Mapping[str, float], there: str = "without a pause", here: str = "with one"
) -> str:
    """Returns a text on the first objective that differs, with enough digits to show it; otherwise on the first one."""
    if not a:
        return "no metric is an objective"
    differing = (name for name in a if name not in b or _bits(a[name]) != _bits(b[name]))
    name = next(differing, next(iter(a)))
    if name not in b:
        return f"{name} was logged only {there}"
    digits = next((n for n in range(5, 17) if f"{a[name]:.{n}g}" != f"{b[name]:.{n}g}"), 5)
    return f"{name} is {a[name]:.{digits}g} {there} and {b[name]:.{digits}g} {here}"
