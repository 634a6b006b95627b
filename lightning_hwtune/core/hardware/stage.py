"""What an allocation policy is asked with when a stage of successive halving begins.

A stage is the training of some trials from one rung to the next. A policy that plans stages chooses how many trials
train in it, and on how many devices each. Everything in a question follows from the log and the present time, and the
log keeps each answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import final

from lightning_hwtune.core.hardware.moment import ExpectedSpeed
from lightning_hwtune.core.hardware.pool import Pool

__all__ = ["StageMoment"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StageMoment:
    """A stage is about to begin: all trials have reached a rung, or no trial has begun.

    Attributes:
        reached: the rung that the trials have reached; 0 before the first stage.
        levels: the rungs, ascending; the last one is the full training. eta: one in eta trials is promoted at a rung.
        n_begun: how many trials of the first stage have begun; 0 in later stages.
        most: the most trials that the stage may have; None for any number.
        unit_s: the mean seconds per unit of resource on one device, of the trials that may continue; 0 if unknown.
        spread: by what factor the slowest of these trials takes longer than the mean.
        start_s: seconds to start a segment; 0 if unknown. launch_s: the same for a node of the pool.
        speeds: number of devices -> how much faster than on one.
        pool: of the study.
        left_s, left_usd: until the limits of time and cost; infinity without one.

    Examples:
        >>> from fractions import Fraction
        >>> from lightning_hwtune.core.hardware.stage import StageMoment
        >>> moment = StageMoment(reached=1, levels=(1, 3, 9), eta=Fraction(3), pool=hwt.Pool("cpu", 2), speeds={})
        >>> moment.next_level
        3
    """

    reached: int
    levels: tuple[int, ...]
    eta: Fraction
    pool: Pool
    speeds: Mapping[int, ExpectedSpeed]
    most: int | None = None
    n_begun: int = 0
    unit_s: float = 0.0
    spread: float = 1.0
    start_s: float = 0.0
    launch_s: float = 0.0
    left_s: float = float("inf")
    left_usd: float = float("inf")

    @property
    def next_level(self) -> int:
        """The level to which the trials of the stage train."""
        return next(level for level in self.levels if level > self.reached)
