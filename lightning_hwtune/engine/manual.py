"""Ask and tell: the caller trains in this process, on one device, one trial at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import ClassVar, final

from lightning_hwtune.core.decisions import Done, Wait
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.engine.executor import Abilities
from lightning_hwtune.engine.inline import DirectChannel
from lightning_hwtune.engine.loop import Loop
from lightning_hwtune.engine.session import Session
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.training.channel import Ended, SegmentOrder
from lightning_hwtune.training.context import ActiveSegment, require_no_segment, segment_context
from lightning_hwtune.training.lightning_classes import adapt_classes
from lightning_hwtune.training.process.rank_main import own_threads
from lightning_hwtune.training.repeated_lines import RepeatedLines
from lightning_hwtune.training.segment_end import conclude, interrupt_in, interrupt_text
from lightning_hwtune.training.trial import Trial

__all__ = ["Manual"]


@final
class _Caller:
    """An executor that leaves the training to the caller of `ask`."""

    abilities: ClassVar[Abilities] = Abilities(max_devices=1, max_segments=1)

    def __init__(self) -> None:
        self.order: SegmentOrder | None = None

    def start(self, order: SegmentOrder) -> None:
        """Stores the order, from which `ask` makes the trial's handle."""
        self.order = order

    def wait(self, sink: object, timeout_s: float) -> None:
        """Does nothing: the caller reports by `tell`."""

    def end(self, trial_id: int, outcome: Outcome, why: str) -> None:
        """Does nothing: the caller trains."""

    def close(self) -> None:
        """Removes the order."""
        self.order = None


@final
class Manual:
    """Hands out the segments of one session and takes back their results.

    Args:
        save_every: extra checkpoints, see `SegmentOrder`.
    """

    def __init__(self, session: Session, save_every: int | None = None) -> None:
        if max(session.controller.spec.allocator.counts) > 1:
            raise ArgumentError(
                session.controller.spec.space.devices_key or "devices",
                session.controller.spec.allocator.counts,
                "one device with ask and tell",
                hint="Several devices need one process per rank: use study.run(train).",
            )
        self._session, self._caller = session, _Caller()
        # the caller has seen the error and decides whether to continue
        self._watch: Callable[[], None] = lambda: None
        self._loop = Loop(
            session.controller, self._caller, session.clock, session.files,
            tick=lambda: self._watch(), save_every=save_every, is_first_error_fatal=False,
            inbox=session.inbox,
        )  # fmt: skip
        self._active: tuple[Trial, ActiveSegment, DirectChannel] | None = None
        self._context = contextlib.ExitStack()
        self._repeated = RepeatedLines()

    def watch(self, tick: Callable[[], None]) -> None:
        """Calls `tick` at each report from now on."""
        self._watch = tick

    def ask(self) -> Trial | None:
        """Returns the next trial's handle, or None when nothing is left to do.

        The global random generators are seeded for the trial. Until `tell`, torch uses the threads of one device.

        Raises:
            ArgumentError: `tell` was not called for the last trial.
            StudyLockedError: this process is training a trial of another study.
        """
        from lightning.pytorch import seed_everything

        if self._active is not None:
            raise ArgumentError(
                "trial", self._active[0].id, "one trial at a time",
                hint="If its training was interrupted, call study.close() and run the loop again: the trial continues "
                "from its checkpoint. If it has ended, first call study.tell(trial).",
            )  # fmt: skip
        require_no_segment()
        self._session.tick()
        answer = self._loop.step()
        if isinstance(answer, Done):
            self._session.finish(answer)
            return None
        order = self._caller.order
        if isinstance(answer, Wait) or order is None:
            return None
        channel = DirectChannel(order, self._loop)
        self._context.enter_context(self._repeated)
        self._context.enter_context(own_threads(order))
        segment = self._context.enter_context(segment_context(order, channel))
        adapt_classes("lightning.pytorch")
        segment.skips_evaluation = False  # code that reads the missing results would fail and end the caller's loop
        seed_everything(order.seed, workers=True, verbose=False)
        trial = Trial(segment)
        self._active = (trial, segment, channel)
        return trial

    def tell(self, trial: Trial, error: BaseException | str | None) -> str:
        """Ends the active trial's segment; returns the trial's new state."""
        if self._active is None or not self.has_asked(trial):
            raise ArgumentError("trial", trial, "the trial that ask() returned last")
        _, segment, channel = self._active
        raised = error if isinstance(error, BaseException) else None
        is_settled = segment.failure is None and segment.is_settled
        stop = interrupt_in(raised) or interrupt_in(segment.failure)
        if is_settled or stop is None:
            ended = conclude(segment, error)
        else:
            ended = Ended(0, Outcome.INTERRUPTED, interrupt_text(stop), segment.resource, False)
        self._leave()
        self._loop.ended(segment.order.trial_id, segment.order.segment, ended, channel.world_size)
        return str(self._session.controller.state.trials[segment.order.trial_id].state)

    def has_asked(self, trial: object) -> bool:
        """Return whether this is the trial that `ask` returned last and for which `tell` was not called."""
        return self._active is not None and self._active[0] is trial

    def _leave(self) -> None:
        self._active = None
        self._caller.close()
        self._context.close()

    @property
    def interrupt(self) -> str:
        """Which signal ended the fit of the active trial, in words; "" if none did."""
        stop = interrupt_in(self._active[1].failure) if self._active is not None else None
        return "" if stop is None else interrupt_text(stop)

    def close(self, why: str) -> None:
        """Ends the active trial as interrupted, for this reason, if `tell` was not called for it."""
        if self._active is not None:
            _, segment, channel = self._active
            self._leave()
            ended = Ended(0, Outcome.INTERRUPTED, why, segment.resource, False)
            self._loop.ended(segment.order.trial_id, segment.order.segment, ended, channel.world_size)
