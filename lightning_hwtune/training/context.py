"""The segment that this process is training: set around user code, read by the callback and by the `Trial` handle.

One segment a process at a time. Outside `segment_context` there is none, and everything that looks for one stays inert.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import final

from lightning_hwtune.training.channel import Channel, Ended, Message, Note, SegmentOrder, VerdictMessage
from lightning_hwtune.training.import_times import measured
from lightning_hwtune.training.launchers import give_back_launchers, take_launchers
from lightning_hwtune.training.train_clock import TrainClock

__all__ = ["ActiveSegment", "Hints", "current_segment", "segment_context"]


@final
@dataclass(frozen=True, slots=True)
class Hints:
    """What to do where user code and the study disagree, in the words of whoever holds the code.

    Attributes:
        horizon: it trains to another end. devices: on another number of devices. checkpoint: from another point.
        folder: checkpoints of several trials lie in one folder.
    """

    horizon: str = "Use trial.trainer(), or pass max_epochs=trial.max_epochs."
    devices: str = "Use trial.trainer(), or pass devices=trial.num_devices."
    checkpoint: str = "Use trial.fit(), or pass ckpt_path=trial.ckpt_path."
    folder: str = "Give the trial's checkpoints their own folder: ModelCheckpoint(dirpath=trial.dir)."


@dataclass(slots=True, eq=False)
class ActiveSegment:
    """What one rank knows of the segment that it trains.

    Attributes:
        order: what to train.
        channel: the way to the engine.
        rank: this process's rank in the segment's group.
        clock: training seconds of this segment.
        reporter: who reports: the callback of the first fit, or the `Trial` handle; None before either.
        verdict: the pause or stop that ended the segment; None if nothing did.
        resource: cumulative resource reached so far.
        measured: the objectives' values in the last report.
        progress: grows with every batch, validation step and save. has_trained: True from the first training batch
            or report on.
        resumes_by_argument: True while `fit` itself was told the checkpoint, so that the callback need not load it.
        hints: what errors about the Trainer advise.
        is_trained: True once the fit that reports is over, its checkpoint saved.
        failure: what ended that fit early; user code may have caught it.
    """

    order: SegmentOrder
    channel: Channel
    rank: int
    clock: TrainClock = field(init=False)
    reporter: object | None = None
    verdict: VerdictMessage | None = None
    resource: int = 0
    measured: Mapping[str, float] = field(default_factory=dict)
    progress: int = 0
    has_trained: bool = False
    resumes_by_argument: bool = False
    hints: Hints = field(default_factory=Hints)
    is_trained: bool = False
    failure: BaseException | None = None
    _told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.resource = self.order.resource
        is_resumed, tunes = self.order.checkpoint is not None, self.order.accelerator != "cpu"
        self.clock = TrainClock(is_resumed=is_resumed, tunes=tunes)

    @property
    def is_over(self) -> bool:
        """True if a verdict ended the segment before the trial's horizon: user code should not train on."""
        return self.verdict is not None and self.resource < self.order.max_resource

    def claim(self, reporter: object) -> bool:
        """Makes `reporter` the one that reports; returns False if another one does."""
        if self.reporter is None:
            self.reporter = reporter
        return self.reporter is reporter

    def advance(self, *, is_training: bool = False) -> None:
        """Counts one step of progress; `is_training` for a training batch or a report."""
        self.progress += 1
        self.has_trained = self.has_trained or is_training

    def send(self, message: Message) -> None:
        """Sends a message from rank 0; other ranks stay silent."""
        if self.rank == 0:
            self.channel.send(message)

    def note(self, text: str, *, once_per: str = "segment", topic: str = "") -> None:
        """Shows the user a line, once.

        Args:
            once_per: "study" if the line does not depend on the trial, so that other trials need not repeat it.
            topic: lines of one topic count as the same line; by default each text is its own topic.
        """
        if (topic or text) not in self._told:
            self._told.add(topic or text)
            self.send(Note(text, once_per, topic))

    def ended(self, outcome: str, error: str = "") -> Ended:
        """Returns this rank's last word."""
        return Ended(self.rank, outcome, error, self.resource, reached_end=self.verdict is None)


_current: ActiveSegment | None = None


def current_segment() -> ActiveSegment | None:
    """Returns the segment this process trains, or None outside a study."""
    return _current


@contextmanager
def segment_context(order: SegmentOrder, channel: Channel, rank: int = 0) -> Iterator[ActiveSegment]:
    """Makes a segment the current one.

    Raises:
        RuntimeError: this process trains a segment already.
    """
    global _current
    if _current is not None:
        raise RuntimeError(
            f"this process already trains trial {_current.order.trial_id}; a study cannot run inside a segment"
        )
    _current = ActiveSegment(order, channel, rank)
    take_launchers(_current)
    try:
        with measured():
            yield _current
    finally:
        give_back_launchers()
        _current = None
