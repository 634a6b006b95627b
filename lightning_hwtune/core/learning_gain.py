"""How much better the proposals of a searcher get over a study: better trials train longer, which a forecast needs.

Trials of a searcher that learns are promoted more often than trials of random search, since each is likely to beat
earlier ones. Let the rank of trial k of n among all trials at a level, divided by their number, be uniform on
[0, 1 - g k / n), with g = 0 for a searcher that does not learn. With TPE on `SyntheticCurves` (20 and 60 trials, 27 and
81 epochs, one and two objectives, crossing 0 and 0.3), a forecast with g = 0 has 0.55 to 0.92 of the epochs of the
study, one with g = 0.4 has 0.66 to 0.94, and one with g = 0.8 has 0.83 to 1.07.
"""

from __future__ import annotations

from typing import final

from lightning_hwtune.core.facts import StudyFacts

__all__ = ["LearningGain"]

_WITHOUT_MEMORY = ("random", "sobol", "grid", "listed")
_GAIN = 0.8


@final
class LearningGain:
    """The ranks that new trials are likely to take among the known ones.

    Args:
        state: the state that is forecast.
        n_trials: the number of trials that the study will have.
    """

    def __init__(self, state: StudyFacts, n_trials: int) -> None:
        self._n_known, self._n_trials = len(state.searched), max(n_trials, 1)
        self._gain = 0.0 if state.spec.searcher.name in _WITHOUT_MEMORY else _GAIN

    def rank_factor(self, trial_id: int) -> float:
        """Returns the factor of a trial's ranks among the known trials: 1 for a known one, at most 1 for a new one."""
        if trial_id < self._n_known:
            return 1.0
        usual = 1.0 - self._gain * max(self._n_known - 1, 0) / (2 * self._n_trials)  # the mean of the known trials
        return min((1.0 - self._gain * min(trial_id / self._n_trials, 1.0)) / usual, 1.0)
