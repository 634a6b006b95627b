"""How long a study will take, at the pace that a check or its own segments have shown; see `core.outlook`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, final

from lightning_hwtune.core.outlook import Outlook, Pace, outlook
from lightning_hwtune.core.schedulers import scheduler_from_settings
from lightning_hwtune.core.state import Segment, StudyState

__all__ = ["PaceFacts", "StartUps", "checked_pace", "seen_pace", "start_ups", "time_left_s"]

_ENOUGH_SEGMENTS = 4
_MAX_TRIALS = 300  # more of them take too long to run forward
_MAX_FIRST_RUNG = 30


class PaceFacts(Protocol):
    """What a check has measured; see `engine.check.Check`."""

    @property
    def epochs_s(self) -> Mapping[int, float]: ...
    @property
    def startup_s(self) -> float: ...
    @property
    def warm_up_s(self) -> float: ...


@final
@dataclass(frozen=True, slots=True)
class StartUps:
    """What part of a study the start-ups of its segments will be, and from which first rung on it is half of that."""

    share: float
    first_rung: int | None


def checked_pace(check: PaceFacts) -> Pace | None:
    """Returns the pace that a check has measured; None if the length of an epoch is unknown."""
    known = [seconds for seconds in check.epochs_s.values() if math.isfinite(seconds)]
    if not known:
        return None
    startup_s = check.startup_s if math.isfinite(check.startup_s) else 0.0
    return Pace(sum(known) / len(known), startup_s, check.warm_up_s)


def seen_pace(state: StudyState) -> Pace | None:
    """Returns the pace of the segments that have ended; None before there are some."""
    ended = _ended(state)
    if not ended:
        return None
    # running trials too: those that ended first are the fast ones
    measured = (trial.last for trial in state.trials)
    paces = [last.train_s / last.resource for last in measured if last is not None and last.resource > 0]
    starting_s = sum(max(segment.wall_s - _trained_s(segment), 0.0) for segment in ended) / len(ended)
    return Pace(sum(paces) / len(paces), starting_s) if paces else None


def time_left_s(state: StudyState, now: float, checked: Pace | None = None) -> float:
    """Returns the seconds until the study ends or stops at a limit; NaN if nobody can know.

    Args:
        checked: what its check has measured, if it is known here; it counts until some segments have ended.
    """
    limits = state.limits
    bound_s = math.inf if limits.max_time_s is None else max(limits.max_time_s - state.wall_s(now), 0.0)
    pace = seen_pace(state) if len(_ended(state)) >= _ENOUGH_SEGMENTS or checked is None else checked
    if pace is not None and limits.max_trials is not None and limits.max_trials <= _MAX_TRIALS:
        bound_s = min(bound_s, outlook(state, now, pace).left_s)
    return bound_s if math.isfinite(bound_s) else math.nan


def start_ups(state: StudyState, pace: Pace) -> StartUps | None:
    """Returns what part start-ups will be where one takes longer than training to the first rung; else None."""
    levels, n_trials, settings = state.race.levels, state.limits.max_trials, state.spec.scheduler.settings()
    if n_trials is None or n_trials > _MAX_TRIALS or state.trials or pace.startup_s <= levels[0] * pace.epoch_s:
        return None
    share = _share(outlook(state, state.last_at, pace, n_runs=1))
    for first in range(levels[0] + 1, min(levels[-1], _MAX_FIRST_RUNG) + 1 if "first_rung" in settings else 0):
        try:
            changed = scheduler_from_settings({**settings, "first_rung": first})
            if len(changed.levels) < 2:  # nothing would be stopped early
                break
            other = StudyState(dataclasses.replace(state.spec, scheduler=changed))
        except ValueError:  # not a first rung of this scheduler
            continue
        other.limits = state.limits
        if _share(outlook(other, state.last_at, pace, n_runs=1)) <= share / 2:
            return StartUps(share, first)
    return StartUps(share, None)


def _share(found: Outlook) -> float:
    return found.starting_device_s / found.device_s if found.device_s > 0 else 0.0


def _ended(state: StudyState) -> list[Segment]:
    return [segment for segment in state.segments if segment.ended_at is not None and segment.epochs > 0]


def _trained_s(segment: Segment) -> float:
    return max(segment.train_s - segment.base_train_s, 0.0)
