"""What a person sees while a study runs: one compact panel on a terminal, plain lines everywhere else.

A view watches: it is told events after they are durable and changes nothing. If its output goes away (a closed pipe, a
terminal that hung up, a full disk), it falls silent and the study goes on.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from lightning_hwtune.core.events import Event, SegmentEnded, SessionClosed
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.report.amounts import cut, duration
from lightning_hwtune.report.announcements import (
    CHECKING,
    CheckFacts,
    Line,
    PayloadFacts,
    announce,
    checked,
    opening,
    totals,
)
from lightning_hwtune.report.closing import print_closing
from lightning_hwtune.report.forecast import Countdown, checked_pace
from lightning_hwtune.report.panel import panel

__all__ = ["LinesView", "PanelView", "QuietView", "View", "open_view"]

_REDRAW_S = 0.25
_LEAST_S, _MOST_S = 10.0, 60.0  # between two lines with what is left


class View(abc.ABC):
    """Watches a study."""

    @abc.abstractmethod
    def header(self, payload: PayloadFacts | None) -> None:
        """Says what is about to happen, before anything trains."""

    @abc.abstractmethod
    def checking(self) -> None:
        """Says that a check begins."""

    @abc.abstractmethod
    def checked(self, check: CheckFacts) -> None:
        """Says what the check found."""

    @abc.abstractmethod
    def on_events(self, events: Sequence[Event]) -> None:
        """Is told events, which are in the state."""

    @abc.abstractmethod
    def tick(self, now: float) -> None:
        """Is called now and then."""

    @abc.abstractmethod
    def close(self, now: float) -> None:
        """Gives the screen back. Only the end of the session is still told afterwards."""


def open_view(
    state: StudyState,
    folder: Path,
    storage: str | None = None,
    *,
    enabled: bool = True,
    owns_screen: bool = True,
    console: Console | None = None,
) -> View:
    """Returns the view that fits where the output goes: a panel on a terminal, lines elsewhere, nothing if disabled.

    Args:
        folder: where the study's files are; it is printed first. storage: URL of its log, if that is elsewhere.
        owns_screen: False where other code prints as well, which a panel would disturb.
    """
    if not enabled:
        return QuietView()
    # rich would wrap each line of a notebook in HTML of its own
    console = console or Console(force_jupyter=False, highlight=False)
    # FORCE_COLOR makes rich take any file for a terminal
    if owns_screen and console.is_terminal and not console.is_dumb_terminal and console.file.isatty():
        return PanelView(state, folder, console, storage)
    return LinesView(state, folder, console, storage)


@final
class QuietView(View):
    """Says nothing."""

    def header(self, payload: PayloadFacts | None) -> None:
        """Says nothing."""

    def checking(self) -> None:
        """Says nothing."""

    def checked(self, check: CheckFacts) -> None:
        """Says nothing."""

    def on_events(self, events: Sequence[Event]) -> None:
        """Says nothing."""

    def tick(self, now: float) -> None:
        """Does nothing."""

    def close(self, now: float) -> None:
        """Does nothing."""


@final
class LinesView(View):
    """One line for each event worth one, with the study's time before it."""

    def __init__(self, state: StudyState, folder: Path, console: Console, storage: str | None = None) -> None:
        self._state, self._folder, self._storage, self._printer = state, folder, storage, _Printer(console)
        self._countdown = Countdown(state)
        self._next_at = math.inf  # of the line with what is left: none before a segment has ended

    def header(self, payload: PayloadFacts | None) -> None:
        """Prints folder, objectives, limits and rungs."""
        self._printer.print(opening(self._state, self._folder, payload))

    def checking(self) -> None:
        """Prints that the first seconds go into a check."""
        self._printer.print([CHECKING])

    def checked(self, check: CheckFacts) -> None:
        """Prints what was found."""
        self._printer.print(checked(self._state, check))
        self._countdown.checked = checked_pace(check)

    def on_events(self, events: Sequence[Event]) -> None:
        """Prints a line where there is something to say, and the front in the end."""
        for line in announce(self._state, events):
            self._say(line, events[-1].at)
        self._printer.print_end(self._state, events, self._folder, self._storage)
        if math.isinf(self._next_at) and any(isinstance(event, SegmentEnded) for event in events):
            self._next_at = events[-1].at

    def _say(self, line: Line, at: float) -> None:
        self._printer.print([Text(f"{duration(self._state.wall_s(at)):>12}  {line.text}")])

    def tick(self, now: float) -> None:
        """Prints how far the study is and how long it will take.

        It does so once a segment has ended, so that there is a pace, then after each tenth of what is left, but not
        more often than every ten seconds, and at least once a minute.
        """
        if now < self._next_at or self._state.closed is not None:
            return
        left_s = self._countdown.left_s(now)
        pause_s = left_s / 10 if math.isfinite(left_s) else _MOST_S
        self._next_at = now + min(max(pause_s, _LEAST_S), _MOST_S)
        self._say(Line(totals(self._state, now, left_s)), now)

    def close(self, now: float) -> None:
        """Does nothing."""


