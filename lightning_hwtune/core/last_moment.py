"""The moment at which a limit of time ends segments that have not reported yet.

A segment that has reported has a pace, so it pauses at its last report within the limit. Without a report, its pace or
its start-up is only expected. If it takes longer, it ends between reports, at the moment at which the limit is reached.
It loses the epoch that it has begun, and nothing else: it resumes from the checkpoint from which it began. A limit of
money has its own guard; see `core.budget`.
"""

from __future__ import annotations

import math

from lightning_hwtune.core.remaining import Remaining
from lightning_hwtune.core.state import StudyState

__all__ = ["last_moment_s", "without_report"]


def without_report(state: StudyState) -> list[int]:
    """Returns the running trials whose segments have not reported."""
    return [segment.trial_id for segment in state.running.values() if segment.reached == segment.resource]


def last_moment_s(state: StudyState, now: float) -> float:
    """Returns the seconds until such segments must end; 0 if the limit is reached, infinity if nothing is to end."""
    if state.limits.max_time_s is None or not without_report(state):
        return math.inf
    left = Remaining(state)
    left_s = state.limits.max_time_s - state.wall_s(now)
    return left_s if left_s > left.rounding_s else 0.0
