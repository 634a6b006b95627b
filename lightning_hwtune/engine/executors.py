"""The executors that can be selected by name: the built-in ones, installed entry points, and import paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.engine.agents.executor import AgentsExecutor
from lightning_hwtune.engine.agents.slurm import SlurmExecutor
from lightning_hwtune.engine.executor import Abilities, Executor, RunSetup, abilities_of
from lightning_hwtune.engine.inline import InlineExecutor
from lightning_hwtune.engine.local import LocalExecutor
from lightning_hwtune.plugins import Registry

__all__ = ["EXECUTOR_REGISTRY", "abilities_of_choice", "check_here", "create_executor"]

EXECUTOR_REGISTRY = Registry[Executor](
    "executor",
    "hwtune.executors",
    Executor,
    {"local": LocalExecutor, "inline": InlineExecutor, "agents": AgentsExecutor, "slurm": SlurmExecutor},
)


def abilities_of_choice(executor: str | Executor) -> Abilities:
    """Returns the abilities of an executor that was selected by name or given as an object.

    Raises:
        ArgumentError: there is no such executor, or its attribute `abilities` is something else.
    """
    return abilities_of(EXECUTOR_REGISTRY.find(executor) if isinstance(executor, str) else executor)


def check_here(executor: str | Executor, pool: Pool) -> None:
    """Refuses an executor, selected by name, that says by its class method `check_here` that it cannot work here.

    Raises:
        ArgumentError: the executor refuses the pool or this host, or there is no such executor.
    """
    if isinstance(executor, str):
        check: Callable[[Pool], None] | None = getattr(EXECUTOR_REGISTRY.find(executor), "check_here", None)
        if check is not None:
            check(pool)


def create_executor(cls: type[Executor], setup: RunSetup) -> Executor:
    """Returns an executor for a run: by its class method `for_run`, or by the constructor."""
    if (for_run := getattr(cls, "for_run", None)) is not None:
        return cast("Executor", for_run(setup))
    create = cast("Callable[..., Executor]", cls)
    return create(setup.train, setup.pool)
