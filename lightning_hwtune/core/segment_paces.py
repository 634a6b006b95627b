"""The pace of each segment, and how much the paces of one trial differ.

A segment's pace is that of its epochs without the first one, in which libraries and caches warm up. If it has only a
first one, that is divided by the median factor by which the first epochs of other segments took longer: of those that
begin from scratch as well, or resume as well.

The spread of the paces is the standard deviation of the logarithm of a segment's seconds: the same training takes
longer on another day or another machine. It is estimated from trials with several segments: the pace of a segment
relative to that of the segment before it on as many devices. The median ratio of trials that paused at the same
resources is not noise, and is removed. Ratios beyond three deviations are cut. A trial is promoted also because its
earlier segment was fast, so that the noise of this segment varies less: a ratio has `_PAIR` times the variance of one
segment, not twice. The prior of 5 %, which counts as `_PRIOR_RATIOS` ratios, is also the lower bound, because
differences between machines are not visible in a trial that always trained on the same one.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.segment import Segment

__all__ = ["LEAST_SPREAD", "NOTHING_COMING", "Coming", "SegmentPace", "segment_paces", "spread_of"]

Coming = Mapping[int, tuple[int, float]]
"""Trial id -> resource and training seconds of a report that a state does not have yet."""

NOTHING_COMING: Coming = {}

LEAST_SPREAD = 0.05
"""The spread that is assumed at least."""

_PRIOR_RATIOS = 1
_PAIR = 1.7
_MAD = 1.4826  # standard deviation of a normal distribution, in median absolute deviations
_CUT = 3.0


@final
@dataclass(frozen=True, slots=True)
class SegmentPace:
    """The useful work of one segment.

    Attributes:
        begin, end: from and to which resource. begin_s, end_s: the trial's training seconds there.
        first: the resource of the first report. first_s: the trial's training seconds there.
        warm_up: the logarithm of the factor by which first epochs take longer.
    """

    num_devices: int
    begin: int
    end: int
    begin_s: float
    end_s: float
    first: int
    first_s: float
    warm_up: float = 0.0

    @property
    def log_pace(self) -> float:
        """The logarithm of the seconds per unit of resource, without warm-up."""
        rest = self._log_rest()
        return rest if rest is not None else self._log_first() - self.warm_up

    def own_warm_up(self) -> float | None:
        """Returns the logarithm of the factor by which the first epoch took longer; None without further epochs."""
        rest = self._log_rest()
        return self._log_first() - rest if rest is not None else None

    def _log_first(self) -> float:
        return math.log((self.first_s - self.begin_s) / (self.first - self.begin))

    def _log_rest(self) -> float | None:
        if self.end <= self.first or self.end_s <= self.first_s:
            return None
        return math.log((self.end_s - self.first_s) / (self.end - self.first))


def segment_paces(
    state: StudyFacts, coming: Coming = NOTHING_COMING, segments: Sequence[Segment] | None = None
) -> Mapping[int, Sequence[SegmentPace]]:
    """Returns the useful work of each trial that has some, by segment; what a later segment repeated is left out.

    Args:
        coming: reports of running segments that the state does not have yet.
        segments: those to use, in order of their start; None for all.
    """
    works: dict[int, list[SegmentPace]] = {}
    for segment in state.segments if segments is None else segments:
        before = works.setdefault(segment.trial_id, [])
        if before and segment.resource < before[-1].end:
            before[-1] = dataclasses.replace(before[-1], end=segment.resource, end_s=segment.base_train_s)
        before[:] = [work for work in before if _is_useful(work)]
        begin, end, begin_s, end_s = segment.resource, segment.reached, segment.base_train_s, segment.train_s
        if segment.ended_at is None and segment.trial_id in coming:
            end, end_s = coming[segment.trial_id]
        before.append(SegmentPace(segment.num_devices, begin, end, begin_s, end_s, end, end_s))
    found = {
        trial_id: [_with_first(state, trial_id, work) for work in of_trial if _is_useful(work)]
        for trial_id, of_trial in works.items()
    }
    works_found = [work for of_trial in found.values() for work in of_trial]
    warm_ups = {resumes: _usual_warm_up(works_found, resumes=resumes) for resumes in (False, True)}
    return {
        trial_id: [dataclasses.replace(work, warm_up=warm_ups[work.begin > 0]) for work in of_trial]
        for trial_id, of_trial in found.items()
        if of_trial
    }


def _usual_warm_up(works: Sequence[SegmentPace], *, resumes: bool) -> float:
    """Returns the median warm-up of segments that resume, or do not; of all segments if none of these has one."""
    known = [(work, own) for work in works if (own := work.own_warm_up()) is not None]
    alike = [own for work, own in known if (work.begin > 0) == resumes] or [own for _, own in known]
    return max(statistics.median(alike), 0.0) if alike else 0.0


def _is_useful(work: SegmentPace) -> bool:
    return work.end > work.begin and work.end_s > work.begin_s


def _with_first(state: StudyFacts, trial_id: int, work: SegmentPace) -> SegmentPace:
    """Returns the work of a segment with its first report, if that is still known."""
    for report in state.trials[trial_id].measurements:
        if work.begin < report.resource <= work.end and work.begin_s < report.train_s <= work.end_s:
            return dataclasses.replace(work, first=report.resource, first_s=report.train_s)
    return dataclasses.replace(work, first=work.end, first_s=work.end_s)


def spread_of(paces: Mapping[int, Sequence[SegmentPace]]) -> float:
    """Returns the standard deviation of the logarithm of a segment's seconds."""
    groups: dict[tuple[int, int, int], list[float]] = {}
    for of_trial in paces.values():
        for before, after in itertools.pairwise(of_trial):
            if before.num_devices == after.num_devices:
                key = (before.begin, before.end, after.end)
                groups.setdefault(key, []).append(after.log_pace - before.log_pace)
    ratios = [ratio - statistics.median(group) for group in groups.values() for ratio in group]
    n = len(ratios) - len(groups)  # a median is estimated in each group
    if n < 1:
        return LEAST_SPREAD
    deviation = _MAD * statistics.median(map(abs, ratios))
    most = _CUT * deviation if deviation > 0 else math.inf
    total = math.fsum(min(abs(ratio), most) ** 2 for ratio in ratios) / _PAIR
    return max(math.sqrt((_PRIOR_RATIOS * LEAST_SPREAD**2 + total) / (_PRIOR_RATIOS + n)), LEAST_SPREAD)
