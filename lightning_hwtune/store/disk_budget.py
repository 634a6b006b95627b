"""The disk budget: which checkpoints go when all of a study's together exceed it.

First those of trials that never run again, then those of paused trials, the least likely to be promoted first. What a
running trial resumes from, what is cleared to go on, and the checkpoints of the front are never taken: if these alone
exceed the budget, it is exceeded. A trial that is promoted after all starts from scratch.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lightning_hwtune.core.ranking.fronts import front_ranks
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.forms import format_bytes

if TYPE_CHECKING:
    from lightning_hwtune.core.state import StudyState

__all__ = ["Candidate", "Standing", "Victim", "candidates", "evictions"]


class Standing(enum.IntEnum):
    """Why a checkpoint may go or must stay, in the order of eviction."""

    ENDED = 0  # its trial never runs again, and is not on the front
    HOPELESS = 1  # paused, and can never be promoted: a value is not finite
    PAUSED = 2  # may be promoted
    KEPT = 3  # running, cleared to go on, or on the front


_WHY = {
    Standing.ENDED: "its trial has ended and is not on the front",
    Standing.HOPELESS: "its trial cannot be promoted",
    Standing.PAUSED: "its trial is the least likely to be promoted",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trial's checkpoint.

    Attributes:
        path: relative to the study's folder.
        place: of a PAUSED trial in the order in which trials would be promoted, 0 = next. 0 for others.
    """

    trial_id: int
    path: str
    n_bytes: int
    standing: Standing
    place: int = 0


@dataclass(frozen=True, slots=True)
class Victim:
    """A checkpoint to remove, and why."""

    trial_id: int
    path: str
    reason: str


def evictions(candidates: Sequence[Candidate], budget_bytes: int | None) -> list[Victim]:
    """Returns what to remove, in this order, so that the rest fits the budget as well as it can; None = unlimited.

    Among ended trials the largest file goes first; paused trials go in reverse order of promotion.
    """
    total = sum(candidate.n_bytes for candidate in candidates)
    victims: list[Victim] = []
    if budget_bytes is None:
        return victims
    for candidate in sorted((c for c in candidates if c.standing is not Standing.KEPT), key=_order):
        if total <= budget_bytes:
            break
        reason = f"disk budget: {format_bytes(total)} of {format_bytes(budget_bytes)}, and {_WHY[candidate.standing]}"
        victims.append(Victim(candidate.trial_id, candidate.path, reason))
        total -= candidate.n_bytes
    return victims


def _order(candidate: Candidate) -> tuple[int, int, int, int]:
    return candidate.standing, -candidate.place, -candidate.n_bytes, candidate.trial_id


def candidates(state: StudyState) -> Iterator[Candidate]:
    """Yields every checkpoint that the log vouches for."""
    places = {trial_id: place for place, (trial_id, _) in enumerate(state.race.finishers())}
    front = _front(state)
    for trial in state.trials:
        is_kept = trial.trial_id in front or trial.trial_id in state.waiting or trial.state is TrialState.RUNNING
        for checkpoint in trial.checkpoints:
            # nothing resumes from an ended trial: of two checkpoints the front offers that of the best report
            is_needed = not trial.state.is_final or checkpoint is (trial.best_checkpoint or trial.checkpoint)
            if is_kept and is_needed:
                standing = Standing.KEPT
            elif trial.state.is_final:
                standing = Standing.ENDED
            else:
                standing = Standing.PAUSED if trial.trial_id in places else Standing.HOPELESS
            place = places.get(trial.trial_id, 0)
            yield Candidate(trial.trial_id, checkpoint.path, checkpoint.n_bytes, standing, place)


def _front(state: StudyState) -> set[int]:
    """The fully trained trials that no other one dominates."""
    full = [trial for trial in state.trials if trial.state is TrialState.COMPLETED and trial.last is not None]
    if not full:
        return set()
    losses = np.stack([state.spec.objectives.loss(trial.last.values) for trial in full if trial.last is not None])
    is_front = (np.asarray(front_ranks(losses)) == 0) & np.isfinite(losses).all(axis=1)
    return {trial.trial_id for trial, is_on in zip(full, is_front, strict=True) if is_on}
