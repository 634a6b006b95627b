"""Curves that a test writes down: for the simulator, and as a training function for real processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_hwtune.core.decisions import Continue, Pause
from lightning_hwtune.training.trial import Trial


def error_of(config: Mapping[str, Any], epoch: int) -> float:
    """An error that falls fast for small `x` and ends low for large `x`, so that curves cross; 7 diverges."""
    x = int(config["x"])
    return float("nan") if x == 7 else round((10 - x) / 20 + (x + 1) / (10 * epoch), 6)


def train(trial: Trial) -> None:
    """Reports the scripted error, epoch by epoch, from the checkpoint on."""
    begun = trial.load() or 0
    for epoch in range(begun + 1, 10):
        verdict = trial.report(epoch, error=error_of(trial.config, epoch))
        if isinstance(verdict, Pause) or epoch == 9:
            trial.save(epoch)
        if not isinstance(verdict, Continue):
            return


@dataclass
class ScriptedCurves:
    """The same for the simulator; one second per epoch by default."""

    max_resource: int = 9
    epoch_s: float = 1.0
    metrics: tuple[str, ...] = field(default=("error",))

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        return {"error": error_of(config, resource)}

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        return resource * self.epoch_s / num_devices

    def usd_per_s(self, config: Mapping[str, Any], num_devices: int) -> float:
        return 0.5 * num_devices
