"""What a person sees while a study runs: one compact panel on a terminal, plain lines everywhere else.

A view only watches: it gets events after they are stored, and changes nothing. If its output can no longer be written
(a closed pipe, a closed terminal, a full disk), the view stops printing and the study continues.
"""

from __future__ import annotations

import abc
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from lightning_hwtune.core.events import Event, SegmentEnded, SessionClosed
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.views.amounts import cut, duration
from lightning_hwtune.views.announcements import (
    CHECKING,
    CHECKING_AGAIN,
    IMPORTING,
    CheckFacts,
    Line,
    PayloadFacts,
    announce,
    checked,
    forecast,
    opening,
    totals,
)
from lightning_hwtune.views.end_of_run import print_closing
from lightning_hwtune.views.forecast import Countdown, checked_pace
from lightning_hwtune.views.panel import panel
from lightning_hwtune.views.study_location import located

__all__ = ["LinesView", "PanelView", "PrintingView", "QuietView", "View", "open_view"]

_REDRAW_S = 0.25
_LEAST_S, _MOST_S = 10.0, 60.0  # between two lines with the time left


class View(abc.ABC):
    """Shows the progress of a study."""

    @abc.abstractmethod
    def header(
        self, payload: PayloadFacts | None, *, is_checked: bool, is_over: bool = False, is_importing: bool = False
    ) -> None:
        """Shows the plan of the study, before anything trains.

        Args:
            payload: the training function as a file, if there is one.
            is_checked: whether a check comes first.
            is_over: whether nothing is left to train.
            is_importing: whether the first trials wait for imports; `imported` is called after them.
        """

    @abc.abstractmethod
    def imported(self, now: float) -> None:
        """Shows how long the study will take, after the imports for which its first trials waited."""

    @abc.abstractmethod
    def checking(self) -> None:
        """Shows that a check begins."""

    @abc.abstractmethod
    def checked(self, check: CheckFacts) -> None:
        """Shows the results of the check."""

    @abc.abstractmethod
    def on_events(self, events: Sequence[Event]) -> None:
        """Receives new events, which are already part of the state."""

    @abc.abstractmethod
    def tick(self, now: float) -> None:
        """Is called from time to time."""

    @abc.abstractmethod
    def line(self, text: str, now: float) -> None:
        """Shows a line about the session that is not in the log."""

    @abc.abstractmethod
    def close(self, now: float) -> None:
        """Removes the view from the screen. Afterwards only the end of the session is printed."""


def printer(*, enabled: bool) -> Callable[[str], None]:
    """Returns a function that prints a line, or does nothing."""
    console = Console(force_jupyter=False, highlight=False)
    return (lambda text: console.print(text, markup=False, soft_wrap=True)) if enabled else lambda text: None


def open_view(
    state: StudyState,
    folder: Path,
    storage: str | None = None,
    *,
    enabled: bool = True,
    owns_screen: bool = True,
    is_asked: bool = False,
    console: Console | None = None,
) -> View:
    """Returns the view for the output: a panel on a terminal, a bar in a notebook, otherwise lines; or a silent one.

    Args:
        folder: the folder of the study's files, which is printed first.
        storage: URL of the study's log, if it is elsewhere.
        owns_screen: False if other code prints as well, which a panel would disturb.
        is_asked: whether the user's own loop asks for the trials.
    """
    if not enabled:
        return QuietView()
    is_default = console is None
    # in a notebook, rich would wrap each line in separate HTML
    console = console or Console(force_jupyter=False, highlight=False)
    # with FORCE_COLOR, rich treats any file as a terminal
    if owns_screen and console.is_terminal and not console.is_dumb_terminal and console.file.isatty():
        return PanelView(state, folder, console, storage)
    if owns_screen and is_default and is_notebook():
        from lightning_hwtune.views.notebook import NotebookView

        return NotebookView(state, folder, console, storage)
    return LinesView(state, folder, console, storage, is_asked=is_asked)


