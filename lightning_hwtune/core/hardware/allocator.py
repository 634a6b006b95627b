"""An allocation policy in one study: it is asked with the study's space and pool, and its answers are checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from lightning_hwtune.core.allocation import LOCAL, Allocation
from lightning_hwtune.core.hardware.moment import Moment
from lightning_hwtune.core.hardware.placement import Placement
from lightning_hwtune.core.hardware.policy import AllocationPolicy, divides
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.hardware.stage import StageMoment
from lightning_hwtune.core.hardware.stage_plan import StagePlan
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.streams import stream
from lightning_hwtune.errors import ArgumentError, HwTuneError
from lightning_hwtune.text import counted

__all__ = ["Allocator"]


@final
@dataclass(frozen=True, slots=True)
class Allocator:
    """Asks the policy of one study. A wrong answer is an error that names the policy."""

    policy: AllocationPolicy
    space: SearchSpace
    pool: Pool

    @property
    def is_elastic(self) -> bool:
        """Whether the policy chooses devices by the state of the study, when a trial begins or continues."""
        return self.begins_by_moment or type(self.policy).next is not AllocationPolicy.next

    @property
    def begins_by_moment(self) -> bool:
        """Whether the policy chooses the devices of a new trial by the state of the study."""
        return type(self.policy).begin is not AllocationPolicy.begin

    @property
    def is_for_deadlines(self) -> bool:
        """Whether the policy gives a finisher the devices with which it can end within the limits."""
        return self.policy.is_for_deadlines

    @property
    def plans_stages(self) -> bool:
        """Whether the policy plans how many trials begin and continue."""
        return self.policy.plans_stages

    @property
    def needs_limits(self) -> bool:
        """Whether the policy can only plan for a limit of time or cost."""
        return self.policy.needs_limits

    @property
    def counts(self) -> tuple[int, ...]:
        """Every number of devices that can occur, ascending.

        Raises:
            ArgumentError: the policy does not suit the space, or its answer is not a list of counts in the pool.
        """
        counts = self._rising("counts", self.policy.counts(self.space, self.pool))
        key = self.space.devices_key
        if key is not None and self.is_elastic:
            hint = (
                f"The parameter {key!r} is the number of devices in all segments of a trial: leave out one of the two."
            )
            raise ArgumentError("allocation", self.policy, f"a space without {key!r}", hint=hint)
        if key is not None and tuple(counts) != self.space.device_counts:
            hint = f"The parameter {key!r} is the number of devices: leave out one of the two."
            raise ArgumentError("allocation", self.policy, f"a policy with the counts of {key!r}", hint=hint)
        return counts

    @property
    def first_counts(self) -> tuple[int, ...]:
        """The numbers of devices that a new trial can get, ascending; some of `counts`.

        Raises:
            ArgumentError: the policy's answer is not a list of its counts.
        """
        found = self._rising("first_counts", self.policy.first_counts(self.space, self.pool))
        if not set(found) <= set(self.counts):
            self._refuse("first_counts", found, f"some of its counts {list(self.counts)}")
        return found

    @property
    def reference_counts(self) -> tuple[int, ...]:
        """The numbers of devices at which the seconds of a trial can be given."""
        if self.policy.reference is not None:
            return (self.policy.reference,)
        return self.counts if self.begins_by_moment else self.first_counts

    def check(self) -> None:
        """Asks the policy for one drawn configuration, so that an error in it is found before the study begins.

        Raises:
            ArgumentError: the policy raises an error, or its answer is not allowed.
        """
        config = self.space.sample(stream(0, "allocation check", 0))
        try:
            self.larger(config, self.first(config))
        except HwTuneError:
            raise
        except Exception as error:  # whatever the user's code raises
            hint = f"For {config} it raises {type(error).__name__}: {error}"
            raise ArgumentError("allocation", self.policy, "a policy that suits this space", hint=hint) from error

    def first(self, config: Mapping[str, Any]) -> Allocation:
        """Returns the allocation of a new trial.

        Raises:
            ArgumentError: the policy's answer is not allowed.
        """
        answer, key = self.policy.first(self.space, self.pool, config), self.space.devices_key
        self._check("first", answer)
        if answer.devices not in self.first_counts:
            self._refuse("first", answer, f"an Allocation with one of its first_counts {list(self.first_counts)}")
        if key is not None and answer.devices != config[key]:
            self._refuse("first", answer, f"{counted(config[key], 'devices')}, the value of {key!r} in {dict(config)}")
        return answer

    def larger(self, config: Mapping[str, Any], allocation: Allocation) -> Allocation | None:
        """Returns where a trial continues that ran out of memory; None if no larger allocation fits into the pool.

        Raises:
            ArgumentError: the policy's answer is not allowed.
        """
        answer = self.policy.larger(self.space, self.pool, config, allocation)
        if answer is None:
            return None
        answer = self._on_type(answer, allocation)
        self._check("larger", answer)
        if answer.devices <= allocation.devices:
            self._refuse("larger", answer, f"more than {counted(allocation.devices, 'devices')}, or None")
        self._check_type("larger", answer, allocation)
        return answer if self.has_home(answer.devices, answer.instance) else None

    def dividing(self, config: Mapping[str, Any], instance: str = LOCAL) -> tuple[int, ...]:
        """Returns the policy's counts that divide the batch sizes of a configuration, ascending.

        Args:
            instance: the instance type of the trial, on which it must have a place; "local" for any.
        """
        able = (count for count in self.counts if self.has_home(count, instance))
        return tuple(count for count in able if divides(self.space, config, count))

    def has_home(self, n_devices: int, instance: str) -> bool:
        """Returns whether a trial of an instance type can have so many devices; True in a pool of one type."""
        return instance not in self.pool.types or bool(Placement(self.pool).homes(n_devices, instance))

    def begin(self, moment: Moment) -> Allocation:
        """Returns the devices of a new trial, by the state of the study.

        Raises:
            ArgumentError: the policy's answer is not allowed.
        """
        return self._of_moment("begin", self.policy.begin(moment), moment)

    def next(self, moment: Moment) -> Allocation:
        """Returns the devices on which a trial continues.

        Raises:
            ArgumentError: the policy's answer is not allowed.
        """
        return self._of_moment("next", self.policy.next(moment), moment)

    def stage(self, moment: StageMoment) -> StagePlan:
        """Returns the plan of a stage that begins now.

        Raises:
            ArgumentError: the policy's answer is not allowed.
        """
        answer = self.policy.stage(moment)
        if not isinstance(answer, StagePlan) or answer.trials < 0:
            self._refuse("stage", answer, "a StagePlan with 0 or more trials")
        if answer.devices not in self.counts or (answer.probe and answer.probe not in self.counts):
            self._refuse("stage", answer, f"a StagePlan with its counts {list(self.counts)}")
        if moment.most is not None and answer.trials > moment.most:
            self._refuse("stage", answer, f"a StagePlan with at most {counted(moment.most, 'trials')}")
        return answer

    def _of_moment(self, method: str, answer: Allocation, moment: Moment) -> Allocation:
        answer = self._on_type(answer, moment.allocation)
        if answer == moment.allocation:
            return answer
        self._check(method, answer)
        self._check_type(method, answer, moment.allocation)
        if answer.devices not in moment.counts:
            self._refuse(method, answer, f"an Allocation with one of moment.counts, {list(moment.counts)}")
        return answer

    def _rising(self, method: str, counts: tuple[int, ...]) -> tuple[int, ...]:
        is_list = isinstance(counts, tuple | list) and all(type(count) is int and count > 0 for count in counts)
        if not is_list or not counts or list(counts) != sorted(set(counts)):
            self._refuse(method, counts, "positive integers, ascending, at least one")
        return tuple(counts)

    def _on_type(self, answer: Allocation, present: Allocation) -> Allocation:
        """Returns the answer on the instance type that the trial has, if it names none."""
        if isinstance(answer, Allocation) and answer.instance == LOCAL and present.instance in self.pool.types:
            return dataclasses.replace(answer, instance=present.instance)
        return answer

    def _check_type(self, method: str, answer: Allocation, present: Allocation) -> None:
        """Refuses another instance type than that of the trial, whose seconds could not be compared."""
        if present.instance in self.pool.types and answer.instance != present.instance:
            self._refuse(method, answer, f"an Allocation on {present.instance!r}, the instance type of the trial")

    def _check(self, method: str, answer: Allocation) -> None:
        is_known = isinstance(answer, Allocation) and answer.instance in (LOCAL, *self.pool.types)
        if not is_known or answer.nodes != 1:
            types = (
                f", or one that names one of the instance types {sorted(self.pool.types)}" if self.pool.types else ""
            )
            self._refuse(method, answer, f"an Allocation such as Allocation(2), on one node of this host{types}")
        if not self.has_home(answer.devices, answer.instance):
            self._refuse(method, answer, f"a number of devices that nodes of type {answer.instance!r} can have")
        if answer.devices not in self.counts:
            self._refuse(method, answer, f"an Allocation with one of its counts {list(self.counts)}")

    def _refuse(self, method: str, answer: object, allowed: str) -> None:
        raise ArgumentError(f"allocation: {type(self.policy).__name__}.{method}", answer, allowed)
