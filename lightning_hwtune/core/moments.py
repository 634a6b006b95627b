"""The moments in which an allocation policy is asked about one study, from its current state.

The pace on a number of devices is the trial's own one, where it has trained on so many devices. Elsewhere it is its
pace on the devices of its newest report, changed by the ratio of both speeds (`core.device_speeds`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import final

from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.deadline import Deadline
from lightning_hwtune.core.decisions import Resume
from lightning_hwtune.core.hardware.moment import ExpectedPace, Moment
from lightning_hwtune.core.record import Measurement, TrialRecord
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
        others = [segment.num_devices for i, segment in state.running.items() if i != trial.trial_id]
        counts = self._policy.dividing(trial.config)
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
            free=state.capacity - sum(others),
            paces=_Paces(
                tuple(sorted({*counts, trial.num_devices})),
                lambda count: self._deadline.expected_pace(trial, count, report),
            ),
            left_s=left.seconds(now),
            left_usd=math.inf if most.max_cost_usd is None else most.max_cost_usd - state.billed_usd(now),
            left_device_s=left.device_s(now),
            n_running=len(others),
            n_waiting=len(state.waiting - {trial.trial_id}),
            n_new=None if most.max_trials is None else max(most.max_trials - n_begun, 0),
        )


@final
class _Paces(Mapping[int, ExpectedPace]):
    """The paces of a trial by number of devices, each computed when it is first looked up."""

    def __init__(self, counts: tuple[int, ...], pace: Callable[[int], ExpectedPace]) -> None:
        self._counts, self._pace = counts, pace
        self._known: dict[int, ExpectedPace] = {}

    def __getitem__(self, count: int) -> ExpectedPace:
        if count not in self._counts:
            raise KeyError(count)
        if count not in self._known:
            self._known[count] = self._pace(count)
        return self._known[count]

    def __iter__(self) -> Iterator[int]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)
