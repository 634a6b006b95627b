"""Everything that is known of one trial: its configuration, measurements, checkpoints and state.

A trial is one configuration's life over all its segments. Only `StudyFacts.apply` changes a `TrialRecord`; all other
code just reads it. The states and the allowed changes between them are in one table, `MOVES`.
"""

from __future__ import annotations

import bisect
import copy
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_hwtune.core.allocation import ONE_DEVICE, Allocation
from lightning_hwtune.errors import IllegalMoveError

__all__ = ["MOVES", "Checkpoint", "Measurement", "Outcome", "TrialRecord", "TrialState", "Unit"]


class TrialState(enum.StrEnum):
    """The state of a trial."""

    WAITING = "waiting"  # has no checkpoint: a segment would begin from scratch
    RUNNING = "running"  # has a segment in progress
    PAUSED = "paused"  # has a valid checkpoint in the log and may continue from it
    COMPLETED = "completed"  # successfully trained as far as it ever will be
    STOPPED = "stopped"  # ended by decision
    FAILED = "failed"  # ended by errors
    OUT_OF_MEMORY = "out-of-memory"  # cannot run on any device count that the space allows

    @property
    def is_final(self) -> bool:
        """Whether the trial never runs again."""
        return self in (TrialState.COMPLETED, TrialState.STOPPED, TrialState.FAILED, TrialState.OUT_OF_MEMORY)


MOVES: Mapping[TrialState, frozenset[TrialState]] = {
    TrialState.WAITING: frozenset({TrialState.RUNNING, TrialState.STOPPED}),
    TrialState.RUNNING: frozenset(set(TrialState) - {TrialState.RUNNING}),
    # a paused trial that loses its checkpoint to the disk budget becomes waiting again
    TrialState.PAUSED: frozenset({TrialState.RUNNING, TrialState.WAITING, TrialState.STOPPED}),
    TrialState.COMPLETED: frozenset(),
    TrialState.STOPPED: frozenset(),
    TrialState.FAILED: frozenset(),
    TrialState.OUT_OF_MEMORY: frozenset(),
}
"""State -> the states that may follow it."""


class Unit(enum.StrEnum):
    """What a resource counts."""

    EPOCHS = "epochs"
    STEPS = "steps"
    SAMPLES = "samples"

    def span(self, after: int, to: int) -> str:
        """Returns what is trained after one resource and up to another: "epoch 4" or "epochs 4 to 7"."""
        return f"{self.removesuffix('s')} {to}" if to == after + 1 else f"{self} {after + 1} to {to}"


class Outcome(enum.StrEnum):
    """How a segment ended."""

    DONE = "done"  # it followed a verdict or reached its end
    ERROR = "error"  # its training function raised an error
    OUT_OF_MEMORY = "out-of-memory"  # the same, because its devices ran out of memory
    LOST = "lost"  # its process was killed, or hung
    NODE_LOST = "node-lost"  # its node was lost; not a fault of the trial, unless that happens again and again
    INTERRUPTED = "interrupted"  # the user, a limit or the end of its controller ended it, not a fault of the trial


FIRST_ERROR = "failed before the study's first report"
"""Begins the error of a segment that ended its study so. It counts as interrupted, since the code will be corrected."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """All objectives of a trial at one resource.

    Attributes:
        resource: the total resource used (in epochs by default), counted from the trial's beginning.
        values: objective name -> value in the user's direction; may be NaN or infinite. Seconds and cost are at the
            trial's reference count of devices (`core.reference_count`).
        train_s: the total training seconds of useful work (see `TrainSeconds`), on the devices that the trial had.
        device_s: the same times the number of devices.
    """

    resource: int
    values: Mapping[str, float]
    train_s: float
    device_s: float


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint file that is recorded in the log.

    Attributes:
        path: relative to the study's folder.
        digest: the hexadecimal BLAKE2b-256 digest of the file.
        n_bytes: the size of the file.
        resource, train_s, device_s: what the trial had consumed when the file was saved.
        reference_s, reference_device_s: the seconds at the trial's reference count of devices.
    """

    path: str
    digest: str
    n_bytes: int
    resource: int
    train_s: float
    device_s: float
    reference_s: float
    reference_device_s: float


