"""A study as a sampler of Optuna sees it: its trials, with one value per objective, and what the sampler wrote.

Values. A judged trial is complete, and its values are its scores over all rungs (`copula.chained_scores`), which are
minimised. Any other trial is running, or has failed. So promotions and rungs need no pruner.

Memory. Some samplers write what they need later into the study when they are asked: CMA-ES its state, genetic
algorithms the generation of a trial. Nothing of that is in our log. It follows from the history: each trial is asked
for again, in the order of creation, with the results that were known when it was created (`TrialRecord.known_from`).
The answer is not used, because the configuration is known. The study that results is kept from one proposal to the
next, so a proposal asks once for each new trial, and only the first one after a restart goes through all of them.
Samplers that write nothing are asked once, whatever the history.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.core.searchers import History
from lightning_hwtune.core.searchers.copula import chained, light_scores
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.streams import stream
from lightning_hwtune.searchers.optuna_space import OptunaSpace
from lightning_hwtune.searchers.optuna_storage import EPOCH, ListStorage, running_trial

__all__ = ["SampledStudy"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

_LARGEST = 1e30  # of a violation, which may be infinite


@final
class SampledStudy:
    """The trials of one study, kept from one proposal to the next.

    Args:
        sampler: makes a sampler with the next number of a random stream as its seed.
        writes: whether the sampler writes into the study when it is asked.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int,
        n_objectives: int,
        sampler: Callable[[np.random.Generator], BaseSampler],
        *,
        writes: bool,
    ) -> None:
        self.sampler, self._seed, self._writes = sampler, seed, writes
        self._terms, self._n_objectives = OptunaSpace(space), n_objectives
        self._forget()

    def _forget(self) -> None:
        self._records: list[TrialRecord] = []
        self._trials: list[FrozenTrial] = []
        self._attrs: dict[str, Any] = {}
        self._known = _Results.none(self._n_objectives)

    def ask(self, sampler: BaseSampler, history: History) -> dict[str, Any]:
        """Returns the configuration that a sampler suggests after these trials."""
        records, results = self._caught_up(history)
        now = results.trials(self._trials, len(records))
        for place, record in enumerate(records):
            if record.state.is_final and now[place].state is TrialState.RUNNING:
                now[place] = copy.copy(now[place])
                now[place].state = TrialState.FAIL
        return self._asked(sampler, now)[0]

    def _caught_up(self, history: History) -> tuple[list[TrialRecord], _Results]:
        """Adds the trials that are new; begins again if what was known of the others has changed."""
        records = [*history.added, *history.trials]
        results, n = _Results.of(records, len(history.added), history.objectives), len(self._records)
        is_same = len(records) >= n and all(a is b for a, b in zip(self._records, records, strict=False))
        if not is_same or not results.before(n).equals(self._known):
            self._forget()
        for place in range(len(self._records), len(records)):
            self._add(records[place], results, place)
        self._records, self._known = records, results.before(len(records))
        return records, results

    def _add(self, record: TrialRecord, results: _Results, place: int) -> None:
        """Adds a trial, with what the sampler wrote when it was asked for it."""
        attrs: dict[str, Any] = {}
        if self._writes:
            name, number = ("optuna-given", place) if record.draw is None else ("optuna", record.draw)
            sampler = self.sampler(stream(self._seed, name, number))
            _, storage = self._asked(sampler, results.trials(self._trials, place))
            self._attrs, attrs = storage.attrs, storage.trials[place].system_attrs
        params = self._terms.params(record.config)
        distributions = {name: self._terms.distributions[name] for name in params}
        self._trials.append(running_trial(place, params, distributions, attrs))

    def _asked(self, sampler: BaseSampler, trials: Sequence[FrozenTrial]) -> tuple[dict[str, Any], ListStorage]:
        storage = ListStorage(trials, self._attrs, self._n_objectives)
        study = optuna.load_study(study_name="hwtune", storage=storage, sampler=sampler)
        return self._terms.suggested(study.ask()), storage


