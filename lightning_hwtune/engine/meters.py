"""Whether this machine can measure what a study asks for, before anything is trained."""

from __future__ import annotations

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objective_kinds import Energy, PeakMemory
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.engine.devices import visible_gpus
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.host.energy import check_gpu_counters, rapl_counter
from lightning_hwtune.host.memory import peak_bytes

__all__ = ["check_meters"]


def check_meters(objectives: Objectives, pool: Pool) -> None:
    """Refuses objectives and constraints that this machine cannot measure.

    Raises:
        ArgumentError: there is no meter; the message says what was looked for and what to do.
        MissingDependencyError: the package that reads the meter is not installed.
    """
    wanted = objectives.measured_in_training
    if PeakMemory.name in wanted and peak_bytes() is None:
        hint = "Looked for `VmHWM` in /proc/self/status, where Linux shows it. Leave it out on this machine."
        raise ArgumentError("objectives", PeakMemory.name, "only on a system that reports it", hint=hint)
    if Energy.name in wanted:
        if pool.accelerator == "gpu":
            check_gpu_counters(visible_gpus())
        else:
            rapl_counter()
