"""The moments in which an allocation policy is asked about one study, from its current state.

The pace on a number of devices is the trial's own one, where it has trained on so many devices. Elsewhere it is its
pace on the devices of its newest report, changed by the ratio of both speeds (`core.device_speeds`).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.deadline import Deadline
from lightning_hwtune.core.decisions import Resume, Rule
from lightning_hwtune.core.hardware.moment import Moment
from lightning_hwtune.core.hardware.stage_plan import StagePlan
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.schedulers import SCHEDULER_REGISTRY
from lightning_hwtune.core.state import StudyState

__all__ = ["Moments"]


@final
class Moments:
    """The policy of one study, asked with moments of its current state."""

    def __init__(self, state: StudyState, deadline: Deadline) -> None:
        self._state, self._deadline, self._policy = state, deadline, state.spec.allocator

    @property
    def is_elastic(self) -> bool:
        """Whether the policy can change the devices of a trial."""
        return self._policy.is_elastic

    def allocated(self, resume: Resume, now: float) -> Resume:
        """Returns the decision with the devices that the policy gives the trial for it.

        Work that was interrupted keeps its devices: it was asked for when the trial was promoted.
        """
        if not self._policy.is_elastic or resume.promoted_from is None:
            return resume
        trial = self._state.trials[resume.trial_id]
        resource = trial.checkpoint.resource if trial.checkpoint is not None else 0
        moment = self._moment(trial, max(resource, resume.promoted_from), resume.target, resume.reason.rule, now)
        answer = self._policy.next(moment)
        return resume if answer == resume.allocation else resume.on(answer)

    def begin(self, config: Mapping[str, Any], first: Allocation, target: int) -> Allocation:
        """Returns the devices of a new trial, as of the newest event."""
        if not self._policy.begins_by_moment:
            return first
        trial = TrialRecord(-1, config, 0, 0, target, 0.0, allocation=first)
        return self._policy.begin(self._moment(trial, 0, target, Rule.NEW, self._state.last_at))

    def at_rung(self, trial: TrialRecord, report: Measurement, target: int, rule: str, now: float) -> Allocation:
        """Returns the devices on which a running trial continues from a rung, whose report is not in the state yet."""
        if not self._policy.is_elastic:
            return trial.allocation
        return self._policy.next(self._moment(trial, report.resource, target, rule, now, report))

    def _moment(
        self,
        trial: TrialRecord,
        resource: int,
        target: int,
        rule: str,
        now: float,
        report: Measurement | None = None,
    ) -> Moment:
        state, left, most = self._state, self._deadline.left, self._state.limits
        running = [segment for i, segment in state.running.items() if i != trial.trial_id]
        others = [segment.num_devices for segment in running]
        waiting = [state.trials[i].num_devices for i in sorted(state.waiting - {trial.trial_id})]
        counts = self._policy.dividing(trial.config, trial.allocation.instance)
        n_begun = len(state.searched)
        return Moment(
            trial_id=trial.trial_id,
            config=trial.config,
            allocation=trial.allocation,
            first=dataclasses.replace(trial.allocation, devices=trial.reference_devices or trial.num_devices),
            resource=resource,
            target=target,
            levels=tuple(state.race.levels),
            rule=str(rule),
            is_running=report is not None,
            space=state.spec.space,
            pool=state.spec.pool,
            counts=counts,
            free=state.free_of_type(trial.allocation, trial.trial_id),
            paces=_ByCount(
                tuple(sorted({*counts, trial.num_devices})),
                lambda count: self._deadline.expected_pace(trial, count, report),
            ),
            speeds=_ByCount(counts, lambda count: self._deadline.expected_speed(trial.config, count, counts[0])),
            scheduler=SCHEDULER_REGISTRY.stored(state.spec.scheduler),
            left_s=left.seconds(now),
            left_usd=math.inf if most.max_cost_usd is None else most.max_cost_usd - state.billed_usd(now),
            left_device_s=left.device_s(now),
            n_running=len(others),
            n_waiting=len(waiting),
            others=(*((segment.moves_to or segment.allocation).devices for segment in running), *waiting),
            n_begun=n_begun,
            stage=_stage_of(state),
            n_new=None if most.max_trials is None else max(most.max_trials - n_begun, 0),
        )


def _stage_of(state: StudyState) -> StagePlan | None:
    """Returns the plan of the present stage, without a probe once it has begun; None if the policy plans no stages."""
    if (found := state.stage) is None:
        return None
    begun = itertools.takewhile(lambda item: item.started_clock_s >= state.stage_clock_s, reversed(state.segments))
    has_probed = found.probe > 0 and any(segment.num_devices == found.probe for segment in begun)
    plan = StagePlan(**{field.name: getattr(found, field.name) for field in dataclasses.fields(StagePlan)})
    return dataclasses.replace(plan, probe=0) if has_probed else plan


T = TypeVar("T")


@final
class _ByCount(Mapping[int, T]):
    """What is expected by number of devices, each computed when it is first looked up."""

    def __init__(self, counts: tuple[int, ...], expected: Callable[[int], T]) -> None:
        self._counts, self._expected = counts, expected
        self._known: dict[int, T] = {}

    def __getitem__(self, count: int) -> T:
        if count not in self._counts:
            raise KeyError(count)
        if count not in self._known:
            self._known[count] = self._expected(count)
        return self._known[count]

    def __iter__(self) -> Iterator[int]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)
