"""What becomes of a trial when its segment has ended: its next state, and the devices of its next segment.

There is one rule for every way in which a segment can end; see `Outcome` for these ways.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.decisions import VerdictKind
from lightning_hwtune.core.out_of_memory import after_out_of_memory
from lightning_hwtune.core.record import Outcome, TrialRecord, TrialState
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.text import counted

__all__ = ["MOST_LOST_NODES", "SegmentOutcome", "segment_outcome"]

MOST_LOST_NODES = 4
"""How many nodes in a row one trial may lose without new work. It probably ends them, for example by their memory."""


@final
@dataclass(frozen=True, slots=True)
class SegmentOutcome:
    """What becomes of a trial.

    Attributes:
        outcome: how its segment has ended.
        state: the trial's next state.
        error: the error to keep; empty if nothing failed.
        allocation: where the next segment trains, if there is one.
        max_per_device_batch: the most samples per device and batch of the next segments; None for no limit.
    """

    outcome: Outcome
    state: TrialState
    error: str
    allocation: Allocation
    max_per_device_batch: int | None = None


def segment_outcome(
    state: StudyState, segment: Segment, outcome: Outcome, error: str, *, reached_end: bool, global_batch: int = 0
) -> SegmentOutcome:
    """Returns what becomes of the trial of a running segment that ends.

    Args:
        error: what the segment raised; empty if nothing.
        reached_end: whether the training ended by itself, in which case a pause at its end has no effect.
        global_batch: the batch that its training can divide further after running out of memory; 0 if it cannot.
    """
    trial = state.trials[segment.trial_id]
    if segment.has_ended_itself and outcome in (Outcome.LOST, Outcome.NODE_LOST, Outcome.INTERRUPTED):
        outcome, reached_end = Outcome.DONE, True  # nothing is left to train
    elif outcome in (Outcome.LOST, Outcome.NODE_LOST) and _is_settled(trial, segment, state.race.max_resource):
        outcome = Outcome.DONE  # the process died only after its work was done
    elif outcome == Outcome.INTERRUPTED and _is_trained_and_saved(trial, state.race.max_resource):
        outcome = Outcome.DONE  # the signal came when only the code after the training was left
    limit = trial.max_per_device_batch
    is_paused = segment.verdict == VerdictKind.PAUSE and not reached_end
    after = SegmentOutcome(outcome, *_next(state, trial, segment, outcome, error, is_paused=is_paused), limit)
    attempt = None
    if after.state is TrialState.OUT_OF_MEMORY:
        attempt = after_out_of_memory(state, trial, segment, global_batch)
    if attempt is None:
        return after
    allocation, limit = attempt.allocation, attempt.max_per_device_batch
    return dataclasses.replace(after, state=_back(trial), allocation=allocation, max_per_device_batch=limit)


def _back(trial: TrialRecord) -> TrialState:
    """Returns the state in which a trial waits for its next segment."""
    return TrialState.PAUSED if trial.checkpoint else TrialState.WAITING


def _next(
    state: StudyState, trial: TrialRecord, segment: Segment, outcome: Outcome, error: str, *, is_paused: bool
) -> tuple[TrialState, str, Allocation]:
    """Returns the trial's next state, the error to keep, and the allocation of its next segment."""
    allocation, back = segment.moves_to or trial.allocation, _back(trial)
    is_full = trial.resource >= state.race.max_resource
    saved_at = trial.checkpoint.resource if trial.checkpoint is not None else 0
    if trial.refit and min(trial.resource, saved_at) >= trial.target:
        return TrialState.COMPLETED, error, allocation
    if segment.verdict == VerdictKind.STOP and not is_full:
        return TrialState.STOPPED, error, allocation
    if trial.stopped_because and (outcome != Outcome.DONE or not is_full):
        return TrialState.STOPPED, error, allocation
    if outcome == Outcome.INTERRUPTED or (outcome == Outcome.DONE and is_paused):
        return back, error, allocation
    if outcome == Outcome.NODE_LOST:
        n_lost = trial.n_lost_nodes + 1
        if n_lost < MOST_LOST_NODES:
            return back, error, allocation
        text = f"{counted(n_lost, 'nodes')} in a row were lost while they trained this trial, without new work"
        return TrialState.FAILED, f"{text}: {error}", allocation
    if outcome == Outcome.DONE:
        if is_full or segment.reached > segment.resource:
            return TrialState.COMPLETED, error, allocation
        wanted = ", ".join(state.spec.objectives.metrics) or "an epoch"
        return TrialState.FAILED, error or f"the training ended without reporting {wanted}", allocation
    if outcome == Outcome.OUT_OF_MEMORY and segment.allocation.per_device > 1:
        fewer = min(state.per_device, segment.allocation.per_device - 1)
        return back, error, dataclasses.replace(allocation, per_device=fewer)
    if outcome == Outcome.OUT_OF_MEMORY:
        return TrialState.OUT_OF_MEMORY, error, allocation  # unless it has another attempt
    return (back if trial.n_retries < state.spec.max_retries else TrialState.FAILED), error, allocation


def _is_trained_and_saved(trial: TrialRecord, max_resource: int) -> bool:
    """Return whether a training is complete and its checkpoint is saved. Then its process can change nothing."""
    saved_at = trial.checkpoint.resource if trial.checkpoint is not None else 0
    return min(trial.resource, saved_at) >= max_resource


def _is_settled(trial: TrialRecord, segment: Segment, max_resource: int) -> bool:
    """Return whether a segment did its work: it saved where it had to pause, or the training is complete."""
    if trial.checkpoint is None or _is_trained_and_saved(trial, max_resource):
        return trial.checkpoint is not None
    return segment.verdict == VerdictKind.PAUSE and segment.saved and trial.checkpoint.resource >= segment.reached
