"""The disk budget: which checkpoints are removed when a study's checkpoints together exceed it.

Checkpoints of trials that never run again are removed first. Those of paused trials follow, beginning with the trial
that is least likely to be promoted. Three kinds are never removed: the checkpoint that a running trial resumes from,
those of trials that were promoted and wait to run, and those of the front. If these alone exceed the budget, it is
exceeded. A trial that is promoted after its checkpoint was removed starts from scratch.
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
    """Why a checkpoint may be removed or must stay, in the order of removal."""

    ENDED = 0  # its trial never runs again, and is not on the front
    UNPROMOTABLE = 1  # paused, and can never be promoted because a value is not finite
    PAUSED = 2  # may be promoted
    KEPT = 3  # running, promoted and waiting to run, or on the front


_WHY = {
    Standing.ENDED: "this trial has ended and is not on the front",
    Standing.UNPROMOTABLE: "this paused trial cannot be promoted",
    Standing.PAUSED: "this paused trial is the least likely to be promoted; if it is, it starts again from scratch",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trial's checkpoint.

    Attributes:
        path: relative to the study's folder.
        place: for PAUSED, the trial's place in the order of promotion, 0 = next; 0 otherwise.
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
    """Returns what to remove, in order, so that the rest fits the budget as far as possible; None = unlimited.

    Of ended trials the largest file is removed first. Paused trials follow in reverse order of promotion.
    """
    total = sum(candidate.n_bytes for candidate in candidates)
    victims: list[Victim] = []
    if budget_bytes is None:
        return victims
    for candidate in sorted((c for c in candidates if c.standing is not Standing.KEPT), key=_order):
        if total <= budget_bytes:
            break
        reason = (
            f"disk budget: all checkpoints together take {format_bytes(total)}, more than `disk_budget` allows "
            f"({format_bytes(budget_bytes)}), and {_WHY[candidate.standing]}"
        )
        victims.append(Victim(candidate.trial_id, candidate.path, reason))
        total -= candidate.n_bytes
    return victims


def _order(candidate: Candidate) -> tuple[int, int, int, int]:
    return candidate.standing, -candidate.place, -candidate.n_bytes, candidate.trial_id


def candidates(state: StudyState) -> Iterator[Candidate]:
    """Yields every checkpoint that the log lists."""
    places = {trial_id: place for place, (trial_id, _) in enumerate(state.race.finishers())}
    front = _front(state)
    for trial in state.trials:
        is_kept = trial.trial_id in front or trial.trial_id in state.waiting or trial.state is TrialState.RUNNING
        is_kept = is_kept or bool(trial.refit) or (trial.is_replicate and not trial.state.is_final)
        for checkpoint in trial.checkpoints:
            # an ended trial never resumes, so of two checkpoints only that of its best report is needed, for the front
            is_needed = not trial.state.is_final or checkpoint is (trial.best_checkpoint or trial.checkpoint)
            if is_kept and is_needed:
                standing = Standing.KEPT
            elif trial.state.is_final:
                standing = Standing.ENDED
            else:
                standing = Standing.PAUSED if trial.trial_id in places else Standing.UNPROMOTABLE
            place = places.get(trial.trial_id, 0)
            yield Candidate(trial.trial_id, checkpoint.path, checkpoint.n_bytes, standing, place)


def _front(state: StudyState) -> set[int]:
    """Returns the fully trained trials that no other trial dominates."""
    full = [trial for trial in state.searched if trial.state is TrialState.COMPLETED and trial.last is not None]
    if not full:
        return set()
    losses = np.stack([state.spec.objectives.loss(trial.last.values) for trial in full if trial.last is not None])
    is_front = (np.asarray(front_ranks(losses)) == 0) & np.isfinite(losses).all(axis=1)
    return {trial.trial_id for trial, is_on in zip(full, is_front, strict=True) if is_on}
