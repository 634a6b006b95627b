"""The executors that can be selected by name: the built-in ones, installed entry points, and import paths."""

from __future__ import annotations

from lightning_hwtune.engine.executor import Executor
from lightning_hwtune.engine.inline import InlineExecutor
from lightning_hwtune.engine.local import LocalExecutor
from lightning_hwtune.plugins import Registry

__all__ = ["EXECUTOR_REGISTRY"]

EXECUTOR_REGISTRY = Registry[Executor](
    "executor", "hwtune.executors", Executor, {"local": LocalExecutor, "inline": InlineExecutor}
)
"""A third-party class is called with the training function and the pool."""