@final
class PanelView(View):
    """A few lines at the bottom of a terminal that are drawn anew; errors scroll by above them."""

    def __init__(self, state: StudyState, folder: Path, console: Console, storage: str | None = None) -> None:
        self._state, self._folder, self._storage = state, folder, storage
        self._console, self._printer = console, _Printer(console)
        self._live: Live | None = None
        self._drawn_at = float("-inf")
        self._countdown = Countdown(state)
        self._is_over = False

    def header(self, payload: PayloadFacts | None) -> None:
        """Prints folder, objectives, limits and rungs."""
        self._printer.print(opening(self._state, self._folder, payload))

    def checking(self) -> None:
        """Prints that the first seconds go into a check."""
        self._printer.print([CHECKING])

    def checked(self, check: CheckFacts) -> None:
        """Prints what was found."""
        self._printer.print(checked(self._state, check))
        self._countdown.checked = checked_pace(check)

    def on_events(self, events: Sequence[Event]) -> None:
        """Prints what must not be missed, and draws the panel if it is due."""
        urgent = [line for line in announce(self._state, events) if line.is_urgent]
        self._printer.print(Text(cut(line.text, 400)) for line in urgent)
        if not self._printer.print_end(self._state, events, self._folder, self._storage):
            self.tick(events[-1].at)

    def tick(self, now: float) -> None:
        """Draws the panel if it is due."""
        if self._is_over or now - self._drawn_at < _REDRAW_S:
            return
        self._drawn_at = now
        self._printer.attempt(lambda: self._draw(now))

    def _draw(self, now: float) -> None:
        if self._live is None:
            # no thread of its own: processes are forked beside it
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        shown = panel(self._state, now, self._console.width, self._countdown.left_s(now))
        self._live.update(Group(*shown), refresh=True)

    def close(self, now: float) -> None:
        """Takes the panel off the screen."""
        self._is_over = True
        if self._live is not None:
            self._printer.attempt(self._live.stop)


@final
class _Printer:
    """Prints until the output goes away."""

    def __init__(self, console: Console) -> None:
        self._console, self._is_gone = console, False

    def print(self, items: Iterable[RenderableType]) -> None:
        """Prints each item on its own lines; text is not wrapped."""
        for item in items:
            self.attempt(partial(self._console.print, item, soft_wrap=isinstance(item, Text)))

    def print_end(self, state: StudyState, events: Sequence[Event], folder: Path, storage: str | None) -> bool:
        """Prints what is shown last if the session has ended; returns whether it has."""
        ends = [event for event in events if isinstance(event, SessionClosed)]
        for end in ends:
            self.attempt(lambda: print_closing(self._console, state, end, folder, storage))  # noqa: B023
        return bool(ends)

    def attempt(self, action: Callable[[], None]) -> None:
        """Does it unless the output is gone; notes when it goes."""
        if self._is_gone:
            return
        try:
            action()
        except (OSError, ValueError):  # ValueError: the file was closed
            self._is_gone = True
        except SystemExit:  # rich's answer to a broken pipe; it goes quiet first, a signal's SystemExit does not
            if not self._console.quiet:
                raise
            self._is_gone = True