@final
@dataclass(frozen=True)
class _Results:
    """What each level has judged, a row per trial and level, in the order in which it became known.

    Attributes:
        known_from: the number of trials that existed, shape `(n,)`. places, levels: which trial, at which level.
        losses: shape `(n, n_objectives)`. violations: of the bounds, shape `(n,)`; None without bounds.
    """

    known_from: Places
    places: Places
    levels: Places
    losses: Floats
    violations: Floats | None

    @classmethod
    def none(cls, n_objectives: int) -> Self:
        """Returns no results."""
        empty = np.empty(0, dtype=np.int64)
        return cls(empty, empty, empty, np.empty((0, n_objectives)), None)

    @classmethod
    def of(cls, records: Sequence[TrialRecord], n_added: int, objectives: Objectives) -> Self:
        """Returns the results of these trials, the first of which come from elsewhere and were known before all."""
        rows = []
        for place, record in enumerate(records):
            for level in record.decided if record.measurements else ():
                values = (record.at(level) or record.measurements[-1]).values
                known = place + 1 if place < n_added else n_added + record.known_from.get(level, place + 1 - n_added)
                rows.append((known, place, level, objectives.loss(values), objectives.violation(values)))
        if not rows:
            return cls.none(len(objectives))
        rows.sort(key=lambda row: row[:3])
        numbers = np.array([row[:3] for row in rows], dtype=np.int64)
        losses = np.array([row[3] for row in rows], dtype=np.float64)
        violations = np.array([row[4] for row in rows], dtype=np.float64) if objectives.bounds else None
        return cls(numbers[:, 0], numbers[:, 1], numbers[:, 2], losses, violations)

    def before(self, n_trials: int) -> _Results:
        """Returns what was known when there were so many trials."""
        n = int(np.searchsorted(self.known_from, n_trials, side="right"))
        violations = None if self.violations is None else self.violations[:n]
        return _Results(self.known_from[:n], self.places[:n], self.levels[:n], self.losses[:n], violations)

    def equals(self, other: _Results) -> bool:
        """Returns whether both are the same; NaN equals NaN."""
        if len(self.places) == len(other.places) == 0:
            return True
        pairs = [(self.known_from, other.known_from), (self.places, other.places), (self.levels, other.levels)]
        same_losses = np.array_equal(self.losses, other.losses, equal_nan=True)
        return same_losses and all(np.array_equal(one, another) for one, another in pairs)

    def trials(self, trials: Sequence[FrozenTrial], n_trials: int) -> list[FrozenTrial]:
        """Returns these trials with the values that were known when there were so many."""
        known = self.before(n_trials)
        found = list(trials)
        if not len(known.places):
            return found
        scores, violations = known._scores(n_trials), known._last_violations(n_trials)
        for place in np.flatnonzero(~np.isnan(scores[:, 0])).tolist():
            trial = found[place] = copy.copy(found[place])
            trial.state, trial.values = TrialState.COMPLETE, scores[place].tolist()
            trial.datetime_complete = EPOCH
            if violations is not None:
                excess = [min(float(violations[place]), _LARGEST)]
                trial.system_attrs = {**trial.system_attrs, "constraints": excess}
        return found

    def _scores(self, n_trials: int) -> Floats:
        """Returns the scores over all rungs, shape `(n_trials, n_objectives)`; violators are behind all others."""
        rungs = {
            int(level): (self.places[self.levels == level], self.losses[self.levels == level])
            for level in np.unique(self.levels)
        }
        scores = chained(rungs, n_trials, self.losses.shape[1], light_scores)
        violations = self._last_violations(n_trials)
        if violations is None:
            return scores
        is_judged, is_violating = ~np.isnan(scores[:, 0]), violations > 0
        if (is_judged & is_violating).any() and (is_judged & ~is_violating).any():
            worst, best = scores[is_judged & ~is_violating].max(axis=0), scores[is_judged & is_violating].min(axis=0)
            scores[is_judged & is_violating] += worst - best + 1.0
        return scores

    def _last_violations(self, n_trials: int) -> Floats | None:
        """Returns the violation of each trial at its highest known level, shape `(n_trials,)`."""
        if self.violations is None:
            return None
        found = np.zeros(n_trials)
        order = np.argsort(self.levels, kind="stable")
        found[self.places[order]] = self.violations[order]
        return found
