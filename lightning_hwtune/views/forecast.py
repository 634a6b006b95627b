"""How long a study will take, at the pace measured by its check or its own segments; see `core.outlook`."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, final

from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Done
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.outlook import Outlook, cheaply_drawn, outlook
from lightning_hwtune.core.pace import Pace, SeenPaces
from lightning_hwtune.core.remaining import Remaining, full_trainings
from lightning_hwtune.core.schedulers import scheduler_from_settings
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.views.amounts import counted, duration

__all__ = [
    "Countdown",
    "PaceFacts",
    "StartUps",
    "TimeLeft",
    "checked_pace",
    "full_trainings_text",
    "start_ups",
    "time_left",
    "time_left_s",
]

_MAX_FIRST_RUNG = 30
_REDO_S, _RARELY, _SOON = 5.0, 50.0, 10.0


class PaceFacts(Protocol):
    """What a check has measured; see `engine.check.Check`."""

    @property
    def units_s(self) -> Mapping[int, float]: ...
    @property
    def startup_s(self) -> float: ...
    @property
    def warm_up_s(self) -> float: ...


@final
@dataclass(frozen=True, slots=True)
class StartUps:
    """The fraction of a study that start-ups of segments take, and the lowest first rung that halves it (or None)."""

    share: float
    first_rung: int | None


@final
@dataclass(frozen=True, slots=True)
class TimeLeft:
    """The seconds until a study ends or reaches a limit, whichever is first.

    Attributes:
        left_s: the forecast; NaN if it is unknown.
        low_s, high_s: the range in which they are with a probability of 80 %, by the spread of the simulations that the
            forecast is made from; NaN if it is not made from simulations.
    """

    left_s: float = math.nan
    low_s: float = math.nan
    high_s: float = math.nan

    @property
    def range_s(self) -> tuple[float, float] | None:
        """The range; None if it is unknown."""
        return (self.low_s, self.high_s) if math.isfinite(self.low_s + self.high_s) else None


def checked_pace(check: PaceFacts) -> Pace | None:
    """Returns the pace that a check has measured; None if the duration of an epoch is unknown."""
    known = {count: seconds for count, seconds in check.units_s.items() if math.isfinite(seconds)}
    startup_s = check.startup_s if math.isfinite(check.startup_s) else 0.0
    return Pace(known, startup_s, check.warm_up_s) if known else None


def time_left(state: StudyState, now: float, checked: Pace | None = None) -> TimeLeft:
    """Returns the forecast of the seconds that a study still takes, with its range.

    Args:
        checked: the pace that its check has measured, if it is known here.
    """
    limits, paces = state.limits, SeenPaces(state, checked)
    if not state.running and _is_done(state, now):
        return TimeLeft(0.0, 0.0, 0.0)
    limit_s = _time_limit_s(state, now)
    if paces and (limits.max_trials is not None or state.is_replicating):
        found = outlook(state, now, paces)
        return TimeLeft(*(min(seconds, limit_s) for seconds in (found.left_s, found.low_s, found.high_s)))
    left_s = min(limit_s, _cost_limit_s(state, now))
    return TimeLeft(left_s) if math.isfinite(left_s) else TimeLeft()


def time_left_s(state: StudyState, now: float, checked: Pace | None = None) -> float:
    """Returns the forecast of `time_left` without its range; NaN if it is unknown."""
    return time_left(state, now, checked).left_s


def full_trainings_text(state: StudyFacts, checked: Pace | None = None, passed_s: float = 0.0) -> str:
    """Returns how many models can be fully trained within the limits of time and money; empty if that is unknown.

    Args:
        passed_s: seconds that count for the limit of time, but are not in the log yet.
    """
    found = full_trainings(state, state.last_at, SeenPaces(state, checked), passed_s=passed_s)
    if found is None:
        return ""
    n, seconds = found
    models = f"about {counted(n, 'models')}" if n else "no model"
    return f"within the rest of the limits, {models} can be fully trained; one takes about {duration(seconds)}"


def _is_done(state: StudyState, now: float) -> bool:
    answer = Controller(cheaply_drawn(state), lambda events: None).ask(now, state.places)
    return isinstance(answer, Done)


def _time_limit_s(state: StudyState, now: float) -> float:
    limit_s = state.limits.max_time_s
    return math.inf if limit_s is None else max(limit_s - state.wall_s(now), 0.0)


def _cost_limit_s(state: StudyState, now: float) -> float:
    """Returns the seconds until the budget is spent, at the study's rate so far; infinity if nothing is spent yet."""
    if state.spec.pool.is_paid_whole:
        return max(Remaining(state).node_s(now), 0.0)
    limit_usd, spent_usd = state.limits.max_cost_usd, state.billed_usd(now)
    if limit_usd is None or spent_usd <= 0:
        return math.inf
    return max(limit_usd - spent_usd, 0.0) * state.wall_s(now) / spent_usd


@final
class Countdown:
    """The forecast of a running study, which is updated from time to time and counted down in between.

    It is updated at most every few seconds, and so rarely that it takes at most 2 % of the time; one that has run out
    is updated sooner, which may take 10 %.

    Args:
        clock: measures how long a forecast takes.
    """

    def __init__(self, state: StudyState, clock: Callable[[], float] = time.perf_counter) -> None:
        self._state, self._clock = state, clock
        self._due_at, self._soon_at, self._end_at = -math.inf, -math.inf, math.nan
        self.checked: Pace | None = None

    def left_s(self, now: float) -> float:
        """Returns the seconds that are left; NaN if that is unknown."""
        if now >= self._due_at or now >= max(self._end_at, self._soon_at):
            began = self._clock()
            self._end_at = now + time_left_s(self._state, now, self.checked)
            taken_s = self._clock() - began
            self._due_at = now + max(_REDO_S, _RARELY * taken_s)
            self._soon_at = now + max(_REDO_S, _SOON * taken_s)
        return max(self._end_at - now, 0.0) if math.isfinite(self._end_at) else math.nan


def start_ups(state: StudyState, pace: Pace) -> StartUps | None:
    """Returns the fraction that start-ups take, if one takes longer than training to the first rung; otherwise None."""
    levels, n_trials, settings = state.ladder.levels, state.limits.max_trials, state.spec.scheduler.settings()
    if n_trials is None or state.trials or pace.startup_s <= levels[0] * pace.epoch_s:
        return None
    share = _share(outlook(state, state.last_at, SeenPaces(state, pace), n_runs=1))
    for first in range(levels[0] + 1, min(levels[-1], _MAX_FIRST_RUNG) + 1 if "first_rung" in settings else 0):
        try:
            changed = scheduler_from_settings({**settings, "first_rung": first})
            if first * changed.ladder.eta > changed.max_resource:  # hardly any training would be saved
                break
            other = StudyState(dataclasses.replace(state.spec, scheduler=changed))
        except ValueError:  # this scheduler does not allow it as first rung
            continue
        other.limits = state.limits
        if _share(outlook(other, state.last_at, SeenPaces(other, pace), n_runs=1)) <= share / 2:
            return StartUps(share, first)
    return StartUps(share, None)


def _share(found: Outlook) -> float:
    return found.starting_device_s / found.device_s if found.device_s > 0 else 0.0
