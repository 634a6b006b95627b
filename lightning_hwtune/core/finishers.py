"""Finishers: trials that no rung promotes, which are trained to the end so that a study ends with fully trained models.

Which trials they are depends on the rungs, on the device counts that the front still lacks and, with several
objectives, on the knee of the deepest rung. When they must begin under a limit is computed by `core.deadline`.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import final

import numpy as np

from lightning_hwtune.core.bound_trials import BoundTrials
from lightning_hwtune.core.deadline import Deadline, Finish
from lightning_hwtune.core.decisions import Reason, Resume, Rule
from lightning_hwtune.core.feasibility import is_violator
from lightning_hwtune.core.ranking.knee import knee
from lightning_hwtune.core.record import TrialRecord
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.text import counted

__all__ = ["Finishers", "finishers_text"]


def finishers_text(n_finishers: int, n_first: int, n_trials: int | None) -> str:
    """Returns until when finishers are trained: "until 2 trials in addition to the first 4 are fully trained".

    Args:
        n_first: the number of first trials, which train to the end in any case and do not count.
        n_trials: the number of trials of the study, which limits that of finishers; None if it is not limited.
    """
    n = n_finishers if n_trials is None else max(min(n_finishers, n_trials - n_first), 1)
    more = f" in addition to the first {n_first if n_first > 1 else 'one'}" if n_first else ""
    return f"until {counted(n, 'trials')}{more} {'is' if n == 1 else 'are'} fully trained"


@final
class Finishers:
    """Chooses the finishers of one study, from its current state."""

    def __init__(self, state: StudyState, deadline: Deadline) -> None:
        self._state, self._deadline, self._bound = state, deadline, BoundTrials(state)

    def plan(self, now: float) -> list[Finish]:
        """Returns the finishers for which time and money are kept; see `core.deadline`."""
        due = self.n_due(now)
        if due <= 0:
            return []
        able = self._able()
        best = self._best(able, now)
        if best is not None:
            able = sorted(able, key=lambda pair: pair[0] is not best)
        return self._deadline.plan(able, due, now)

    def is_end_sure(self, now: float) -> bool:
        """Returns whether a trial is fully trained or on the way there; true as well if none is wanted."""
        top = self._state.race.max_resource
        under_way = (trial for trial in self._running() if trial.target >= top)
        return (
            self._state.n_full > 0
            or self._state.limits.n_finishers == 0
            or any(self._deadline.can_end(trial, now) for trial in under_way)
        )

    def n_due(self, now: float | None = None) -> int:
        """Returns how many more trials should be trained to the end; at a time `now`, those that will not end count.

        The first trials, which train to the end in any case, do not count as finishers.
        """
        first = self._state.to_end
        under_way = sum(
            trial.target >= self._state.race.max_resource
            and trial.trial_id not in first
            and (now is None or self._deadline.can_end(trial, now))
            for trial in self._running()
        )
        n_done = sum(not self._state.violation(self._state.trials[trial_id]) for trial_id in self._state.full - first)
        return self._state.limits.n_finishers - n_done - under_way

    def _running(self) -> list[TrialRecord]:
        return [self._state.trials[trial_id] for trial_id in self._state.running]

    def next(self, exclude: Container[int] = (), n_kept: int = 0) -> Resume | None:
        """Returns a front member of the deepest rungs to train to the end, so that the final front offers a choice.

        Each device count in the search space gets a finisher if possible. Otherwise the scheduler's order decides.
        Returns None while a running trial may still reach a rung.

        Args:
            exclude: trials that cannot begin, because they wait for nodes. n_kept: how many of these are finishers.
        """
        due, top = self.n_due() - n_kept, self._state.race.max_resource
        if due <= 0 or any(trial.target < top for trial in self._running()):
            return None
        able = [pair for pair in self._able() if pair[0].trial_id not in exclude]
        if not able:
            return None
        ends = [self._state.trials[i] for i in self._state.full] + self._running()
        covered = {trial.num_devices for trial in ends}
        uncovered = {trial.num_devices for trial, _ in able} - covered
        pick = able[0]
        if uncovered and not self._state.spec.allocator.is_elastic and due <= len(uncovered):
            pick = next(pair for pair in able if pair[0].num_devices in uncovered)
        return self.begin(*pick)

    def begin(self, trial: TrialRecord, level: int) -> Resume:
        """Returns the decision to train a trial of this rung to the end."""
        limits, n_first, top = self._state.limits, len(self._state.to_end), self._state.race.max_resource
        text = f"{self._place(trial, level)}; {finishers_text(limits.n_finishers, n_first, limits.max_trials)}"
        if trial.last is not None and (infeasible := self._state.spec.objectives.infeasible(trial.last.values)):
            text += f"; {infeasible}"
        return Resume(trial.trial_id, trial.allocation, top, level, Reason(Rule.FINISHER, text))

    def _place(self, trial: TrialRecord, level: int) -> str:
        """Returns the place of a finisher among the trials of its rung that were not promoted."""
        rung = [other for other, at in self.unpromoted() if at == level and other.bracket == trial.bracket]
        open_ones = [other for other in rung if self.may_finish(other)]
        whose = f"of the trials that rung {level} did not promote"
        if trial is open_ones[0]:
            return f"first {whose}"
        if trial is self._middle(self._able_in_order()):
            return f"the best compromise {whose}"
        alike = [other for other in open_ones if other.num_devices == trial.num_devices]
        if trial is alike[0]:
            return f"first on {counted(trial.num_devices, 'devices')} {whose}"
        return f"number {open_ones.index(trial) + 1} {whose}"

    def _able(self) -> list[tuple[TrialRecord, int]]:
        """Returns the trials that may be trained to the end, with their rungs, in the order in which they should be.

        That is the scheduler's order, deepest rung first. With several objectives, the order inside a front prefers its
        ends, so the knee of the deepest rung comes first, unless it is trained to the end already.
        """
        able = self._able_in_order()
        middle = self._middle(able)
        return able if middle is None else sorted(able, key=lambda pair: pair[0] is not middle)

    def _able_in_order(self) -> list[tuple[TrialRecord, int]]:
        """Returns the trials that may be trained to the end, with their rungs, in the scheduler's order."""
        return self._admitted([(trial, level) for trial, level in self.unpromoted() if self.may_finish(trial)])

    def _best(self, able: Sequence[tuple[TrialRecord, int]], now: float) -> TrialRecord | None:
        """Returns the trial of the deepest rung that is best in the first objective, among those that can still end.

        Under a limit it comes before the knee, because there may be time for one finisher only. None with one
        objective, or if a trial that is trained to the end, or will be, was at least as good at that rung.
        """
        if len(self._state.spec.objectives) == 1 or not able or not self._state.has_knee_first:
            return None
        deepest = able[0][1]
        ends = [self._state.trials[i] for i in sorted(self._state.full)]
        ends += [trial for trial in self._running() if trial.target >= self._state.race.max_resource]
        open_ones = [trial for trial, level in able if level == deepest and self._deadline.can_end(trial, now)]
        best = min(open_ones, key=lambda trial: self._first_loss(trial, deepest), default=None)
        if best is None or any(self._first_loss(end, deepest) <= self._first_loss(best, deepest) for end in ends):
            return None
        return best

    def _first_loss(self, trial: TrialRecord, level: int) -> float:
        found = trial.at(level)
        return float(self._state.spec.objectives.loss(found.values)[0]) if found is not None else math.inf

    def _middle(self, able: Sequence[tuple[TrialRecord, int]]) -> TrialRecord | None:
        """Returns the knee of the deepest rung, which comes first; None with one objective, or if there is none.

        Trials of the rung that are trained to the end, or will be, may be the knee, too.
        """
        if len(self._state.spec.objectives) == 1 or not able or not self._state.has_knee_first:
            return None
        deepest = able[0][1]
        known = [trial for trial, level in able if level == deepest]
        known += [self._state.trials[i] for i in sorted(self._state.full)] + self._running()
        seen = [(trial, found) for trial in known if (found := trial.at(deepest)) is not None]
        losses = [(trial, self._state.spec.objectives.loss(found.values)) for trial, found in seen]
        finite = [(trial, loss) for trial, loss in losses if np.isfinite(loss).all() and not is_violator(loss.tolist())]
        return finite[knee([loss for _, loss in finite])][0] if finite else None

    def _admitted(self, able: list[tuple[TrialRecord, int]]) -> list[tuple[TrialRecord, int]]:
        """Returns those that may be finishers: feasible trials or, if there are none, violators of a constraint.

        Violators are left out once enough trials are fully trained, feasible or not.
        """
        if not self._state.spec.objectives.is_constrained:
            return able
        feasible = [(trial, level) for trial, level in able if not self._state.violation(trial)]
        if feasible or self.n_due() <= self._state.n_full - self._state.n_feasible:
            return feasible
        return able

    def may_finish(self, trial: TrialRecord) -> bool:
        """Returns whether a trial can run again and its last losses are finite."""
        loss = self._state.spec.objectives.loss(trial.last.values) if trial.last is not None else None
        is_finite = loss is not None and bool(np.isfinite(loss).all())
        return is_finite and not trial.has_diverged and not trial.state.is_final

    def unpromoted(self) -> list[tuple[TrialRecord, int]]:
        """Returns the unpromoted trials that can still run, with level: deepest rung first, best first there.

        Violators of a constraint come after all feasible trials, the least violation first.
        """
        found = [(self._state.trials[i], level) for i, level in self._state.race.finishers() if i not in self._bound]
        if not self._state.spec.objectives.is_constrained:
            return found
        return sorted(found, key=lambda pair: self._state.violation(pair[0]))
