"""On what a segment spent its time: start-up, training, saving, waiting, and work that was lost.

All of it follows from events that logs of each version have: the requests, reports, checkpoints and ends of segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from lightning_hwtune.core.record import Outcome
from lightning_hwtune.core.segment import Segment

__all__ = ["PHASES", "Phases", "phases"]

PHASES = ("start-up", "training", "saving", "waiting", "lost")

_LEAST_S = 1e-6  # less is rounding


@final
@dataclass(frozen=True, slots=True)
class Phases:
    """The seconds of the phases of a segment. The phases of a segment that has ended add up to its duration.

    Attributes:
        start_s: from the start request to the first training, with imports, and with compilation in resumed segments.
        train_s: training that the study has kept.
        saving_s: from a report to its complete checkpoint.
        wait_s: waiting for verdicts, for other ranks, and for the release of the devices.
        lost_s: what came after the newest checkpoint of a segment that failed, was lost or was interrupted; all, if
            it never reported, because it is then unknown when its training began.
    """

    start_s: float = 0.0
    train_s: float = 0.0
    saving_s: float = 0.0
    wait_s: float = 0.0
    lost_s: float = 0.0

    @property
    def seconds(self) -> tuple[float, ...]:
        """The seconds in the sequence of `PHASES`."""
        return self.start_s, self.train_s, self.saving_s, self.wait_s, self.lost_s


def phases(segment: Segment) -> Phases:
    """Returns the phases of a segment; of one that runs, up to its newest report or checkpoint."""
    is_cut = segment.ended_at is not None and segment.outcome != Outcome.DONE
    if segment.start_s is None:
        return Phases(lost_s=segment.wall_s) if is_cut else Phases(start_s=segment.wall_s)
    known_s = max(segment.seen_at - segment.started_at, 0.0)
    rest_s = total_s = known_s if segment.ended_at is None else segment.wall_s
    trained_s, again_s, tail_s = segment.train_s - segment.base_train_s, 0.0, 0.0
    if is_cut:
        again_s = max(segment.train_s - max(segment.saved_train_s, segment.base_train_s), 0.0)
        tail_s = max(total_s - known_s, 0.0)
    parts = []
    for seconds in (again_s + tail_s, trained_s - again_s, segment.start_s, segment.saving_s):
        parts.append(min(max(seconds, 0.0), rest_s))
        rest_s -= parts[-1]
    lost_s, train_s, start_s, saving_s = parts
    return Phases(start_s, train_s, saving_s, rest_s if rest_s > _LEAST_S else 0.0, lost_s)
