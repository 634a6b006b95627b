"""What the limits of time and money leave: which work can still end, and when the finishers must begin.

A study without these limits has no deadline, and every answer here is that everything fits. With one:

- No segment begins whose next report would come too late. One that has not reported when the time is over ends there;
  see `core.last_moment`.
- Finishers begin at the last moment. The best open trials that can still be trained to the end are planned: as many as
  are due and can run side by side, with at most `_FINISHING_SHARE` of all the time or money, but at least one. A trial
  that would end only after `_NEAR` times the whole time is planned on more devices if that takes at most `_LARGE_SHARE`
  of all. Other
  work may begin as long as the planned trials can still end afterwards. This is backfilling as in EASY (Lifka, "The
  ANL/IBM SP scheduling system", 1995), with a reservation at the end of the study. Trials so slow that they would have
  to begin in the first `_EXPLORING_SHARE` of the study are planned only if no other one can end, and if exploring is
  not likely to find another one.
- New trials are explored as long as one of median pace that begins now can be trained to a deep rung: the deepest one
  that it reaches in `_CLIMB_SHARE` of the whole time. While no trial is sure to be fully trained, a new one also begins
  if it could be, and new ones come before promotions. After that the survivors of the deepest rungs get the time that
  is left.

Seconds come from the trials' own epochs. Those of a new configuration come from the regression of `core.pace_model`.
With a limit on money, the time left is that for which the whole pool can be paid.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.budget import Budget
from lightning_hwtune.core.decisions import Resume, Start
from lightning_hwtune.core.device_speeds import DeviceSpeeds
from lightning_hwtune.core.epoch_times import EpochTimes
from lightning_hwtune.core.hardware.moment import ExpectedPace, ExpectedSpeed
from lightning_hwtune.core.pace import SeenPaces
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.remaining import Remaining
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.core.state import StudyState

__all__ = ["Deadline", "Finish"]

_MARGIN = 1.05  # a finisher is planned with this multiple of its expected training time, and one more report
_SURE = 1.03  # a trial that needs more of what is left is not planned
_LATE = 0.95  # a trial loses its clearance for the full training if even this multiple of its time is not left
_FINISHING_SHARE = 0.6
_NEAR = 1.5  # the multiple of the whole time in which a trial ends on the devices that it had
_LARGE_SHARE = (
    0.4  # the most that one finisher takes of all the time or money, if it is not near and needs more devices
)
_CLIMB_SHARE = 0.3
_UNKNOWN = 2.0  # a trial that has not reported may take this multiple of what is expected
_EXPLORING_SHARE = 0.25
_RISK = 0.15  # the accepted probability that exploring finds no other trial that can end


@final
@dataclass(frozen=True, slots=True)
class Finish:
    """A trial that is to be trained to the end.

    Attributes:
        level: the rung in which it waits.
        least_s: the seconds that it needs. planned_s: the seconds that are kept for it.
        num_devices: the number of devices that it needs.
    """

    trial: TrialRecord
    level: int
    least_s: float
    planned_s: float
    num_devices: int

    @property
    def allocation(self) -> Allocation:
        """The devices that it needs."""
        own = self.trial.allocation
        return own if own.devices == self.num_devices else dataclasses.replace(own, devices=self.num_devices)


@final
class Deadline:
    """The limits of time and money of one study, from its current state."""

    def __init__(self, state: StudyState) -> None:
        self._state, self._times = state, EpochTimes()
        self.left, self.budget, self._speeds = Remaining(state), Budget(state), DeviceSpeeds(state)
        self._known: SeenPaces | None = None

    def changed(self) -> None:
        """Drops what is cached about the state. Call it before the state changes."""
        self._known = None

    def expected_pace(self, trial: TrialRecord, devices: int, report: Measurement | None = None) -> ExpectedPace:
        """Returns how fast a trial is expected to train on a number of devices.

        Args:
            report: of its running segment, which is not in the state yet.
        """
        start_s = self.paces.startup_s(devices, is_resumed=True)
        own = self.paces.own_epochs_s(trial.trial_id)
        segment = self._state.running.get(trial.trial_id)
        if report is not None and segment is not None and segment.num_devices not in own:
            n_units = max(report.resource - segment.resource, 1)
            own[segment.num_devices] = (report.train_s - segment.base_train_s) / n_units
        if devices in own:
            return ExpectedPace(own[devices], True, start_s)
        newest = next(reversed(own), trial.num_devices)
        unit_s = own[newest] if own else self.paces.expected_epoch_s(trial)
        speed, is_measured = self._speeds.relative(trial.config, devices, newest)
        return ExpectedPace(unit_s / speed, is_measured and bool(own), start_s)

    def expected_speed(self, config: Mapping[str, Any], devices: int, reference: int) -> ExpectedSpeed:
        """Returns how many times faster than on `reference` devices a configuration is expected to train."""
        return ExpectedSpeed(*self._speeds.relative(config, devices, reference))

    @property
    def paces(self) -> SeenPaces:
        """The paces of the current state."""
        if self._known is None:
            self._known = SeenPaces(self._state, times=self._times)
        return self._known

    # ------------------------------------------------------------------ expected seconds

    def report_s(self, candidate: Start | Resume) -> float:
        """Returns the expected seconds until a candidate's next report, its start-up included; 0 if unknown."""
        trial = self._trial(candidate)
        own_s = trial.report_s * self._slower(trial) if isinstance(candidate, Resume) else 0.0
        return self._startup_s(trial) + (own_s or self._epoch_s(trial) * self._first_report())

    def duration_s(self, candidate: Start | Resume) -> float:
        """Returns the expected seconds until a candidate reaches its target, its start-up included; 0 if unknown."""
        return self._climb_s(self._trial(candidate), candidate.target)

    def _trial(self, candidate: Start | Resume) -> TrialRecord:
        """Returns the record of a candidate; a new trial gets one that has no number yet."""
        allocation, target = candidate.allocation, candidate.target
        if isinstance(candidate, Resume):
            trial = self._state.trials[candidate.trial_id]
            return trial if trial.allocation == allocation else dataclasses.replace(trial, allocation=allocation)
        return TrialRecord(-1, candidate.config, 0, candidate.bracket, target, 0.0, allocation=allocation)

    def _climb_s(self, trial: TrialRecord, level: int) -> float:
        begun = trial.checkpoint.resource if trial.checkpoint is not None else 0
        return self._startup_s(trial) + max(level - begun, 0) * self._epoch_s(trial)

    def _epoch_s(self, trial: TrialRecord) -> float:
        """Returns the expected seconds of one unit of resource on the trial's devices; 0 if unknown."""
        if trial.measurements and self._state.spec.allocator.is_elastic:
            return self.expected_pace(trial, trial.num_devices).unit_s
        return self.paces.expected_epoch_s(trial)

    def _slower(self, trial: TrialRecord) -> float:
        """Returns how many times longer a report takes on the trial's devices than on those of its newest report."""
        own = self.paces.own_epochs_s(trial.trial_id) if self._state.spec.allocator.is_elastic else {}
        newest = next(reversed(own), trial.num_devices)
        return self._epoch_s(trial) / own[newest] if newest != trial.num_devices and own[newest] > 0 else 1.0

    def _startup_s(self, trial: TrialRecord) -> float:
        return self.paces.startup_s(trial.num_devices, is_resumed=trial.checkpoint is not None)

    def _most_s(self, epoch_s: float) -> float:
        """Returns the seconds of an epoch that a trial without a report may take, if `epoch_s` is expected."""
        return max(_UNKNOWN * epoch_s, self._state.slowest_s)

    def _first_report(self) -> int:
        """Returns the resource of a trial's first report: the largest seen; at first 1."""
        return max((trial.measurements[0].resource for trial in self._state.searched if trial.measurements), default=1)

    def _busy_s(self, segment: Segment, resource: int, now: float) -> float:
        """Returns the expected seconds until a running segment reaches a resource."""
        trial = self._state.trials[segment.trial_id]
        startup_s = 0.0
        if segment.reached == segment.resource:
            startup_s = self.paces.startup_s(segment.num_devices, is_resumed=segment.resource > 0)
        epoch_s = self._epoch_s(trial)
        if not trial.measurements:
            epoch_s = self._most_s(epoch_s)
        rest_s = startup_s + max(resource - segment.reached, 0) * epoch_s
        return max(rest_s - (now - segment.reported_at), 0.0)

    # ------------------------------------------------------------------ what fits

    def committed_s(self, now: float, without: int | None = None) -> float:
        """Returns the device-seconds that running segments still need.

        Each can be paused at its next report. Those that are expected to end their full training need them up to there.

        Args:
            without: a running trial to leave out.
        """
        top, total = self._state.race.max_resource, 0.0
        for trial_id, segment in self._state.running.items():
            trial = self._state.trials[trial_id]
            if trial_id == without:
                continue
            step = max(round(segment.report_s / segment.epoch_s), 1) if segment.epoch_s > 0 else self._first_report()
            resource = segment.reached + step
            if trial.target >= top and self.can_end(trial, now):
                resource = top
            total += self._busy_s(segment, resource, now) * segment.share
        return total

    def fits(self, candidate: Start | Resume, now: float) -> bool:
        """Returns whether the next report of a candidate is expected within the limits."""
        if not self._state.limits.is_timed:
            return True
        report_s = self.report_s(candidate) * (_UNKNOWN if isinstance(candidate, Start) else 1.0)
        report_s += self.left.rounding_s  # a segment without a known pace must not begin when nothing is left
        if report_s >= self.left.seconds(now):
            return False
        left = self.left.device_s(now)
        if (
            left < math.inf
            and report_s * candidate.num_devices / self._state.per_device + self.committed_s(now) >= left
        ):
            return False
        return self.pays(candidate, now)

    def pays(self, candidate: Start | Resume, now: float) -> bool:
        """Returns whether the guard of the budget allows a candidate to begin."""
        return not self.budget.is_limited or self.budget.allows(candidate, self.report_s(candidate), now)

    def can_end(self, trial: TrialRecord, now: float) -> bool:
        """Returns whether a trial can be expected to be fully trained within the limits."""
        top, segment = self._state.race.max_resource, self._state.running.get(trial.trial_id)
        seconds = self._climb_s(trial, top) if segment is None else self._busy_s(segment, top, now)
        return self._is_left(seconds, trial.num_devices, now)

    def is_late(self, trial: TrialRecord, report: Measurement, now: float) -> bool:
        """Returns whether a trial with this new report will most likely not be fully trained within the limits."""
        if not self._state.limits.is_timed:
            return False
        return not self._is_left(
            _LATE * self._to_go_s(trial, report, self._state.race.max_resource), trial.num_devices, now
        )

    def _is_left(self, seconds: float, num_devices: int, now: float) -> bool:
        device_s = seconds * num_devices / self._state.per_device
        return seconds < self.left.seconds(now) and device_s < self.left.device_s(now)

    def _to_go_s(self, trial: TrialRecord, report: Measurement, level: int) -> float:
        """Returns the seconds from a report that is not in the state yet up to a level."""
        own = self.paces.epochs_s.get(trial.trial_id, math.nan)
        epoch_s = own if math.isfinite(own) else report.train_s / report.resource
        return max(level - report.resource, 0) * epoch_s

    def ends(self, candidate: Start | Resume, now: float) -> bool:
        """Returns whether a candidate can be expected to be fully trained within the limits."""
        return self.can_end(self._trial(candidate), now)

    def reaches(self, candidate: Start, now: float) -> bool:
        """Returns whether a new trial reaches its first rung within the limits even if it is slower than all others."""
        trial = self._trial(candidate)
        seconds = self._startup_s(trial) + _UNKNOWN * candidate.target * self._state.slowest_s
        return seconds <= self.left.pool_s(now)

    def explores(self, candidate: Start, now: float, *, is_end_sure: bool) -> bool:
        """Returns whether a new trial can still matter.

        Args:
            is_end_sure: whether some trial is fully trained, on the way there, or planned to be.
        """
        if not self._state.limits.is_timed:
            return True
        trial, levels = self._trial(candidate), self._state.race.levels
        if candidate.target >= levels[-1] or (not is_end_sure and self.can_end(trial, now)):
            return self.can_end(trial, now)
        known = [seconds for seconds in self.paces.epochs_s.values() if math.isfinite(seconds)]
        pace_s = statistics.median(known) if known else 0.0
        reached = [level for level in levels if level * pace_s <= _CLIMB_SHARE * self.left.whole_s]
        climb_s = max([*reached[-1:], candidate.target]) * pace_s
        return self._startup_s(trial) + climb_s <= self.left.pool_s(now)

    # ------------------------------------------------------------------ finishers

    def finish(self, trial: TrialRecord, level: int, now: float) -> Finish:
        """Returns what it takes to train an open trial to the end, on its devices.

        If the allocation policy chooses devices for a deadline, they are the fewest with which it can end.
        """
        options = [self._finish_on(trial, level, trial.num_devices)]
        if self._state.spec.allocator.is_for_deadlines:
            able = self._state.spec.allocator.dividing(trial.config, trial.allocation.instance)
            larger = (n for n in able if n > trial.num_devices)
            found = [self._finish_on(trial, level, count) for count in larger]
            is_near = options[0].least_s <= _NEAR * self.left.whole_s
            options += [item for item in found if is_near or self._leaves_time(item)]
        return next((item for item in options if self._can_finish(item, now)), options[0])

    def _leaves_time(self, item: Finish) -> bool:
        """Returns whether a finisher on more devices than its trial has leaves most of the study for exploring."""
        whole_device_s = self.left.whole_s * self._state.spec.pool.size
        return item.planned_s * item.num_devices / self._state.per_device <= _LARGE_SHARE * whole_device_s

    def _finish_on(self, trial: TrialRecord, level: int, devices: int) -> Finish:
        least_s, startup_s = self._climb_s(trial, self._state.race.max_resource), self._startup_s(trial)
        if devices != trial.num_devices:
            trained = trial.checkpoint.resource if trial.checkpoint is not None else 0
            pace = self.expected_pace(trial, devices)
            startup_s = pace.start_s
            least_s = startup_s + (self._state.race.max_resource - trained) * pace.unit_s
        planned_s = startup_s + (least_s - startup_s) * _MARGIN + trial.report_s
        return Finish(trial, level, least_s, planned_s, devices)

    def _can_finish(self, item: Finish, now: float) -> bool:
        return self._is_left(_SURE * item.least_s, item.num_devices, now)

    def plan(self, able: Iterable[tuple[TrialRecord, int]], n_due: int, now: float) -> list[Finish]:
        """Returns the trials to finish, in the order given: those that can end, side by side, with their share.

        Args:
            able: open trials with their rungs, best first.
            n_due: how many are due.
        """
        top, found = self._state.race.max_resource, list[Finish]()
        busy = [s.allocation for s in self._state.running.values() if self._state.trials[s.trial_id].target >= top]
        rest = _FINISHING_SHARE * self.left.whole_s * self._state.spec.pool.size
        items = [self.finish(trial, level, now) for trial, level in able]
        items = [item for item in items if self._can_finish(item, now)]
        for item in self._not_too_early(items, now):
            if len(found) >= n_due:
                break
            if not self._state.has_places([*busy, item.allocation]):
                continue
            device_s = item.planned_s * item.num_devices / self._state.per_device
            if found and device_s > rest:
                continue
            found.append(item)
            busy.append(item.allocation)
            rest -= device_s
        return found

    def _not_too_early(self, items: list[Finish], now: float) -> list[Finish]:
        """Returns those that need not begin while the study still explores.

        If there are none, the one that begins last is returned, unless exploring will most likely find another one.
        """
        room_s = (1.0 - _EXPLORING_SHARE) * self.left.whole_s
        if self.left.pool_s(now) <= room_s:
            return items
        later = [item for item in items if item.planned_s <= room_s]
        if later or self._finds_another(room_s, now):
            return later
        return sorted(items, key=lambda item: item.planned_s)[:1]

    def _finds_another(self, room_s: float, now: float) -> bool:
        """Returns whether one of the trials still to be explored most likely needs at most `room_s` seconds.

        The share of such trials is estimated by the rule of succession: (known ones + 1) / (known trials + 2).
        """
        top, startup_s = self._state.race.max_resource, self.paces.startup_s(1)
        known = [seconds for seconds in self.paces.epochs_s.values() if math.isfinite(seconds)]
        if not known:
            return False
        share = (sum(startup_s + top * seconds <= room_s for seconds in known) + 1) / (len(known) + 2)
        each_s = startup_s + self._first_report() * statistics.median(known)
        n_more = (self.left.pool_s(now) - room_s) * self._state.places / max(each_s, 1e-9)
        return n_more * math.log(1.0 - share) <= math.log(_RISK)

    def has_room(
        self,
        plan: Sequence[Finish],
        now: float,
        candidate: Start | Resume | None = None,
        *,
        report: Measurement | None = None,
        trial: TrialRecord | None = None,
    ) -> bool:
        """Returns whether the planned trials can still end if a candidate begins now.

        Args:
            report, trial: instead of a candidate, a running trial that would continue from this new report to the next
                level.
        """
        if not plan:
            return True
        busy = [
            (self._busy_s(segment, self._state.trials[trial_id].target, now), segment.allocation)
            for trial_id, segment in self._state.running.items()
            if trial is None or trial_id != trial.trial_id
        ]
        if candidate is not None:
            seconds = self.duration_s(candidate)
            if isinstance(candidate, Start):
                seconds = max(_UNKNOWN * seconds, candidate.target * self._state.slowest_s)
            busy.append((seconds, candidate.allocation))
        if trial is not None and report is not None:
            target = self._state.race.ladder.above(report.resource)
            busy.append((self._to_go_s(trial, report, target), trial.allocation))
        left = self.left.device_s(now)
        if left < math.inf:
            spent = sum(seconds * allocation.devices for seconds, allocation in busy)
            spent += sum(item.planned_s * item.num_devices for item in plan)
            if spent / self._state.per_device > left:
                return False
        left_s = self.left.seconds(now)
        return left_s == math.inf or self._has_devices(plan, busy, left_s)

    def _has_devices(self, plan: Sequence[Finish], busy: Sequence[tuple[float, Allocation]], left_s: float) -> bool:
        """Returns whether enough devices are free at the last moment of each planned trial."""
        needed = list[Allocation]()
        for item in sorted(plan, key=lambda item: -item.planned_s):
            needed.append(item.allocation)
            taken = [allocation for seconds, allocation in busy if seconds > left_s - item.planned_s]
            if not self._state.has_places([*taken, *needed]):
                return False
        return True
