"""How many trials train in a stage of successive halving, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

__all__ = ["StagePlan"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """How many trials train in a stage, and on what.

    Attributes:
        trials: the number of trials, those that have begun included; 0 if nothing may continue.
        devices: devices of each trial.
        reason: the choice in one sentence.
        up_to: the rung that the last trials are expected to reach.
        nodes: the most nodes that the stage may use; 0 for all of the pool.
        seconds: the expected seconds of the stage; 0 if unknown. rest_s: those of the stages after it.
        probe: devices of one trial of the stage, which show how the training scales; 0 for none.
        is_first_wave: whether the trials show the pace, and the stage is planned again when all of them have arrived.

    Examples:
        >>> from lightning_hwtune.core.hardware.stage_plan import StagePlan
        >>> StagePlan(trials=3, devices=1, reason="3 trials continue").seconds
        0.0
    """

    trials: int
    devices: int
    reason: str
    up_to: int = 0
    nodes: int = 0
    seconds: float = 0.0
    rest_s: float = 0.0
    probe: int = 0
    is_first_wave: bool = False
