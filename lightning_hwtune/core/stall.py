"""When the front of a study has stopped growing: the limit `stop_when="stalled"`.

The hypervolume of the fully trained trials is compared with that of those that were complete when the trial `n_trials`
before the newest one began. Both are measured on one scale (`ranking.scale`), up to 1.1 in every objective.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import final

import numpy as np

from lightning_hwtune.core.feasibility import violator_mask
from lightning_hwtune.core.ranking.hypervolume import hypervolume
from lightning_hwtune.core.ranking.scale import Scale
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.forms.run_options import stalled_after
from lightning_hwtune.text import counted

__all__ = ["Stall"]

_REFERENCE = 1.1


@final
class Stall:
    """Whether the front of a study has stopped growing. It only keeps what it has computed."""

    def __init__(self, state: StudyState) -> None:
        self._state = state
        self._known_at: dict[int, int] = {}  # fully trained trial -> number of trials that had begun by then
        self._answer: tuple[tuple[int, int, str | None], str] = ((-1, -1, None), "")

    def text(self) -> str:
        """Returns a sentence about the stalled front; empty if it still grows, or if the study has no such limit."""
        wanted = self._state.limits.stop_when
        if wanted is None:
            return ""
        asked = len(self._state.searched), len(self._state.full), wanted
        if asked != self._answer[0]:
            self._answer = asked, self._text(*stalled_after(wanted))
        return self._answer[1]

    def _text(self, n_trials: int, share: float) -> str:
        begun = len(self._state.searched) - n_trials
        ids = sorted(self._state.full)
        old = [number for number, trial_id in enumerate(ids) if self._begun_by(trial_id) <= begun]
        if not old:
            return ""
        losses = np.array([self._loss(trial_id) for trial_id in ids])
        is_known = np.isfinite(losses).all(axis=1) & ~violator_mask(losses)
        old = [number for number in old if is_known[number]]
        if not old:
            return ""
        scale = Scale.of(losses[is_known])
        unit = np.where(is_known[:, None], scale.unit(losses), np.inf)
        corner = np.full(unit.shape[1], _REFERENCE)
        before, now = hypervolume(unit[old], corner), hypervolume(unit, corner)
        if before <= 0 or now > before * (1 + share):
            return ""
        over = f"over the last {counted(n_trials, 'trials')}"
        return f"the hypervolume of the front has grown by less than {share:.3g} of it {over}"

    def _loss(self, trial_id: int) -> list[float]:
        last = self._state.trials[trial_id].last
        objectives = self._state.spec.objectives
        return objectives.loss(last.values).tolist() if last is not None else [np.nan] * len(objectives)

    def _begun_by(self, trial_id: int) -> int:
        """Returns how many trials had begun before this one was complete, without those that began at that moment."""
        if trial_id not in self._known_at:
            segment = next(one for one in reversed(self._state.segments) if one.trial_id == trial_id)
            ended_at = segment.ended_at if segment.ended_at is not None else np.inf
            trials = self._state.searched
            self._known_at[trial_id] = bisect_left(trials, ended_at, key=lambda trial: trial.created_at)
        return self._known_at[trial_id]
