"""An executor that passes every call to one that trains in this process; the base of executors in tests."""

from __future__ import annotations

from typing import Any

from lightning_hwtune.engine.inline import InlineExecutor

__all__ = ["PassingExecutor"]


class PassingExecutor:
    """Trains in this process, without saying what it can do."""

    def __init__(self, train: Any, pool: Any) -> None:
        self.inner = InlineExecutor(train, pool)

    def start(self, order: Any) -> None:
        self.inner.start(order)

    def wait(self, sink: Any, timeout_s: float) -> None:
        self.inner.wait(sink, timeout_s)

    def end(self, trial_id: int, outcome: Any, why: str) -> None:
        self.inner.end(trial_id, outcome, why)

    def close(self) -> None:
        self.inner.close()
