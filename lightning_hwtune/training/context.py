"""The segment that this process is training: set around user code, read by the callback and by the `Trial` handle.

A process trains one segment at a time. Outside `segment_context` there is none, and the callback does nothing. A
process that user code forks has no segment either: only the process that started a segment reports and saves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

from lightning_hwtune.core.decisions import VerdictKind
from lightning_hwtune.core.record import Outcome
from lightning_hwtune.errors import StudyLockedError, TrialError
from lightning_hwtune.host.memory import forget_peak
from lightning_hwtune.training.batch_split import BatchSplit
from lightning_hwtune.training.channel import Channel, Ended, Message, Note, SegmentOrder, VerdictMessage
from lightning_hwtune.training.energy import EnergyMeter, energy_meter
from lightning_hwtune.training.import_times import measured, process_age_s
from lightning_hwtune.training.launchers import give_back_launchers, take_launchers
from lightning_hwtune.training.resume.fabric_passes import FabricLoaders
from lightning_hwtune.training.train_clock import TrainClock

__all__ = ["ActiveSegment", "Hints", "current_segment", "require_no_segment", "segment_context"]


@final
@dataclass(frozen=True, slots=True)
class Hints:
    """Advice for errors in which user code and the study disagree, worded for the kind of user code.

    Attributes:
        horizon: if user code trains to another horizon.
        devices: if user code trains on another number of devices.
        checkpoint: if user code trains from another checkpoint.
        folder: if the checkpoints of several trials are in one folder.
        after_a_pause: if code after the training ran although the segment was paused or stopped.
    """

    horizon: str = "Use trial.trainer(), or pass max_epochs=trial.max_epochs."
    devices: str = "Use trial.trainer(), or pass devices=trial.num_devices."
    checkpoint: str = "Use trial.fit(), or pass ckpt_path=trial.ckpt_path."
    folder: str = "Save the trial's checkpoints in its own folder: ModelCheckpoint(dirpath=trial.dir)."
    after_a_pause: str = "`if trial.is_paused_or_stopped: return` skips code that only a full training needs"


@dataclass(slots=True, eq=False)
class ActiveSegment:
    """The state of a segment on the rank that trains it.

    Attributes:
        order: what to train.
        channel: the channel to the engine.
        rank: this process's rank in the segment's group.
        clock: training seconds of this segment.
        batches: how the global batch is divided.
        reporter: what reports: the callback of the first fit, or the `Trial` handle; None before the first of them.
        verdict: the pause or stop that ended the segment; None if there was none.
        resource: cumulative resource reached so far.
        measured: the objectives' values in the last report.
        progress: increases with every batch, validation step and save.
        has_trained: True from the first training batch or report on.
        resumes_by_argument: True while `fit` was called with the checkpoint, so that the callback need not load it.
        only_marked_fits: fits of Trainers without the callback are not the trial's; see `trial_fit`.
        has_pretrained: whether a fit was treated as a pretraining for that reason.
        hints: the advice in errors about the Trainer.
        is_trained: True once the fit that reports has ended normally and is saved, or a loop has reported the horizon
            or was saved as complete.
        saved_at: resource of the newest complete checkpoint.
        failure: the error that ended the reporting fit or loop before that; user code may have caught it.
        skipped: what user code ran without effect after a pause or stop: "fit", "test", ...
        wants_end: whether user code had requested the end of the training before the pause, but a minimum of the
            Trainer was not reached.
        skips_evaluation: False if user code must get its evaluation results even after a pause or stop.
        weights: digest of the weights in the newest checkpoint of a check.
        shortens_fits: whether a check also shortens fits that do not report.
        has_shortened: whether such a fit was shortened.
        is_copy: True in a process that user code has forked from the one that trains the segment.
        is_loop: whether the user's own loop reports, not a callback.
        has_taken_state: whether user code has taken what the trial resumes from: its state, or the path of it.
        fabric_loaders: the loaders that Fabric has set up in this segment, and their passes.
        folders: where user code writes, apart from the trial's folder; an error of a full disk names them.
    """

    order: SegmentOrder
    channel: Channel
    rank: int
    clock: TrainClock = field(init=False)
    energy: EnergyMeter | None = field(init=False)
    batches: BatchSplit = field(init=False)
    reporter: object | None = None
    verdict: VerdictMessage | None = None
    resource: int = 0
    measured: Mapping[str, float] = field(default_factory=dict)
    progress: int = 0
    has_trained: bool = False
    resumes_by_argument: bool = False
    only_marked_fits: bool = False
    has_pretrained: bool = False
    hints: Hints = field(default_factory=Hints)
    is_trained: bool = False
    saved_at: int = 0
    failure: BaseException | None = None
    skipped: str = ""
    wants_end: bool = False
    skips_evaluation: bool = True
    weights: str = ""
    shortens_fits: bool = False
    has_shortened: bool = False
    is_copy: bool = False
    is_loop: bool = False
    has_taken_state: bool = False
    folders: tuple[Path, ...] = ()
    fabric_loaders: FabricLoaders = field(default_factory=FabricLoaders)
    _noted: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.resource = self.saved_at = self.order.resource
        is_resumed, tunes = self.order.checkpoint is not None, self.order.accelerator != "cpu"
        self.energy, self.batches = energy_meter(self.order), BatchSplit(self.order)
        self.clock = TrainClock(is_resumed=is_resumed, tunes=tunes, meter=self.energy)

    @property
    def startup_s(self) -> float:
        """Seconds from the start of this process to the start of training, or up to now; NaN if unknown."""
        return process_age_s() - self.clock.age_s

    @property
    def is_over(self) -> bool:
        """True if a verdict ended the segment before the trial's horizon: user code should stop training."""
        return self.verdict is not None and self.resource < self.order.max_resource

    @property
    def has_rungs(self) -> bool:
        """True if rungs can pause or stop trials; otherwise only a check and the study's limits can."""
        return self.order.levels[0] < self.order.max_resource

    @property
    def is_settled(self) -> bool:
        """True once user code can no longer change how the segment ends; see `segment_end`."""
        order = self.order
        if order.resource >= order.max_resource:  # the trial was lost after its training was complete
            return True
        if self.verdict is None or not self.is_over:
            return self.is_trained
        return self.verdict.kind == VerdictKind.STOP or self.saved_at >= self.resource or not self.has_rungs

    def fail(self, error: BaseException) -> None:
        """Stores the error that ended the training, in case user code swallows it; the first error counts."""
        self.failure = self.failure or error

    def claim(self, reporter: object) -> bool:
        """Registers `reporter` as the object that reports; returns False if another one is registered."""
        if self.reporter is None:
            self.reporter = reporter
        return self.reporter is reporter

    def advance(self, *, is_training: bool = False) -> None:
        """Counts one step of progress; `is_training` for a training batch or a report."""
        self.progress += 1
        if self.energy is not None:
            self.energy.sample()
        self.has_trained = self.has_trained or is_training

    def require_this_process(self) -> None:
        """Checks that this is the process that trains the segment.

        Raises:
            TrialError: this process is a fork of it.
        """
        if self.is_copy:
            raise TrialError(
                f"process {os.getpid()} is a fork of the process that trains trial {self.order.trial_id}. Only that "
                "process can report and save: return the values to it, and report them there."
            )

    def send(self, message: Message) -> None:
        """Sends a message if this is rank 0; does nothing on other ranks.

        Raises:
            TrialError: this process is a fork of the process that trains the segment.
        """
        self.require_this_process()
        if self.rank == 0:
            self.channel.send(message)

    def note(self, text: str, *, once_per: str = "segment", topic: str = "") -> None:
        """Shows the user a line once.

        Args:
            once_per: "study" if the line does not depend on the trial and need not be repeated by other trials. Paths
                in it then have a star in place of this trial's number.
            topic: lines with the same topic count as the same line; by default the text is the topic.
        """
        if (topic or text) not in self._noted:
            self._noted.add(topic or text)
            self.send(Note(self._of_any_trial(text) if once_per == "study" else text, once_per, topic))

    def _of_any_trial(self, text: str) -> str:
        """Returns the text with a star in place of this trial's number in `trials/007` and `trial_007`."""
        return re.sub(rf"\b(trials/|trial_){self.order.trial_id:03d}(?!\d)", r"\1*", text)

    def ended(self, outcome: Outcome, error: str = "") -> Ended:
        """Returns this rank's last message."""
        ended = Ended(self.rank, outcome, error, self.resource, reached_end=self.verdict is None)
        if outcome != Outcome.OUT_OF_MEMORY:
            return ended
        return replace(ended, global_batch=self.batches.global_batch, fixed_because=self.batches.fixed_because)


