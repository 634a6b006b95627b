"""Where rungs in steps or samples really fall: at the first report that reaches them.

A trial reports at the end of each epoch with a validation, and after each validation inside an epoch. A rung falls
on the first of these reports at or beyond its level. Trials can only pause at the end of an epoch, so a scheduler that
pauses decides there. A scheduler that stops trials decides at every report. The full training can end at any report.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

__all__ = ["ReportPlaces"]


@final
@dataclass(frozen=True, slots=True)
class ReportPlaces:
    """The rhythm of the reports during training, in the resource unit of the study.

    Attributes:
        per_epoch: the resource of one epoch; NaN if unknown.
        per_validation: the resource between validations; equal to `per_epoch` if it only validates at ends of epochs.
        is_across_epochs: whether validations are counted from the start of training instead of each epoch.
        every: the number of epochs from one with validation to the next; not used with `is_across_epochs`.
    """

    per_epoch: float
    per_validation: float
    is_across_epochs: bool = False
    every: int = 1

    @property
    def is_known(self) -> bool:
        """Whether the rhythm is known."""
        return all(math.isfinite(number) and number >= 1 for number in (self.per_epoch, self.per_validation))

    @property
    def first(self) -> int:
        """The resource of the first report."""
        return next(self._reports())[0]

    def falls_on(self, levels: Sequence[int], *, pauses: bool) -> tuple[int, ...]:
        """Returns the resource at which each level is decided; the last level is the full training.

        Args:
            levels: ascending. pauses: whether the scheduler pauses trials.
        """
        places = []
        for level in levels:
            is_last = level == levels[-1]
            reached = (at for at, is_end in self._reports() if at >= level and (is_end or is_last or not pauses))
            places.append(next(reached))
        return tuple(places)

    def _reports(self) -> Iterator[tuple[int, bool]]:
        """Yields the resource of each report, and whether it is at the end of an epoch; never ends."""
        for epoch in itertools.count(1):
            start, end = (epoch - 1) * self.per_epoch, epoch * self.per_epoch
            if self.is_across_epochs:
                first = (math.floor(start / self.per_validation) + 1) * self.per_validation
            else:
                first = start + self.per_validation if epoch % self.every == 0 else math.inf
            if first > end:
                continue
            n_inside = math.ceil((end - first) / self.per_validation)
            yield from ((math.floor(first + n * self.per_validation), False) for n in range(n_inside))
            yield math.floor(end), True
