"""How the loop has segments trained: one protocol for this process, local processes and simulations.

The loop calls `start`, then `wait` again and again; during `wait` the executor calls the sink with what happened.
An executor decides nothing: it carries orders out and tells facts.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from lightning_hwtune.core.record import Outcome
from lightning_hwtune.training.channel import Ended, Note, Report, Saved, SegmentOrder, VerdictMessage

__all__ = ["Executor", "Sink"]


class Sink(Protocol):
    """What the loop does with news. All calls come from the thread that called `wait`."""

    def reported(self, trial_id: int, segment: int, report: Report) -> VerdictMessage:
        """A report arrived; the return value is the answer. It is in the log before this returns."""

    def saved(self, trial_id: int, segment: int, saved: Saved) -> None:
        """A checkpoint is complete."""

    def noted(self, trial_id: int, segment: int, note: Note) -> None:
        """A line for the user."""

    def ended(self, trial_id: int, segment: int, ended: Ended, world_size: int) -> None:
        """The segment is over and its devices are free. `outcome` may also be LOST or INTERRUPTED here."""


@runtime_checkable
class Executor(Protocol):
    """Trains segments.

    An executor of a third party is a class with these four methods, whose constructor takes the training function and
    the `Pool` of the study. `Study.run(executor=...)` takes its import path or the name of its entry point in the group
    "hwtune.executors". Nothing of it is in the log: each run may use another one.
    """

    def start(self, order: SegmentOrder) -> None:
        """Begins a segment on the order's slots."""

    def wait(self, sink: Sink, timeout_s: float) -> None:
        """Delivers news to the sink; returns after some, or when the time is over."""

    def end(self, trial_id: int, outcome: Outcome, why: str) -> None:
        """Ends a running segment at once; `sink.ended` follows from `wait` with this outcome."""

    def close(self) -> None:
        """Ends everything, joins every process. Idempotent."""
