"""What is shown last, however a study is run: its front, and the commands that show more."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from lightning_hwtune.core.decisions import Rule
from lightning_hwtune.core.events import SessionClosed, SessionState
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.names.spelling import spelled
from lightning_hwtune.text import TO_CONTINUE
from lightning_hwtune.views.added import added_hint
from lightning_hwtune.views.best_epochs import best_hint
from lightning_hwtune.views.infeasible import infeasible_hint
from lightning_hwtune.views.kept_values import without_logged
from lightning_hwtune.views.replicates import replicates_frame, replicates_hint, replicates_title
from lightning_hwtune.views.study_location import present, reading_command, short_path
from lightning_hwtune.views.tables import front_frame, with_checkpoints
from lightning_hwtune.views.terminal import print_frame, print_legend
from lightning_hwtune.views.weak_members import weak_member_hint

__all__ = ["front_title", "print_additions", "print_closing"]

_NO_END = (SessionState.INTERRUPTED, "closed")


def print_closing(console: Console, state: StudyFacts, end: SessionClosed, folder: Path, storage: str | None) -> None:
    """Prints the front of a study whose session has ended by itself, what shows more, and what continues the study.

    Prints nothing after an interruption or after `study.close()`, and no front if nothing was measured.
    """
    if end.state in _NO_END or end.reason in _NO_END:
        return
    if any(trial.measurements for trial in state.trials):
        _print_results(console, state, end, folder, storage)
    if end.rule == Rule.NO_NODES:
        console.print(f"{TO_CONTINUE} when these nodes can join", markup=False, soft_wrap=True)


def _print_results(console: Console, state: StudyFacts, end: SessionClosed, folder: Path, storage: str | None) -> None:
    if state.is_replicating:  # the front has not changed
        print_additions(console, state, folder.name)
        return
    frame = without_logged(front_frame(state))
    infeasible = infeasible_hint(state)
    if len(frame):
        found = [present(folder, path) for path in frame["checkpoint"]]
        paths = [None if path is None else str(short_path(path)) for path in found]
        print_frame(console, with_checkpoints(frame, paths), front_title(folder.name, "full"))
        print_legend(console, frame)
        words = "front", "why TRIAL"
        for hint in filter(None, (best_hint(state), weak_member_hint(state))):
            console.print(hint, markup=False, soft_wrap=True)
    else:
        console.print(f"the front of {folder.name} is still empty", markup=False, soft_wrap=True)
        words = "front --at any", "why TRIAL"
    if infeasible:
        console.print(infeasible, markup=False, soft_wrap=True)
    print_additions(console, state, folder.name)
    commands = "   ".join(reading_command(item, folder, storage) for item in words)
    console.print(f"next: {commands}", markup=False, soft_wrap=True)
    if limits := _limits_to_raise(state, end):
        raised = " or ".join(f"`{name}`" for name in limits)
        n_begun, most = len(state.searched), state.limits.max_trials
        is_lowered = limits == ["max_trials"] and most is not None and n_begun > most
        text = f"{TO_CONTINUE} with " + (f"{raised} higher than {n_begun}" if is_lowered else f"a higher {raised}")
        if "max_trials" in limits and state.n_failed:
            text += f"; {_failed_count(state.n_failed)}"
        console.print(spelled(text), markup=False, soft_wrap=True)


def _limits_to_raise(state: StudyFacts, end: SessionClosed) -> list[str]:
    """Returns the limits that ended a session; none if it ended by another rule."""
    limits = state.limits
    if end.rule == Rule.NO_NODES:
        return []
    if end.state == SessionState.PAUSED:
        timed = {"max_time": limits.max_time_s, "max_cost": limits.max_cost_usd}
        return [name for name, value in timed.items() if value is not None]
    is_full = limits.max_trials is not None and len(state.searched) >= limits.max_trials and not state.is_replicating
    return ["max_trials"] if end.state == SessionState.FINISHED and is_full else []


def _failed_count(n: int) -> str:
    """Returns that failed trials count in `max_trials`, and how their configurations are tried again."""
    trials = "1 failed trial counts" if n == 1 else f"{n} failed trials count"
    configurations = "its configuration" if n == 1 else "their configurations"
    return f"{trials} in that number, and `study.enqueue(...)` queues {configurations} again"


def print_additions(console: Console, state: StudyFacts, name: str) -> None:
    """Prints what belongs to a front in addition: results from elsewhere that beat it, and replicates."""
    if state.replicates:
        print_frame(console, replicates_frame(state), replicates_title(name))
    for hint in filter(None, (replicates_hint(state), added_hint(state))):
        console.print(hint, markup=False, soft_wrap=True)


def front_title(name: str, at: str) -> str:
    """Returns the title of a front; `at` as in `tables.front_frame`."""
    titles = {"full": "fully trained trials", "rung": "one front per rung", "any": "last measurements"}
    return f"front of {name}, {titles.get(at, at)}"
