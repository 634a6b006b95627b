"""How the devices of a study spent their time, from its log."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Resume, Start
from lightning_hwtune.core.events import CheckpointSaved, Event, Reported, SegmentEnded, SegmentStarted
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.state import StudyState

__all__ = ["DeviceTimes", "device_times", "idle_with_work_s", "training_device_s"]


@dataclass(frozen=True, slots=True)
class DeviceTimes:
    """Device-seconds of one session.

    Attributes:
        startup_s: from the user's call to the first segment's start request; no device had work yet.
        span_s: from there to the release of the last segment's devices; times all devices of the pool.
        segments_s: from each segment's start request to the release of its devices.
        training_s: of these, in epochs that were reported.
        idle_with_work_s: of the span, on devices that were free while the controller had something to start.
        n_segments: number of segments.
    """

    startup_s: float
    span_s: float
    segments_s: float
    training_s: float
    idle_with_work_s: float
    n_segments: int

    @property
    def overhead_share(self) -> float:
        """Device-seconds of segments over those of training, minus 1."""
        return self.segments_s / self.training_s - 1.0

    @property
    def idle_with_work_share(self) -> float:
        """Share of the pool's time in which a device was idle while work waited."""
        return self.idle_with_work_s / self.span_s

    def to_dict(self) -> dict[str, float]:
        """Returns plain data, including the two shares."""
        shares = {"overhead_share": self.overhead_share, "idle_with_work_share": self.idle_with_work_share}
        return {**dataclasses.asdict(self), **shares}


def device_times(spec: StudySpec, events: Sequence[Event], began_at: float) -> DeviceTimes:
    """Returns how the time was spent.

    Args:
        events: the log of one session that trained something. began_at: time of the user's call.
    """
    starts = [event.at for event in events if isinstance(event, SegmentStarted)]
    ends = [event for event in events if isinstance(event, SegmentEnded)]
    return DeviceTimes(
        startup_s=starts[0] - began_at,
        span_s=(ends[-1].at - starts[0]) * spec.pool.size,
        segments_s=sum(event.device_s for event in ends),
        training_s=training_device_s(events),
        idle_with_work_s=idle_with_work_s(spec, events),
        n_segments=len(ends),
    )


def training_device_s(events: Sequence[Event]) -> float:
    """Returns the device-seconds of all reported epochs; work that was lost and repeated counts twice."""
    saved: dict[int, float] = {}  # trial -> cumulative device-seconds of its newest checkpoint
    base: dict[int, float] = {}  # trial -> the same where its segment began
    reached: dict[tuple[int, int], float] = {}  # segment -> device-seconds of its newest report
    for event in events:
        if isinstance(event, CheckpointSaved):
            saved[event.trial_id] = event.device_s
        elif isinstance(event, SegmentStarted):
            base[event.trial_id] = saved.get(event.trial_id, 0.0) if event.checkpoint is not None else 0.0
        elif isinstance(event, Reported):
            reached[event.trial_id, event.segment] = event.device_s - base[event.trial_id]
    return sum(reached.values())


def idle_with_work_s(spec: StudySpec, events: Sequence[Event]) -> float:
    """Returns the device-seconds, from the first segment on, in which a free device had something to do.

    Replays the log and asks the controller after each event. New trials would use every free device. Of promotions,
    only one is counted, although more may wait.
    """
    state, total_s, since = StudyState(spec), 0.0, 0.0
    n_idle = 0
    for event in events:
        total_s += n_idle * (event.at - since)
        state.apply(event)
        since, n_idle = event.at, _n_idle_with_work(state, event.at)
    return total_s


def _n_idle_with_work(state: StudyState, now: float) -> int:
    """Returns how many devices are free although the controller would start something on them."""
    free = state.spec.pool.size - sum(segment.num_devices for segment in state.running.values())
    if free <= 0 or not state.segments or state.closed is not None:
        return 0
    answer = Controller(state, lambda events: None).ask(now, free)
    if isinstance(answer, Start):
        return free
    return answer.num_devices if isinstance(answer, Resume) else 0
