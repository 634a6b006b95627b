"""What `Study.run` cannot be given for a study, whoever asks: a call, or a study file before there is one."""

from __future__ import annotations

from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.engine.executors import EXECUTOR_REGISTRY
from lightning_hwtune.engine.hang import AUTO
from lightning_hwtune.errors import ArgumentError

__all__ = ["check_run", "unjudged_devices"]


def check_run(spec: StudySpec, limits: Limits, *, executor: object, hang_timeout: float | str | None = AUTO) -> None:
    """Refuses what does not fit the study.

    Args:
        executor: the name or import path of an executor, or the executor itself.
        hang_timeout: seconds, "auto", or None.

    Raises:
        ArgumentError: an executor that does not carry the study's trials; a limit on the cost of what has no price.
    """
    if isinstance(executor, str):
        EXECUTOR_REGISTRY.find(executor)
    if executor == "inline" and max(spec.allocation.counts) > 1:
        raise ArgumentError("executor", "inline", "'local' for a space with more than one device")
    if hang_timeout not in (AUTO, None) and executor != "local":
        hint = "Only the study's own processes can be ended from outside; leave it out."
        raise ArgumentError("hang_timeout", hang_timeout, "'auto' or None without `executor='local'`", hint=hint)
    if limits.max_cost_usd is not None and not spec.pool.usd_per_device_hour:
        hint = "Without a price nothing would ever be billed: give `Pool(usd_per_device_hour=...)`."
        raise ArgumentError("max_cost", limits.max_cost_usd, "None while the pool has no price", hint=hint)


def unjudged_devices(spec: StudySpec) -> str:
    """Return a line for the user if the number of devices is searched and no objective depends on it, else nothing."""
    if len(set(spec.allocation.counts)) == 1 or any(objective.is_measured for objective in spec.objectives):
        return ""
    return (
        "the number of devices is searched, but neither time nor cost is an objective, so nothing speaks for more or "
        "fewer devices: add `TrainSeconds()` or `Cost()` to `objectives`"
    )
