"""What a person sees in a notebook: a progress bar of one line while a study runs, and a study as a small table.

The bar is one output of the cell, which is replaced in place. There is no script, so a stored
notebook shows its last state.
"""

from __future__ import annotations

import html
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from rich.console import Console
from rich.text import Text

from lightning_hwtune.core.events import Event
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.views.amounts import counted, cut, duration, money, trials_text
from lightning_hwtune.views.announcements import totals
from lightning_hwtune.views.front_frame import FrontFrame
from lightning_hwtune.views.kept_values import without_logged
from lightning_hwtune.views.live import PrintingView
from lightning_hwtune.views.recommendation import recommended
from lightning_hwtune.views.status import n_epochs_spent, study_state
from lightning_hwtune.views.tables import front_frame

__all__ = ["NotebookView", "study_html"]

_REDRAW_S = 0.5
_MOST_FRONT = 10  # rows


@final
class NotebookView(PrintingView):
    """Replaces one line with a bar; only errors and other urgent lines are added to the output of the cell."""

    def __init__(self, state: StudyState, folder: Path, console: Console, storage: str | None = None) -> None:
        super().__init__(state, folder, console, storage)
        self._display_id = f"hwtune-{uuid.uuid4()}"
        self._is_shown, self._drawn_at = False, float("-inf")

    def on_events(self, events: Sequence[Event]) -> None:
        """Prints urgent lines, and replaces the bar if it is due."""
        urgent = [line for line in self._lines(events) if line.is_urgent]
        self._printer.print(Text(cut(line.text, 400)) for line in urgent)
        if self._state.closed is None:
            self.tick(events[-1].at)
            return
        self._draw(events[-1].at)
        self._printer.print_end(self._state, events, self._folder, self._storage)

    def tick(self, now: float) -> None:
        """Replaces the bar if it is due."""
        if self._state.closed is None and now - self._drawn_at >= _REDRAW_S:
            self._drawn_at = now
            self._draw(now)

    def line(self, text: str, now: float) -> None:
        """Prints the line."""
        self._printer.print([Text(cut(text, 400))])

    def close(self, now: float) -> None:
        """Does nothing: the bar shows how far the study came."""

    def _draw(self, now: float) -> None:
        from IPython.display import display, update_display

        left_s = self._countdown.left_s(now) if self._state.closed is None else float("nan")
        text = totals(self._state, now, left_s)
        bar = f'<progress value="{self._progress(now, left_s):.4f}" max="1"></progress> '
        data = {"text/plain": text, "text/html": f"{bar}{html.escape(text)}"}
        show: Any = update_display if self._is_shown else display
        show(data, raw=True, display_id=self._display_id)
        self._is_shown = True

    def _progress(self, now: float, left_s: float) -> float:
        """Returns the share of the time that has passed; 1 once the study is finished, 0 if it is unknown."""
        if self._state.closed is not None and self._state.closed.state == "finished":
            return 1.0
        passed_s = self._state.wall_s(now)
        return passed_s / (passed_s + left_s) if left_s == left_s and passed_s + left_s > 0 else 0.0


def study_html(state: StudyFacts, *, is_driven: bool) -> str:
    """Returns the state of a study as a table, with the front below it."""
    now, limits = state.last_at, state.limits
    trials = trials_text(len(state.searched), limits.max_trials)
    rows = {
        "state": study_state(state, is_driven),
        "trials": f"{trials}, {state.n_full} fully trained",
        "trained": counted(n_epochs_spent(state), state.ladder.unit),
        "time": duration(state.wall_s(now)),
    }
    if state.spec.has_price:
        rows["cost"] = money(state.billed_usd(now))
    if state.n_failed:
        rows["failed"] = counted(state.n_failed, "trials")
    best = recommended(state)
    if best is not None:
        rows["recommended"] = f"trial {best[0].trial.trial_id}, because {best[1]}"
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(key)}</th>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for key, value in rows.items()
    )
    text = f"<p><b>study {html.escape(state.spec.name)}</b></p><table>{cells}</table>"
    frame = without_logged(front_frame(state))
    if not len(frame):
        return text
    more = f", {len(frame) - _MOST_FRONT} more in study.front()" if len(frame) > _MOST_FRONT else ""
    front = FrontFrame(frame.head(_MOST_FRONT))._repr_html_()
    return f"{text}<p>front of {counted(len(frame), 'points')}{more}</p>{front}"
