"""How much better the proposals of a searcher get over a study: better trials train longer, which a forecast needs.

Trials of a searcher that learns are promoted more often than trials of random search, since each is likely to beat
earlier ones. Let the rank of trial k of n among all trials at a level, divided by their number, be uniform on
[0, 1 - g k / n), with g = 0 for a searcher that does not learn and g = 0.8 for one that learns. With m objectives, a
trial ranks by how many trials beat it in all of them. If the ranks by each objective are independent and are multiplied
by f, then that number is multiplied by f^m, so each objective gets the m-th root of the factor.

With TPE on `SyntheticCurves` (60 trials, 27 epochs, crossing 0 and 0.3, three seeds, one to three objectives), the
forecast of the whole duration at a third, a half and two thirds of the trials is in the median 0.68 to 1.08 of the
truth. Without the gain it is 0.50 to 1.07; with the whole factor for each objective it is 0.68 to 1.17.
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
        self._n_objectives = len(state.spec.objectives)

    def rank_factor(self, trial_id: int) -> float:
        """Returns the factor of a trial's rank by each objective: 1 for a known trial, at most 1 for a new one."""
        if trial_id < self._n_known:
            return 1.0
        usual = 1.0 - self._gain * max(self._n_known - 1, 0) / (2 * self._n_trials)  # the mean of the known trials
        factor = min((1.0 - self._gain * min(trial_id / self._n_trials, 1.0)) / usual, 1.0)
        return float(factor ** (1.0 / self._n_objectives))
