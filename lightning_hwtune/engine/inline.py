"""The executor that trains in this process, one segment after another: for debugging, or to avoid child processes.

A segment runs completely inside `wait`, on one device. Breakpoints and print work as in any script.
"""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable
from typing import Any, ClassVar, final

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.engine.devices import masked
from lightning_hwtune.engine.executor import Abilities, Sink
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.host.session_signals import ENDING
from lightning_hwtune.training.channel import (
    Beat,
    Ended,
    Imported,
    Message,
    Note,
    Report,
    Saved,
    SegmentOrder,
    Started,
    VerdictMessage,
)
from lightning_hwtune.training.repeated_lines import RepeatedLines

__all__ = ["DirectChannel", "InlineExecutor"]

_TERMINATED = tuple(128 + number for number in ENDING)  # exit codes of `Signals`; not an error of the trial


@final
class DirectChannel:
    """A `Channel` whose other end is a sink in the same process."""

    def __init__(self, order: SegmentOrder, sink: Sink) -> None:
        self._order, self._sink = order, sink
        self.world_size = 0

    def report(self, report: Report) -> VerdictMessage:
        """Returns the sink's answer."""
        return self._sink.reported(self._order.trial_id, self._order.segment, report)

    def send(self, message: Message) -> None:
        """Passes a message to the sink; ignores heartbeats, imports and `Ended`."""
        if isinstance(message, Saved):
            self._sink.saved(self._order.trial_id, self._order.segment, message)
        elif isinstance(message, Note):
            self._sink.noted(self._order.trial_id, self._order.segment, message)
        elif isinstance(message, Started):
            self.world_size = max(self.world_size, message.world_size)
        elif isinstance(message, Beat | Ended | Imported):
            return


@final
class InlineExecutor:
    """Trains segments in this process with the function itself, not with a copy of it."""

    abilities: ClassVar[Abilities] = Abilities(max_devices=1, max_segments=1)

    def __init__(self, train: Callable[[Any], Any], pool: Pool | None = None) -> None:
        self._train = train
        self._queue: list[SegmentOrder] = []
        self._ended: list[tuple[SegmentOrder, Ended]] = []  # segments that were ended before they began
        self._repeated = RepeatedLines()

    def start(self, order: SegmentOrder) -> None:
        """Queues the segment; `wait` trains it.

        Raises:
            ArgumentError: the segment needs more than one device.
        """
        if order.num_devices > 1:
            hint = "Each rank needs its own process."
            raise ArgumentError("executor", "inline", "'local' for more than one device", hint=hint)
        self._queue.append(order)

    def wait(self, sink: Sink, timeout_s: float) -> None:
        """Trains the next segment to its end, or reports one that was ended before it began."""
        if self._ended:
            order, ended = self._ended.pop(0)
            sink.ended(order.trial_id, order.segment, ended, 0)
            return
        if not self._queue:
            return
        order = self._queue.pop(0)
        channel = DirectChannel(order, sink)
        ended = self._run(order, channel)
        sink.ended(order.trial_id, order.segment, ended, channel.world_size)

    def _run(self, order: SegmentOrder, channel: DirectChannel) -> Ended:
        from lightning_hwtune.training.process.rank_main import run_segment

        before = _interrupt_handler()
        try:
            with self._repeated:
                return run_segment(self._train, masked(order), channel)
        except SystemExit as error:  # Lightning's reaction to Ctrl-C, which leaves SIGINT ignored
            if before is not None and signal.getsignal(signal.SIGINT) is not before:
                raise KeyboardInterrupt from error
            if error.code in _TERMINATED:
                raise
            return Ended(0, Outcome.ERROR, "".join(traceback.format_exception(error)), order.resource, False)
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)

    def end(self, trial_id: int, outcome: Outcome, why: str) -> None:
        """Ends a segment that has not begun; a segment that trains cannot be ended from here."""
        for order in [order for order in self._queue if order.trial_id == trial_id]:
            self._queue.remove(order)
            self._ended.append((order, Ended(0, outcome, why, order.resource, reached_end=False)))

    def close(self) -> None:
        """Removes all segments that have not begun."""
        self._queue.clear()
        self._ended.clear()


def _interrupt_handler() -> Any:
    """Returns the handler of SIGINT; None outside the main thread, where it cannot be set."""
    return signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