def is_notebook() -> bool:
    """Return whether this process is the kernel of a notebook, which can replace an output."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


@final
class QuietView(View):
    """Prints nothing."""

    def header(
        self, payload: PayloadFacts | None, *, is_checked: bool, is_over: bool = False, is_importing: bool = False
    ) -> None:
        """Prints nothing."""

    def imported(self, now: float) -> None:
        """Prints nothing."""

    def checking(self) -> None:
        """Prints nothing."""

    def checked(self, check: CheckFacts) -> None:
        """Prints nothing."""

    def on_events(self, events: Sequence[Event]) -> None:
        """Prints nothing."""

    def tick(self, now: float) -> None:
        """Does nothing."""

    def line(self, text: str, now: float) -> None:
        """Prints nothing."""

    def close(self, now: float) -> None:
        """Does nothing."""


class PrintingView(View):
    """Prints what comes before the trials as plain lines."""

    def __init__(
        self,
        state: StudyState,
        folder: Path,
        console: Console,
        storage: str | None = None,
        *,
        is_asked: bool = False,
    ) -> None:
        self._is_asked = is_asked
        self._state, self._folder, self._storage, self._printer = state, folder, storage, _Printer(console)
        self._countdown = Countdown(state)

    def header(
        self, payload: PayloadFacts | None, *, is_checked: bool, is_over: bool = False, is_importing: bool = False
    ) -> None:
        """Prints folder, objectives, limits and rungs, and the forecast of a study that continues, if it is known."""
        lines = opening(self._state, self._folder, payload, is_checked=is_checked, is_over=is_over)
        self._printer.print(lines)
        if not is_over and not is_checked:
            self._printer.print([IMPORTING] if is_importing else forecast(self._state))

    def imported(self, now: float) -> None:
        """Prints how long the study will take."""
        self._printer.print(forecast(self._state, passed_s=max(now - self._state.last_at, 0.0)))

    def checking(self) -> None:
        """Prints that a check runs first."""
        self._printer.print([CHECKING_AGAIN if self._state.trials else CHECKING])

    def checked(self, check: CheckFacts) -> None:
        """Prints the results of the check."""
        self._printer.print(checked(self._state, check))
        self._countdown.checked = checked_pace(check)

    def _lines(self, events: Sequence[Event]) -> Iterator[Line]:
        """Yields the lines about events, with commands that find the study."""
        for line in announce(self._state, events, is_asked=self._is_asked):
            yield Line(located(line.text, self._folder, self._storage), line.is_urgent)


@final
class LinesView(PrintingView):
    """Prints one line per notable event, with the study's time before it."""

    _next_at = math.inf  # time of the next line with the time left; none before a segment has ended

    def on_events(self, events: Sequence[Event]) -> None:
        """Prints a line for each notable event, and the front at the end."""
        for line in self._lines(events):
            self._say(line, events[-1].at)
        self._printer.print_end(self._state, events, self._folder, self._storage)
        if math.isinf(self._next_at) and any(isinstance(event, SegmentEnded) for event in events):
            self._next_at = events[-1].at

    def line(self, text: str, now: float) -> None:
        """Prints the line, like one about an event."""
        self._say(Line(text), now)

    def _say(self, line: Line, at: float) -> None:
        self._printer.print([Text(f"{duration(self._state.wall_s(at)):>12}  {line.text}")])

    def tick(self, now: float) -> None:
        """Prints the progress of the study and how long it will still take.

        The first line is printed once a segment has ended, because the pace is unknown before. Further lines follow
        after each tenth of the time left, but at least ten seconds and at most one minute after the last one.
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
class PanelView(PrintingView):
    """Redraws a few lines at the bottom of a terminal; errors scroll by above them."""

    def __init__(self, state: StudyState, folder: Path, console: Console, storage: str | None = None) -> None:
        super().__init__(state, folder, console, storage)
        self._console = console
        self._live: Live | None = None
        self._drawn_at = float("-inf")
        self._is_over = False

    def on_events(self, events: Sequence[Event]) -> None:
        """Prints urgent lines, and draws the panel if it is due."""
        urgent = [line for line in self._lines(events) if line.is_urgent]
        self._printer.print(Text(cut(line.text, 400)) for line in urgent)
        if not self._printer.print_end(self._state, events, self._folder, self._storage):
            self.tick(events[-1].at)

    def tick(self, now: float) -> None:
        """Draws the panel if it is due."""
        if self._is_over or now - self._drawn_at < _REDRAW_S:
            return
        self._drawn_at = now
        self._printer.attempt(lambda: self._draw(now))

    def line(self, text: str, now: float) -> None:
        """Prints the line above the panel."""
        self._printer.print([Text(cut(text, 400))])

    def _draw(self, now: float) -> None:
        if self._live is None:
            # no refresh thread, because this process forks
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        shown = panel(self._state, now, self._console.width, self._countdown.left_s(now))
        self._live.update(Group(*shown), refresh=True)

    def close(self, now: float) -> None:
        """Removes the panel from the screen."""
        self._is_over = True
        if self._live is not None:
            self._printer.attempt(self._live.stop)


@final
class _Printer:
    """Prints until its output can no longer be written."""

    def __init__(self, console: Console) -> None:
        self._console, self._is_gone = console, False

    def print(self, items: Iterable[RenderableType]) -> None:
        """Prints each item on its own lines; text is not wrapped."""
        for item in items:
            self.attempt(partial(self._console.print, item, soft_wrap=isinstance(item, Text)))

    def print_end(self, state: StudyState, events: Sequence[Event], folder: Path, storage: str | None) -> bool:
        """Prints the closing lines if the session has ended; returns whether it has."""
        ends = [event for event in events if isinstance(event, SessionClosed)]
        for end in ends:
            self.attempt(lambda: print_closing(self._console, state, end, folder, storage))  # noqa: B023
        return bool(ends)

    def attempt(self, action: Callable[[], None]) -> None:
        """Runs the action unless the output has failed; remembers if it fails now."""
        if self._is_gone:
            return
        try:
            action()
        except (OSError, ValueError):  # ValueError: the file was closed
            self._is_gone = True
        except SystemExit:  # rich raises this for a broken pipe after setting `quiet`; signals raise it without
            if not self._console.quiet:
                raise
            self._is_gone = True
