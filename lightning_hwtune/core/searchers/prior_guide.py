"""What a study's judged trials say about the earlier tasks of a prior, and about themselves; see `trust`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.core.searchers.base import History
from lightning_hwtune.core.searchers.copula import chained_scores
from lightning_hwtune.core.searchers.left_out import left_out_predictions
from lightning_hwtune.core.searchers.lesson import Lesson
from lightning_hwtune.core.searchers.trust import (
    is_time_or_money,
    metric_columns,
    own_ranks_better,
    picked_tasks,
    weights_of,
)
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.streams import stream

__all__ = ["Guide"]

Floats = npt.NDArray[np.float64]

_PICKS = 4  # tasks behind one sample: fewer lose what tasks have in common, more lose where they differ
_LEAST_OWN = 10  # least number of judged trials with which the study's own trials compete
_MOST_OWN = 256  # only the newest so many of them learn, and as many are tested


@final
@dataclass(frozen=True, eq=False)
class Duel:
    """Predictions of the study's own trials and of the earlier tasks together, and the actual scores.

    All have the shape `(n_trials, n_objectives)`. Each own prediction is from the other trials.
    """

    own: Floats
    earlier: Floats
    seen: Floats


@final
@dataclass(frozen=True, eq=False)
class Guide:
    """Judges the earlier tasks by the trials of a study.

    Attributes:
        lesson: what the earlier tasks say. weights: the weight of each objective, from 0 to 1.
        expected: each task's predictions for the tests, shape `(n_tasks, n_tests, n_objectives)`.
        seen: the actual scores of the tests, shape `(n_tests, n_objectives)`.
        duel: what decides whether own trials guide a draw; None while there are too few of them.
    """

    lesson: Lesson
    weights: Floats
    expected: Floats
    seen: Floats
    duel: Duel | None

    @classmethod
    def trusting(cls, lesson: Lesson) -> Self:
        """Returns a guide with full trust in all tasks, whatever the study shows."""
        n_objectives = lesson.scores.shape[1]
        expected = np.empty((len(lesson.models), 0, n_objectives))
        return cls(lesson, np.ones(n_objectives), expected, np.empty((0, n_objectives)), None)

    @classmethod
    def of(cls, lesson: Lesson, space: SearchSpace, history: History, is_test: Callable[[TrialRecord], bool]) -> Self:
        """Returns a guide that tests the tasks by the judged trials for which `is_test` is true."""
        trials, scores = chained_scores(history.results, history.objectives)
        tests = [place for place, trial in enumerate(trials) if is_test(trial)]
        expected, seen = lesson.expect_each([trials[place].config for place in tests]), scores[tests]
        is_measured = [is_time_or_money(item) for item in history.objectives]
        weights = weights_of(expected, seen, lesson.belief, is_measured)
        duel = None
        if len(trials) >= _LEAST_OWN:
            counted = metric_columns(history.objectives)
            configs, scores = [trial.config for trial in trials[-_MOST_OWN:]], scores[-_MOST_OWN:]
            own = left_out_predictions(space.encode_many(configs), scores)
            # constant for an objective in which the tasks are not trusted
            earlier = lesson.expect(configs)[0] * (weights > 0)
            duel = Duel(own[:, counted], earlier[:, counted], scores[:, counted])
        return cls(lesson, weights, expected, seen, duel)

    def is_own(self, draw: int, seed: int) -> bool:
        """Returns whether the study's own trials guide a draw: they rank a random sample of the trials better."""
        if self.duel is None:
            return False
        return own_ranks_better(self.duel.own, self.duel.earlier, self.duel.seen, stream(seed, "prior-own", draw))

    def sample(self, configs: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> Floats:
        """Returns the scores of one sample, shape `(n_configs, n_objectives)`; each objective has its own tasks."""
        n_objectives = len(self.weights)
        columns = [(self.expected[:, :, [column]], self.seen[:, [column]]) for column in range(n_objectives)]
        picks = [picked_tasks(*column, _PICKS, rng) for column in columns]
        return self.lesson.sample(configs, picks, rng)
