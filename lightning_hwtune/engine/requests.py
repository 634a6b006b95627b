"""The requests of other processes: the loop looks at the study's inbox and carries them out.

A trial that the user stops ends at once where the executor can end a segment, and otherwise at its next report. The end
of a session is that of Ctrl-C: trials that report within a second pause, and the others continue later from their last
checkpoint. A request is removed from the inbox after the log has what it changed. If the process is killed in between,
the next session finds it again, where it changes nothing.
"""

from __future__ import annotations

import math
from typing import final

from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Done, Reason, Rule
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.core.requests import BY_REQUEST, EndSession, EnqueueConfig, Request, request_from
from lightning_hwtune.engine.executor import Executor, abilities_of
from lightning_hwtune.errors import ArgumentError, StorageError, StudyLockedError
from lightning_hwtune.store.inbox import Inbox

__all__ = ["Requests", "take_requests"]

_EVERY_S = 0.5
_AWAY_S = 20.0  # how long it does not look again after the database did not answer


def take_requests(controller: Controller, inbox: Inbox, now: float) -> bool:
    """Carries out the requests in the inbox; returns whether the present session is to end.

    Raises:
        StorageError, StudyLockedError: the database cannot be read or written.
    """
    found = inbox.pending()
    if not found:
        return False
    is_over = False
    for _, data in found:
        try:
            is_over = _carry_out(controller, request_from(data), now) or is_over
        except (ArgumentError, ValueError) as error:
            controller.note(None, f"a request was dropped: {error}", now)
    inbox.remove([number for number, _ in found])
    return is_over


def _carry_out(controller: Controller, request: Request, now: float) -> bool:
    """Carries out one request; returns whether the present session is to end."""
    state = controller.state
    if isinstance(request, EndSession):
        return state.session is not None and request.session == state.session.number
    if isinstance(request, EnqueueConfig):
        if not state.knows(request.config):
            controller.enqueue(request.config, now)
    else:
        controller.stop(request.trial_id, BY_REQUEST, now)
    return False


@final
class Requests:
    """The requests to the study of one loop.

    Args:
        inbox: None for a study that has none, such as a simulated one.
    """

    def __init__(self, controller: Controller, executor: Executor, inbox: Inbox | None) -> None:
        self._controller, self._executor, self._inbox = controller, executor, inbox
        self._can_end = not abilities_of(executor).trains_here
        self._next_at, self._ended = -math.inf, set[tuple[int, int]]()
        self.is_over = False

    @property
    def done(self) -> Done:
        """The answer of a loop whose session was ended by a request."""
        return Done(Reason(Rule.ASKED, f"the session was ended because {BY_REQUEST}"))

    def look(self, now: float) -> None:
        """Carries out what is in the inbox, at most twice per second."""
        if self._inbox is None or now < self._next_at:
            return
        self._next_at = now + _EVERY_S
        try:
            is_over = take_requests(self._controller, self._inbox, now)
        except (StorageError, StudyLockedError):  # a server that is away, or a full disk; the requests are kept
            self._next_at = now + _AWAY_S
            return
        if is_over and not self.is_over:
            self.is_over = True
            self._controller.pause_at_reports(BY_REQUEST)

    def end_stopped(self) -> None:
        """Ends the segments of trials that the user has stopped, once each."""
        if not self._can_end:
            return
        for trial_id, segment in self._controller.state.running.items():
            why, key = self._controller.state.trials[trial_id].stopped_because, (trial_id, segment.number)
            if why and key not in self._ended:
                self._ended.add(key)
                self._executor.end(trial_id, Outcome.INTERRUPTED, why)
