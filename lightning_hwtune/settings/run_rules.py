"""Checks the arguments of `Study.run` against a study, whether they come from a call or from a study file."""

from __future__ import annotations

import dataclasses

from lightning_hwtune.core.hardware.billing import Node, bill
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.engine.executors import Choice, abilities_of_choice, maker_of
from lightning_hwtune.engine.hang import AUTO
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms.run_options import RunOptions

__all__ = ["check_instances", "check_run", "limits_of", "unjudged_devices"]


def check_run(spec: StudySpec, limits: Limits, *, executor: Choice, hang_timeout: float | str | None = AUTO) -> None:
    """Refuses arguments that do not fit the study.

    Args:
        executor: the executor of the run; see `maker_of`.
        hang_timeout: seconds, "auto", or None.

    Raises:
        ArgumentError: the executor cannot train the study's trials, or the cost is limited without a price.
    """
    check_instances(spec)
    abilities, n_devices = abilities_of_choice(executor), max(spec.allocator.counts)
    if abilities.max_devices is not None and n_devices > abilities.max_devices:
        at_most = "one device" if abilities.max_devices == 1 else f"{abilities.max_devices} devices"
        raise ArgumentError("executor", executor, f"'local', because a trial may use more than {at_most}")
    if hang_timeout not in (AUTO, None) and not (maker_of(executor) is not None and abilities.limits_hangs):
        hint = "Only an executor such as 'local' can end a segment that makes no progress. Leave `hang_timeout` out."
        raise ArgumentError("hang_timeout", hang_timeout, "'auto' or None with this `executor`", hint=hint)
    if limits.max_cost_usd is not None and not spec.pool.usd_per_device_hour:
        hint = "Without a price the cost is always 0: set `Pool(usd_per_device_hour=...)`."
        raise ArgumentError("max_cost", limits.max_cost_usd, "None, because the pool has no price", hint=hint)
    if spec.allocator.needs_limits and not limits.is_timed:
        policy = type(spec.allocator.policy).__name__
        allowed = f"a deadline, or a budget as `max_cost`, or both, because {policy} plans for them"
        raise ArgumentError("max_time", None, allowed, hint="For example max_time='8h'.")
    for instance in (kind.type for kind in spec.pool.kinds):
        least_usd = bill(Node(instance, 0.0, is_spot=spec.pool.spot), 0.0)
        if limits.max_cost_usd is not None and limits.max_cost_usd < least_usd:
            allowed = f"at least {least_usd:.4g}, the bill of {instance.name!r} for the shortest time that is billed"
            raise ArgumentError("max_cost", limits.max_cost_usd, allowed)


def check_instances(spec: StudySpec) -> None:
    """Refuses instance types in the search space that are not this machine: no executor can train on them.

    Raises:
        ArgumentError: the space has such a type; the message says which machine the study runs on.
    """
    key, here = spec.space.instance_key, spec.pool.instance
    others = [name for name in spec.space.usd_per_hour if here is None or name != here.name]
    if key is None or not others:
        return
    machine = "whose type is unknown" if here is None else f"a {here.name!r}"
    hint = (
        f"The study trains on this machine, {machine}. Simulate the others (`simulation`, or a plan); to train here, "
        f"give the type of this machine to the pool, and leave {key!r} out."
    )
    raise ArgumentError(key, others[0], "the instance type of the pool", hint=hint)


def limits_of(options: RunOptions) -> Limits:
    """Returns the limits of a run. The executor may train fewer segments at the same time than the options allow.

    Raises:
        ArgumentError: there is no such executor.
    """
    limits = Limits.of(options)
    most = abilities_of_choice(options["executor"]).max_segments if "executor" in options else None
    if most is None:
        return limits
    return dataclasses.replace(limits, max_parallel=min(limits.max_parallel or most, most))


def unjudged_devices(spec: StudySpec) -> str:
    """Return a warning if the number of devices is searched and no objective depends on it, otherwise an empty text."""
    if len(spec.space.device_counts) < 2 or any(objective.is_measured for objective in spec.objectives):
        return ""
    return (
        "the number of devices is searched, but neither time nor cost is an objective, so the trials cannot "
        "show which number is best: add `TrainSeconds()` or `Cost()` to `objectives`"
    )