_current: ActiveSegment | None = None


def current_segment() -> ActiveSegment | None:
    """Returns the segment that this process is training; None outside a study."""
    return _current


def require_no_segment() -> None:
    """Checks that this process is not training a segment.

    Raises:
        StudyLockedError: it is training one. The message names it and says how to end it.
    """
    if _current is not None:
        order = _current.order
        raise StudyLockedError(
            f"this process is already training trial {order.trial_id} of study {order.study!r}, and a process can "
            "train only one trial at a time. If the trial comes from study.ask(), end it with study.tell(trial), or "
            "give it up with study.close(). A training function cannot run another study in its own process."
        )


@contextmanager
def segment_context(order: SegmentOrder, channel: Channel, rank: int = 0) -> Iterator[ActiveSegment]:
    """Makes a segment the current one inside the block.

    Raises:
        StudyLockedError: this process is already training a segment.
    """
    global _current
    require_no_segment()
    _current = ActiveSegment(order, channel, rank)
    take_launchers(_current)
    if order.measured:
        forget_peak()  # a process may have trained other segments before
    try:
        with measured():
            yield _current
    finally:
        give_back_launchers()
        _current = None


def _leave_in_copy() -> None:
    """Removes the segment in a process that was just forked; the parent keeps it."""
    global _current
    if _current is not None:
        _current.is_copy = True
        give_back_launchers()
        _current = None


os.register_at_fork(after_in_child=_leave_in_copy)
