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
from lightning_hwtune.core.searchers.evidence import Evidence
from lightning_hwtune.core.searchers.left_out import left_out_predictions
from lightning_hwtune.core.searchers.lesson import USELESS, Lesson
from lightning_hwtune.core.searchers.trend import Expectation
from lightning_hwtune.core.searchers.trust import (
    ENOUGH,
    ENOUGH_FOR_RANDOM,
    is_time_or_money,
    metric_columns,
    own_ranks_better,
    picked_tasks,
    weights_of,
)
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.streams import stream

__all__ = ["LEAST_OWN", "Guide"]

Floats = npt.NDArray[np.float64]

LEAST_OWN = 6
"""Least number of judged trials that correct the tasks."""

_PICKS = 4  # tasks behind one sample: fewer lose what tasks have in common, more lose where they differ
_LEAST_TO_COMPETE = 10  # least number of judged trials with which the study's own trials compete
_MOST = 256  # only the newest so many judged trials are compared


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
        evidence: the results that test the tasks.
        expected: each task's predictions for these tests, shape `(n_tasks, n_tests, n_objectives)`.
        duel: what decides whether own trials guide a draw; None while there are too few of them.
        metrics: the places of the metrics if their weight is the share of draws that the tasks guide; empty if the
            tasks guide all draws that own trials do not win.
        corrects: whether there are enough own trials to correct the tasks; then they guide all draws.
    """

    lesson: Lesson
    weights: Floats
    evidence: Evidence
    expected: Floats
    duel: Duel | None
    metrics: Sequence[int] = ()
    corrects: bool = False

    @classmethod
    def trusting(cls, lesson: Lesson) -> Self:
        """Returns a guide with full trust in all tasks, whatever the study shows."""
        n_objectives = lesson.scores.shape[1]
        expected = np.empty((len(lesson.models), 0, n_objectives))
        return cls(lesson, np.ones(n_objectives), Evidence(np.empty((0, n_objectives))), expected, None)

    @classmethod
    def of(
        cls,
        lesson: Lesson,
        space: SearchSpace,
        history: History,
        is_uniform: Callable[[TrialRecord], bool],
        *,
        kind: str,
    ) -> Self:
        """Returns a guide that tests the tasks by the judged trials.

        Args:
            kind: the setting `evidence` of the prior. With "uniform", only uniform draws are evidence, and draws
                without trust are random; otherwise all judged trials are, and own trials guide these draws.
        """
        counts_all = kind != "uniform"
        trials, scores = chained_scores(history.results, history.objectives)
        uniform = np.array([is_uniform(trial) for trial in trials], dtype=np.bool_)
        if counts_all:
            tests = list(range(len(trials)))[-_MOST:]
            evidence = Evidence.of_draws(scores[tests], uniform[tests])
        else:
            tests = np.flatnonzero(uniform).tolist()
            evidence = Evidence(scores[tests])
        expected = lesson.expect_each([trials[place].config for place in tests])
        is_measured = [is_time_or_money(item) for item in history.objectives]
        enough = ENOUGH if counts_all else ENOUGH_FOR_RANDOM
        weights = weights_of(evidence, expected.mean(axis=0), lesson.belief, is_measured, enough)
        counted, duel = metric_columns(history.objectives), None
        if kind == "corrects":
            return cls(lesson, weights, evidence, expected, None, counted, len(trials) >= LEAST_OWN)
        if len(trials) >= _LEAST_TO_COMPETE:
            configs, scores = [trial.config for trial in trials[-_MOST:]], scores[-_MOST:]
            own = left_out_predictions(space.encode_many(configs), scores)
            # constant for an objective in which the tasks are not trusted
            earlier = lesson.expect(configs)[0] * (weights > 0)
            duel = Duel(own[:, counted], earlier[:, counted], scores[:, counted])
        return cls(lesson, weights, evidence, expected, duel, counted if counts_all else ())

    @property
    def expectation(self) -> Expectation | None:
        """What the tasks expect, for the study's own trials to correct; None if they ignore it."""
        is_useless = sum(self.lesson.n_points.values()) <= USELESS
        return self._expected if self.corrects and not is_useless else None

    def _expected(self, configs: Sequence[Mapping[str, Any]]) -> Floats:
        return self.lesson.expect(configs)[0]

    @property
    def share(self) -> float:
        """The greatest share of draws that the tasks may guide."""
        return float(self.weights[[*self.metrics]].max()) if self.metrics else 1.0

    def is_own(self, draw: int, seed: int) -> bool:
        """Returns whether the study's own trials guide a draw.

        They do where the tasks are not trusted, and as soon as they can correct the tasks. By the earlier rule, they
        do where they rank a random sample of the trials better.
        """
        if self.metrics and stream(seed, "prior-trust", draw).random() >= self.share:
            return True
        if self.duel is None:
            return self.corrects
        return own_ranks_better(self.duel.own, self.duel.earlier, self.duel.seen, stream(seed, "prior-own", draw))

    def sample(self, configs: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> Floats:
        """Returns the scores of one sample, shape `(n_configs, n_objectives)`; each objective has its own tasks.

        Noise with the spread of the sample hides the objectives in which the tasks are not trusted. What `is_own` has
        counted does not count again: then only the ratios of the metrics' weights do.
        """
        places = range(len(self.weights))
        picks = [picked_tasks(self.evidence, self.expected[:, :, place], place, _PICKS, rng) for place in places]
        sample, weights = self.lesson.sample(configs, picks, rng), self.weights.copy()
        if self.metrics:
            weights[[*self.metrics]] /= self.share or 1.0
        noise = sample.std(axis=0) * rng.standard_normal(sample.shape)
        scores: Floats = weights * sample + np.sqrt(1 - weights**2) * noise
        return scores
