"""The settings of a continued study: what the user does not give keeps its stored value.

So a default that changes from one version to the next never changes a study that has begun.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from lightning_hwtune.core.hardware.kinds import NODE, Nodes
from lightning_hwtune.core.hardware.policies import POLICY_REGISTRY
from lightning_hwtune.core.hardware.policy import AllocationPolicy
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Objective, Objectives
from lightning_hwtune.core.parameters import Choice, Float, Int, Parameter
from lightning_hwtune.core.schedulers import SCHEDULER_REGISTRY, Scheduler
from lightning_hwtune.core.searchers import SEARCHER_REGISTRY, Searcher
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.errors import ArgumentError, UnknownArgumentError
from lightning_hwtune.forms.given import given_settings
from lightning_hwtune.plugins import Registry

__all__ = ["kept_allocation", "kept_objectives", "kept_pool", "kept_scheduler", "kept_searcher", "kept_space"]

T = TypeVar("T")
_HORIZONS = ("max_epochs", "max_steps", "max_samples")
_OF_STUDY = ("usd_per_device_hour", "threads_per_device", "per_device")  # the others belong to the host
_OF_NODES = ("spot", "nodes")


def kept_scheduler(stored: StudySpec, scheduler: Scheduler, *, is_chosen: bool) -> Scheduler:
    """Returns the scheduler with the stored values of the settings that were not given.

    Args:
        is_chosen: whether the user gave a scheduler; if False, only its horizon was given.
    """
    if is_chosen and type(scheduler) is not type(stored.scheduler):
        return scheduler
    given = given_settings(scheduler) - {*scheduler.open_settings} if is_chosen else frozenset()
    return _kept(SCHEDULER_REGISTRY, scheduler, stored.scheduler, given, replaced=_HORIZONS)


def kept_searcher(stored: StudySpec, searcher: Searcher | None) -> Searcher:
    """Returns the searcher with the stored values of the settings that were not given; the stored one for None."""
    if searcher is None:
        return stored.searcher
    if type(searcher) is not type(stored.searcher):
        return searcher
    return _kept(SEARCHER_REGISTRY, searcher, stored.searcher, given_settings(searcher))


def kept_allocation(stored: StudySpec, allocation: AllocationPolicy | None) -> AllocationPolicy:
    """Returns the policy with the stored values of the settings that were not given; the stored one for None."""
    policy = stored.allocator.policy
    if allocation is None:
        return policy
    if type(allocation) is not type(policy):
        return allocation
    return _kept(POLICY_REGISTRY, allocation, policy, given_settings(allocation))


def kept_space(stored: StudySpec, space: SearchSpace) -> SearchSpace:
    """Returns the space whose parameters have the stored values of the settings that were not given."""
    kept = {name: _kept_parameter(stored.space.get(name), item) for name, item in space.items()}
    if kept == dict(space):
        return space
    found, keys = SearchSpace(kept), space.batch_size_keys
    return found if keys == found.batch_size_keys else found.constrained(keys[0] if keys else None)


def kept_objectives(stored: StudySpec, objectives: Objectives, *, is_constrained: bool) -> Objectives:
    """Returns the objectives with the stored values of the settings that were not given.

    Args:
        is_constrained: whether constraints were given; otherwise the study keeps its own.
    """
    known = {item.name: item for item in stored.objectives}
    kept = [_kept_objective(known.get(item.name), item) for item in objectives]
    return Objectives(kept, objectives.constraints if is_constrained else stored.objectives.constraints)


def kept_pool(stored: StudySpec, pool: Pool | None) -> Pool:
    """Returns the pool with the stored price and threads if they were not given.

    The price is that of the stored instance type, if neither a price nor another kind of devices was given.
    """
    pool = pool or Pool()
    given, instance = given_settings(pool), pool.instance
    if pool.has_several_kinds:
        return _kept_kinds(stored.pool, pool, given)
    if stored.pool.has_several_kinds and not given & {"instance", "devices", "accelerator", "nodes"}:
        return stored.pool
    if not given & {"instance", "usd_per_device_hour", "accelerator"}:
        instance = stored.pool.instance
    if instance is not None:
        threads = (pool if "threads_per_device" in given else stored.pool).threads_per_device
        packed = (pool if "per_device" in given else stored.pool).per_device
        own = {name: getattr(pool, name) for name in _OF_NODES} if pool.instance is not None else {}
        is_whole = pool == Pool(
            threads_per_device=pool.threads_per_device, instance=pool.instance, per_device=pool.per_device, **own
        )
        is_own = "instance" in given
        more = {name: getattr(pool if is_own or name in given else stored.pool, name) for name in _OF_NODES}
        devices = "auto" if is_whole else pool.devices
        return Pool(devices=devices, threads_per_device=threads, instance=instance, per_device=packed, **more)
    return dataclasses.replace(pool, **{name: getattr(stored.pool, name) for name in _OF_STUDY if name not in given})


def _kept_kinds(stored: Pool, pool: Pool, given: frozenset[str]) -> Pool:
    """Returns a pool with nodes of several kinds with the stored price and threads if they were not given."""
    threads = (pool if "threads_per_device" in given else stored).threads_per_device
    is_priced = "usd_per_device_hour" in given or any(kind.type.name != NODE for kind in pool.kinds)
    if (is_priced or not stored.usd_per_device_hour) and threads == pool.threads_per_device:
        return pool
    nodes = [kind if is_priced else Nodes(kind.count, devices=kind.n_devices) for kind in pool.kinds]
    usd = None if is_priced else stored.usd_per_device_hour
    return Pool(pool.accelerator, usd_per_device_hour=usd, threads_per_device=threads, spot=pool.spot, nodes=nodes)


def _kept_parameter(stored: Parameter | None, item: Parameter) -> Parameter:
    if isinstance(item, Choice) and isinstance(stored, Choice) and type(item) is type(stored):
        is_same = (item.when, item.prior) == (stored.when, stored.prior)
        is_alike = not item.is_order_given and is_same and item.has_options_of(stored)
        return stored if is_alike else item
    if not isinstance(item, Float | Int) or type(stored) is not type(item):
        return item
    given = given_settings(item)
    names = ["log"] if isinstance(item, Float) else ["log", "step"]
    try:
        return dataclasses.replace(item, **{name: getattr(stored, name) for name in names if name not in given})
    except ArgumentError:
        return item  # given and stored settings do not match, which is then reported as a difference


def _kept_objective(stored: Objective | None, item: Objective) -> Objective:
    if stored is None or type(item) is not type(stored):
        return item
    given = given_settings(item)
    fields = [field.name for field in dataclasses.fields(item)]
    return dataclasses.replace(item, **{name: getattr(stored, name) for name in fields if name not in given})


def _kept(registry: Registry[T], part: T, stored: T, given: frozenset[str], *, replaced: Collection[str] = ()) -> T:
    """Returns the stored part with the values that were given, and with those of `replaced` in any case."""
    now, then = registry.stored(part), registry.stored(stored)
    kept = {key: value for key, value in then.items() if key not in replaced}
    merged: Mapping[str, Any] = {**kept, **{key: value for key, value in now.items() if key in {*given, *replaced}}}
    if merged == now:
        return part
    try:
        return registry.rebuilt(merged)
    except (ArgumentError, UnknownArgumentError, TypeError):
        return part  # given and stored settings do not match, which is then reported as a difference