@dataclass(slots=True)
class TrialRecord:
    """One trial. It is mutable, but only `StudyFacts.apply` changes it.

    Attributes:
        target: the resource up to which the trial may train; a promotion raises it.
        first_target: the target with which it was created, the lowest level of its bracket.
        decided: rung level -> the kind of its verdict ("continue", "pause", "stop"); each level is decided once.
        known_from: rung level -> the number of trials that existed when the level was decided: later ones could learn
            from it.
        segment: the number of the newest segment, from 1; 0 before the first.
        checkpoint: the newest valid checkpoint; None if there is none (yet, or any more).
        best_of: the metric whose best report has its checkpoint kept; empty if the study keeps no best values.
        best_checkpoint: the checkpoint of that report; equal to `checkpoint` until a later one is saved.
        has_diverged: whether a rung has seen a loss that is not finite.
        draw: the number of the searcher's draw that gave its configuration; None if the user enqueued it.
        n_retries: number of segments that failed or were lost and were repeated; interrupted ones do not count.
        stopped_because: why the user stopped it; empty unless they did.
        n_lost_nodes: how many of its segments in a row have lost their node before a report of new work.
        replicate_of: the trial that it repeats with another seed; None for a trial of the search.
        refit: if it repeats that trial with another training function, from where: "scratch" or "checkpoint".
        max_per_device_batch: the most samples per device and batch; the rest of the global batch is accumulated. None
            for no limit, as long as it has not run out of memory.
        segment_devices: the number of devices of its newest segment; 0 before the first.
        logged: the numbers that it had logged at its newest rung, without objectives and constraints.
        noted: the values that its training has noted with `trial.note`, by key.
        tested: the results of the newest successful test of its checkpoint, see `events.Tested`.
        test_error: why the newest test failed; empty if it did not.
            tested_by: the name of the function that tested it.
        reference_devices: the number of devices of its first segment, or the `reference` of the policy; 0 before that.
            Its measured objectives are given at this count.
    """

    trial_id: int
    config: Mapping[str, Any]
    seed: int
    bracket: int
    target: int
    created_at: float
    allocation: Allocation = ONE_DEVICE
    state: TrialState = TrialState.WAITING
    measurements: list[Measurement] = field(default_factory=list)
    decided: dict[int, str] = field(default_factory=dict)
    has_diverged: bool = False
    segment: int = 0
    checkpoint: Checkpoint | None = None
    best_of: str = ""
    best_checkpoint: Checkpoint | None = None
    first_target: int = 0
    draw: int | None = None
    n_retries: int = 0
    error: str = ""
    note: str = ""
    known_from: dict[int, int] = field(default_factory=dict)
    replicate_of: int | None = None
    refit: str = ""
    reference_devices: int = 0
    segment_devices: int = 0
    n_lost_nodes: int = 0
    logged: Mapping[str, float] = field(default_factory=dict)
    noted: Mapping[str, Any] = field(default_factory=dict)
    tested: Mapping[str, float] = field(default_factory=dict)
    test_error: str = ""
    tested_by: str = ""
    stopped_because: str = ""
    max_per_device_batch: int | None = None

    @property
    def is_replicate(self) -> bool:
        """Whether it repeats another trial; the search never sees such a trial."""
        return self.replicate_of is not None

    @property
    def is_judged(self) -> bool:
        """Whether a rung has judged it, so that searchers can learn from its results."""
        return bool(self.decided and self.measurements)

    @property
    def num_devices(self) -> int:
        """The number of devices of its newest segment or, if it has moved to others since, of its next one."""
        return self.allocation.devices

    @property
    def share(self) -> float:
        """The devices of its newest allocation, each counted by the part that belongs to the trial."""
        return self.allocation.share

    @property
    def last(self) -> Measurement | None:
        """The measurement at the highest resource, or None."""
        return self.measurements[-1] if self.measurements else None

    @property
    def resource(self) -> int:
        """The highest resource with a measurement; 0 before the first."""
        return self.measurements[-1].resource if self.measurements else 0

    @property
    def trained_to(self) -> int:
        """The resource up to which it was trained; in steps or samples, its last report may come before its end."""
        return max(self.resource, self.checkpoint.resource if self.checkpoint is not None else 0)

    def copied(self) -> TrialRecord:
        """Returns a record whose changes leave this one as it is."""
        other = copy.copy(self)
        other.measurements, other.decided = self.measurements.copy(), self.decided.copy()
        other.known_from = self.known_from.copy()
        return other

    def add(self, new: Measurement) -> None:
        """Adds a measurement in ascending order of resource; repeated work replaces the earlier measurements."""
        index = bisect.bisect_left(self.measurements, new.resource, key=lambda m: m.resource)
        if index < len(self.measurements) and self.measurements[index].resource == new.resource:
            self.measurements[index] = new
        else:
            self.measurements.insert(index, new)

    def at(self, resource: int) -> Measurement | None:
        """Returns the measurement at exactly this resource, or None."""
        return next((m for m in self.measurements if m.resource == resource), None)

    def best_at(self, resource: int) -> int:
        """Returns the resource of the report with the best value up to `resource`; 0 if there is none."""
        known = [m for m in self.measurements if m.resource <= resource]
        best = known[-1].values.get(self.best_of) if known else None
        return next((m.resource for m in known if best is not None and m.values[self.best_of] == best), 0)

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """All checkpoints that are kept: the newest one, and that of the best report if it is a different one."""
        kept = {c.path: c for c in (self.checkpoint, self.best_checkpoint) if c is not None}
        return tuple(kept.values())

    @property
    def measured_checkpoint(self) -> Checkpoint | None:
        """The checkpoint of the model that was measured: that of the best report, or the newest one."""
        return self.best_checkpoint if self.best_of else self.checkpoint

    @property
    def report_s(self) -> float:
        """Training seconds between its two newest measurements, or before its only one; 0 if there is none."""
        before = self.measurements[-2].train_s if len(self.measurements) > 1 else 0.0
        return self.measurements[-1].train_s - before if self.measurements else 0.0

    def check_move(self, state: TrialState) -> None:
        """Does nothing if the trial may change from its state to this one.

        Raises:
            IllegalMoveError: `MOVES` does not allow this change.
        """
        if state not in MOVES[self.state]:
            raise IllegalMoveError(f"trial {self.trial_id} is {self.state}; it cannot become {state}")

    def move(self, state: TrialState) -> None:
        """Changes the state.

        Raises:
            IllegalMoveError: `MOVES` does not allow this change.
        """
        self.check_move(state)
        self.state = state
