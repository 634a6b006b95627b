"""The interface between the loop and whatever trains segments: this process, local processes or a simulation.

The loop calls `start`, then `wait` repeatedly. During `wait` the executor reports to the sink what has happened. An
executor makes no decisions: it carries out orders and reports facts.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from lightning_hwtune.core.record import Outcome
from lightning_hwtune.training.channel import Ended, Note, Report, Saved, SegmentOrder, VerdictMessage

__all__ = ["Executor", "Sink"]


class Sink(Protocol):
    """Receives the messages of an executor. All calls come from the thread that called `wait`."""

    def reported(self, trial_id: int, segment: int, report: Report) -> VerdictMessage:
        """A report arrived; returns the answer. The report is in the log before this method returns."""

    def saved(self, trial_id: int, segment: int, saved: Saved) -> None:
        """A checkpoint is complete."""

    def noted(self, trial_id: int, segment: int, note: Note) -> None:
        """A line for the user arrived."""

    def ended(self, trial_id: int, segment: int, ended: Ended, world_size: int) -> None:
        """The segment is over and its devices are free. `outcome` may also be LOST or INTERRUPTED here."""


@runtime_checkable
class Executor(Protocol):
    """Trains segments.

    A third-party executor is a class with these four methods. Its constructor takes the training function and the
    study's `Pool`. `Study.run(executor=...)` takes its import path, or the name of its entry point in the group
    "hwtune.executors". The log does not store the executor, so each run may use a different one.

    Examples:
        >>> class Idle:
        ...     def start(self, order): ...
        ...     def wait(self, sink, timeout_s): ...
        ...     def end(self, trial_id, outcome, why): ...
        ...     def close(self): ...
        >>> isinstance(Idle(), hwt.Executor)
        True
    """

    def start(self, order: SegmentOrder) -> None:
        """Begins a segment on the order's slots."""

    def wait(self, sink: Sink, timeout_s: float) -> None:
        """Delivers messages to the sink; returns after a message, or when the timeout is over."""

    def end(self, trial_id: int, outcome: Outcome, why: str) -> None:
        """Ends a running segment at once; `sink.ended` follows from `wait` with this outcome."""

    def close(self) -> None:
        """Ends all segments and joins all processes. Idempotent."""
