"""The trials of a study that cannot begin a segment."""

from __future__ import annotations

from collections.abc import Container
from numbers import Integral
from typing import final

from lightning_hwtune.core.state import StudyState

__all__ = ["BoundTrials"]


@final
class BoundTrials(Container[int]):
    """The trials that cannot begin a segment, because they run or have ended for good, and those in `others`."""

    def __init__(self, state: StudyState, others: Container[int] = ()) -> None:
        self._state, self._others = state, others

    def __contains__(self, trial_id: object) -> bool:
        if trial_id in self._state.running or trial_id in self._others:
            return True
        return isinstance(trial_id, Integral) and self._state.trials[int(trial_id)].state.is_final
