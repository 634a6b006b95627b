"""The executors that can be selected by name: the built-in ones, installed entry points, and import paths."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.engine.agents.executor import AgentsExecutor
from lightning_hwtune.engine.agents.ray_cluster import RayCluster, RayExecutor
from lightning_hwtune.engine.agents.slurm import SlurmExecutor
from lightning_hwtune.engine.executor import Abilities, Cluster, Executor, RunSetup, abilities_of
from lightning_hwtune.engine.inline import InlineExecutor
from lightning_hwtune.engine.local import LocalExecutor
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.names import refuse_unknown_keys
from lightning_hwtune.plugins import Registry

__all__ = ["EXECUTOR_REGISTRY", "Choice", "abilities_of_choice", "check_here", "create_executor", "maker_of"]

Choice = str | Mapping[str, Any] | Cluster | Executor
"""What users give as `executor`."""

EXECUTOR_REGISTRY = Registry[Executor](
    "executor",
    "hwtune.executors",
    Executor,
    {
        "local": LocalExecutor,
        "inline": InlineExecutor,
        "agents": AgentsExecutor,
        "ray": RayExecutor,
        "slurm": SlurmExecutor,
    },
)


_CLUSTERS: Mapping[str, type[Cluster]] = {"ray": RayCluster}
"""Name -> the class of its options."""


def maker_of(executor: Choice) -> type[Executor] | Cluster | None:
    """Returns what makes the executor of a run; None if the executor itself was given.

    Args:
        executor: a name, an import path, a name with options as a mapping, a cluster, or an executor.

    Raises:
        ArgumentError: there is no such executor, or an option is not allowed.
    """
    if isinstance(executor, Mapping):
        given = dict(executor)
        name = given.pop("name", None)
        if given and name in _CLUSTERS:
            cls = _CLUSTERS[name]
            refuse_unknown_keys("executor.", given, inspect.signature(cls).parameters)
            return cls(**given)
        if given:
            raise ArgumentError("executor", executor, f"options only with the name {', '.join(_CLUSTERS)}")
        return EXECUTOR_REGISTRY.find(name)
    if isinstance(executor, str):
        return EXECUTOR_REGISTRY.find(executor)
    return None if isinstance(executor, Executor) else executor


def abilities_of_choice(executor: Choice) -> Abilities:
    """Returns the abilities of the executor of a run; see `maker_of`.

    Raises:
        ArgumentError: there is no such executor, or its attribute `abilities` is something else.
    """
    return abilities_of(maker_of(executor) or executor)


def check_here(executor: Choice, pool: Pool) -> None:
    """Refuses an executor whose maker says by its method `check_here` that it cannot work here.

    Raises:
        ArgumentError: the executor refuses the pool or this host, or there is no such executor.
        MissingDependencyError: it needs a library that is not installed.
    """
    check: Callable[[Pool], None] | None = getattr(maker_of(executor), "check_here", None)
    if check is not None:
        check(pool)


def create_executor(maker: type[Executor] | Cluster, setup: RunSetup) -> Executor:
    """Returns an executor for a run: by the method `for_run`, or by the constructor."""
    if (for_run := getattr(maker, "for_run", None)) is not None:
        return cast("Executor", for_run(setup))
    create = cast("Callable[..., Executor]", maker)
    return create(setup.train, setup.pool)
