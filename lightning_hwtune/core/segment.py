"""One segment of a trial: an uninterrupted training on one allocation."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_hwtune.core.allocation import Allocation

__all__ = ["Segment"]


@dataclass(slots=True)
class Segment:
    """One uninterrupted training on one allocation, as recorded in the log. Only `StudyFacts.apply` changes it.

    Attributes:
        resource: where it began. reached: the highest resource that it reported.
        started_clock_s: the study's own clock at its start (`core.study_clock`).
        epoch_s: seconds per unit of resource. report_s: seconds from one report to the next.
        reported_at: time of its newest report, or of its start. train_s: the trial's training seconds up to then.
        base_train_s, base_device_s: useful work before it, up to the checkpoint it began from.
        base_reference_s, base_reference_device_s: the same at the trial's reference count of devices.
        reference_factor, reference_basis: of its newest report; see `events.Reported`.
        start_s: seconds from its start to its first training, as far as its first report tells; None before it.
        saving_s: seconds from reports to their complete checkpoints. seen_at: time of its newest report or checkpoint.
        saved_train_s: `train_s` at its newest checkpoint from which the trial can resume; 0 before that.
        has_ended_itself: whether its newest checkpoint is where the training ended by its own rule.
        node: the number of the node that it runs on; None on a pool without an instance type.
        next_allocation: the devices to which its newest report moves the trial; None if the trial keeps its devices.
        ended_number: its place in the order in which segments have ended, from 1; 0 while it runs.
        ended_at: None while it runs. outcome, wall_s: see `events.SegmentEnded`; wall_s is 0 while it runs.
        rule, promoted_from: why it began, and the rung that the trial left; see `events.SegmentStarted`.
    """

    trial_id: int
    number: int
    allocation: Allocation
    slots: tuple[int, ...]
    resource: int
    started_at: float
    base_train_s: float
    base_device_s: float
    reached: int = 0
    epoch_s: float = 0.0
    report_s: float = 0.0
    reported_at: float = 0.0
    train_s: float = 0.0
    verdict: str = "continue"
    saved: bool = False
    has_ended_itself: bool = False
    ended_at: float | None = None
    outcome: str = ""
    wall_s: float = 0.0
    started_clock_s: float = 0.0
    world_size: int = 0
    billed_usd: float = 0.0
    rule: str = ""
    promoted_from: int | None = None
    node: int | None = None
    next_allocation: Allocation | None = None
    ended_number: int = 0
    base_reference_s: float = 0.0
    base_reference_device_s: float = 0.0
    reference_factor: float = 1.0
    reference_basis: str = ""
    start_s: float | None = None
    saving_s: float = 0.0
    seen_at: float = 0.0
    saved_train_s: float = 0.0

    @property
    def num_devices(self) -> int:
        """The number of its devices."""
        return self.allocation.devices

    @property
    def moves_to(self) -> Allocation | None:
        """The devices on which its trial continues once this segment has paused; None if it does not move."""
        return self.next_allocation if self.verdict == "pause" else None

    @property
    def share(self) -> float:
        """Its devices, each counted by the part that belongs to it: 0.5 for half a device."""
        return self.allocation.share

    def used_s(self, train_s: float) -> tuple[float, float]:
        """Returns the trial's seconds and device-seconds after `train_s` seconds of this segment, as really used."""
        return self.base_train_s + train_s, self.base_device_s + train_s * self.share

    @property
    def epochs(self) -> int:
        """The resource that it trained, counting only what it reported."""
        return max(self.reached - self.resource, 0)
