"""The specification of a study: everything that is fixed before its first trial and written to its log.

`StudySpec` checks that the parts match (a `Cost` needs a price, a device count must not exceed the pool). It also finds
differences that a stored study does not allow.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Self, TypeVar, final

from lightning_hwtune.core.allocation import LOCAL
from lightning_hwtune.core.hardware.allocator import Allocator
from lightning_hwtune.core.hardware.billing import usd_of
from lightning_hwtune.core.hardware.placement import Placement
from lightning_hwtune.core.hardware.policies import POLICY_REGISTRY, allocation_for, policy_from_settings
from lightning_hwtune.core.hardware.policy import AllocationPolicy
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, DeviceSeconds, Energy, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import (
    SCHEDULER_REGISTRY,
    Race,
    Scheduler,
    SuccessiveHalving,
    scheduler_from_settings,
)
from lightning_hwtune.core.schedulers.staged import Staged
from lightning_hwtune.core.searchers import SEARCHER_REGISTRY, Searcher, searcher_from_settings
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.trainer_choices import check_batch_sizes, check_trainer_choices
from lightning_hwtune.errors import ArgumentError, StorageError, UnknownArgumentError
from lightning_hwtune.forms import FORMS
from lightning_hwtune.forms.run_options import LIMITS
from lightning_hwtune.forms.study_keys import FILE_KEYS
from lightning_hwtune.text import counted

__all__ = ["AUTO", "Limits", "StudySpec"]

AUTO = "auto"
_MOST_FINISHERS = 4
_Class = TypeVar("_Class", bound=type)


_FIELDS = {"max_time": "max_time_s", "max_cost": "max_cost_usd"}  # limit -> field, where it also has the unit


def _with_all_limits(cls: _Class) -> _Class:
    """Adds the limits of the table that the class does not declare."""
    for name, limit in LIMITS.items():
        if name not in {**cls.__annotations__, **_FIELDS}:
            cls.__annotations__[name] = limit.annotation
            setattr(cls, name, limit.default)
    return cls


@final
@dataclass(frozen=True, slots=True)
@_with_all_limits
class Limits:
    """Bounds on the whole study, over all its sessions; None for no bound.

    `forms.run_options` has the table of limits. Those that a rule reads are declared here.

    Attributes:
        max_time_s: seconds during which some process runs the study.
        max_cost_usd: the total bill, including start-ups and lost work.
        finishers: the number of fully trained trials that the study should end with; "auto" depends on the study, see
            `resolved`.
        stop_when: when no further trial begins; see `core.stall`.
    """

    max_trials: int | None = None
    max_time_s: float | None = None
    max_cost_usd: float | None = None
    max_parallel: int | None = None
    finishers: int | str = AUTO
    stop_when: str | None = None

    def __post_init__(self) -> None:
        for name, limit in LIMITS.items():
            field = _FIELDS.get(name, name)
            object.__setattr__(self, field, limit.form.read(name, getattr(self, field)))

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Returns the limits among the options of a run, under the names that users give them."""
        return cls().replaced(given)

    def replaced(self, given: Mapping[str, Any]) -> Self:
        """Returns these limits with those among the options of a run, under the names that users give them."""
        found = {_FIELDS.get(name, name): given[name] for name in LIMITS if name in given}
        return dataclasses.replace(self, **found)

    def value(self, name: str) -> Any:
        """Returns the limit that users give under this name."""
        return getattr(self, _FIELDS.get(name, name))

    @property
    def is_timed(self) -> bool:
        """Whether the time or the money of the study is limited."""
        return self.max_time_s is not None or self.max_cost_usd is not None

    def by_default(self, stored: Mapping[str, Any], given: Set[str] | None) -> tuple[Self, dict[str, Any]]:
        """Returns the limits in which those that were not given have their stored default, and all defaults.

        Args:
            stored: the defaults with which the study began; a limit without one takes today's.
            given: the names of the limits that the user gave; None for all.
        """
        absent = [_FIELDS.get(name, name) for name in LIMITS if given is not None and name not in given]
        today = type(self).of({name: limit.default for name, limit in LIMITS.items()}).to_dict()
        now = {field: getattr(self, field) for field in absent}
        defaults = {**today, **now, **stored}
        n_trials = now.get("max_trials")  # only some interfaces, such as the Hydra node, have a default
        if defaults["max_trials"] is None:
            defaults["max_trials"] = n_trials
        kept = {field: defaults[field] for field in absent if field != "max_trials" or n_trials is not None}
        return dataclasses.replace(self, **kept), defaults

    def resolved(self, spec: StudySpec) -> Self:
        """Returns these limits with an integer number of finishers, and without a limit of money if nothing costs any.

        "auto" is one for a single objective, because its front has one member. For several objectives it is the number
        of trials that a rung promotes (trials / eta, rounded up), but at most four.
        """
        if self.max_cost_usd is not None and not spec.most_usd_of(1.0):
            return dataclasses.replace(self, max_cost_usd=None).resolved(spec)
        if self.finishers != AUTO:
            return self
        most = _MOST_FINISHERS if len(spec.objectives) > 1 else 1
        promoted = most if self.max_trials is None else math.ceil(self.max_trials / spec.scheduler.ladder.eta)
        return dataclasses.replace(self, finishers=min(most, promoted))

    @property
    def n_finishers(self) -> int:
        """The number of finishers; the limits must be resolved."""
        if not isinstance(self.finishers, int):
            raise ValueError("these limits are not resolved yet")
        return self.finishers

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}


@final
@dataclass(frozen=True, slots=True)
class StudySpec:
    """The fixed parts of a study. `pool` must be resolved (its devices are a number).

    Without an `allocation`, it is the default for the space; see `policies.allocation_for`.

    Raises:
        ArgumentError: the parts do not match.
    """

    name: str
    space: SearchSpace
    objectives: Objectives
    scheduler: Scheduler
    searcher: Searcher
    pool: Pool
    seed: int = FILE_KEYS["seed"].default
    batch: str = FILE_KEYS["batch"].default
    max_retries: int = FILE_KEYS["max_retries"].default
    max_failures: int = FILE_KEYS["max_failures"].default
    allocation: AllocationPolicy | None = None

    def __post_init__(self) -> None:
        for name in ("seed", "batch", "max_retries", "max_failures"):
            object.__setattr__(self, name, FORMS["Study"][name].read(name, getattr(self, name)))
        object.__setattr__(self, "allocation", self.allocation or allocation_for(self.space))
        _ = self.space.rejected_share  # refuses a space in which no batch size is divisible by a device count
        self.searcher.check(self.space)
        self.searcher.check_objectives(self.objectives)
        if self.race().ladder != self.scheduler.ladder:  # making a race refuses an order whose objective does not exist
            allowed = "a scheduler whose race has the scheduler's own ladder"
            hint = "Pass `self.ladder` to the race in `start`, and change the levels in the scheduler's `rungs`."
            raise ArgumentError("scheduler", self.scheduler, allowed, hint=hint)
        self._check_hardware()

    def _check_hardware(self) -> None:
        counts = self.allocator.counts
        if max(counts) > self.pool.size:
            raise ArgumentError(
                self.space.devices_key or "devices",
                counts,
                f"counts up to {self.pool.size}, the number of {self.pool.accelerator} devices in the pool",
                hint="Use smaller counts or a larger pool.",
            )
        if self.pool.most_per_device > 1 and max(counts) > 1:
            hint = "A trial on several devices has them to itself. Leave `per_device` out, or use one device per trial."
            raise ArgumentError(
                "Pool.per_device", self.pool.per_device, "1, because trials may have several devices", hint=hint
            )
        if self.pool.most_per_device > 1 and Energy.name in self.objectives.recorded:
            hint = "A meter counts the whole device. Leave out Energy(), or `per_device`."
            raise ArgumentError("Pool.per_device", self.pool.per_device, "1, because the energy is measured", hint=hint)
        check_trainer_choices(self.space, self.pool.accelerator, counts, batch=self.batch)
        if self.allocator.plans_stages and not isinstance(self.scheduler, SuccessiveHalving):
            policy, unit, top = type(self.allocator.policy).__name__, self.scheduler.unit, self.scheduler.max_resource
            allowed = f"SuccessiveHalving with {policy}, which chooses how many trials begin and continue"
            hint = f"For example scheduler=SuccessiveHalving(max_{unit}={top})."
            raise ArgumentError("scheduler", self.scheduler, allowed, hint=hint)
        if self.allocator.is_elastic and self.batch != "global":
            hint = (
                "A policy that changes the devices of a trial keeps its global batch size, so that only time changes."
            )
            raise ArgumentError("batch", self.batch, f"'global' with {type(self.allocator.policy).__name__}", hint=hint)
        self._check_kinds(counts)
        size = self.pool.node_size
        if not self.pool.has_several_kinds and (split := [count for count in counts if count > size and count % size]):
            raise ArgumentError(
                self.space.devices_key or "devices",
                counts,
                f"counts up to {size}, the devices of a node, and multiples of it",
                hint=f"A trial trains inside one node, or on complete nodes; leave out {split[0]}.",
            )
        kinds = {type(item) for item in self.objectives}
        if self._is_priced and not self.has_price:
            argument = "objectives" if Cost in kinds else "constraints"
            given, what = (Cost(), "Cost()") if Cost in kinds else (Cost.name, Cost.name)
            raise ArgumentError(argument, given, f"{what} only with a price", hint="Set Pool(usd_per_device_hour=...).")
        if len(given_at := self.allocator.reference_counts) == 1 and len(kinds & self._proportional) > 1:
            why, hint = (
                "the device count is fixed",
                "With one device count they are multiples of each other: add NumDevices(1, 2) or remove one.",
            )
            if len(counts) > 1:
                why = f"all of them are given at {counted(given_at[0], 'devices')}"
                hint = "With one reference count they are multiples of each other: remove one."
            allowed = f"only one of TrainSeconds, DeviceSeconds and Cost, because {why}"
            raise ArgumentError("objectives", list(self.objectives.names), allowed, hint=hint)
        if {DeviceSeconds, Cost} <= kinds and not self._has_different_prices:
            raise ArgumentError(
                "objectives",
                list(self.objectives.names),
                "DeviceSeconds or Cost, not both",
                hint="The cost is the device-seconds times a constant price.",
            )

    def _check_kinds(self, counts: Sequence[int]) -> None:
        """Refuses what a pool with nodes of several kinds cannot do."""
        if not self.pool.has_several_kinds:
            return
        placement = Placement(self.pool)
        if homeless := [count for count in counts if not placement.homes(count)]:
            sizes = ", ".join(str(size) for size in sorted({size for _, size in placement.most}))
            raise ArgumentError(
                self.space.devices_key or "devices",
                list(counts),
                f"counts that fit into one node (devices: {sizes}), or on complete nodes with equal numbers of devices",
                hint=f"Leave out {homeless[0]}.",
            )
        if self.allocator.plans_stages:
            policy = type(self.allocator.policy).__name__
            allowed = f"nodes of one kind, because {policy} plans with equal nodes"
            raise ArgumentError("Pool.nodes", [kind.to_dict() for kind in self.pool.kinds], allowed)
        if self.space.instance_key is not None:
            hint = "The log has the instance type of each trial. Leave the parameter out."
            allowed = "no instance type in the space, because the pool has several kinds of nodes"
            raise ArgumentError(self.space.instance_key, list(self.space.usd_per_hour), allowed, hint=hint)

    @property
    def _proportional(self) -> set[type]:
        """The measured objectives that are multiples of each other if all trials have the same number of devices."""
        return {TrainSeconds, DeviceSeconds} if self._has_different_prices else {TrainSeconds, DeviceSeconds, Cost}

    @property
    def _has_different_prices(self) -> bool:
        return any(len(set(prices.values())) > 1 for prices in (self.space.usd_per_hour, self.pool.types))

    @property
    def has_price(self) -> bool:
        """Whether the devices have a price: that of the pool, or that of the instance type in each configuration."""
        return self.pool.usd_per_device_hour is not None or self.space.instance_key is not None

    @property
    def has_prices(self) -> bool:
        """Whether the price of a device may differ from trial to trial."""
        return self.space.instance_key is not None or bool(self.pool.types)

    def usd_of(self, config: Mapping[str, Any], device_s: float, instance: str = LOCAL) -> float:
        """Returns what device-seconds of a configuration cost.

        If the pool is not of an instance type, each of its devices stands for a machine of the configuration's type.

        Args:
            instance: the instance type of the devices, which counts in a pool of several types.
        """
        price = self.pool.types.get(instance) if instance != LOCAL else None
        return usd_of(self.pool, device_s, self._instance_price(config) if price is None else price)

    def most_usd_of(self, device_s: float) -> float:
        """Returns the most that device-seconds of any configuration cost."""
        prices = {} if self.pool.is_paid_whole else self.space.usd_per_hour
        return usd_of(self.pool, device_s, max(prices.values(), default=None))

    def _instance_price(self, config: Mapping[str, Any]) -> float | None:
        key = None if self.pool.is_paid_whole else self.space.instance_key
        return None if key is None else self.space.usd_per_hour[config[key]]

    @property
    def _is_priced(self) -> bool:
        """Whether an objective or a constraint depends on the price of the devices."""
        return Cost.name in self.objectives.recorded

    def check_rebuilds(self) -> None:
        """Refuses user-defined parts that another process could not rebuild from the log, or that do not answer.

        Raises:
            ArgumentError: a part is refused; the message says which, why, and what to do.
            MissingDependencyError: the searcher needs a package that is not installed.
        """
        self.searcher.check_installed()
        SCHEDULER_REGISTRY.check(self.scheduler)
        SEARCHER_REGISTRY.check(self.searcher)
        POLICY_REGISTRY.check(self.allocator.policy)
        self.allocator.check()
        if self.batch == "global" and self.space.devices_key is None:
            check_batch_sizes(self.space, self.allocator.counts)

    @property
    def allocator(self) -> Allocator:
        """What is asked for the devices of each trial."""
        return Allocator(self.allocation or allocation_for(self.space), self.space, self.pool)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for `StudyCreated`; `from_dict` reads it back."""
        return {
            "name": self.name,
            "space": self.space.to_dict(),
            "global_batch_sizes": list(self.space.batch_size_keys),
            "objectives": self.objectives.to_dict(),
            "constraints": [item.to_dict() for item in self.objectives.constraints],
            "scheduler": SCHEDULER_REGISTRY.stored(self.scheduler),
            "searcher": SEARCHER_REGISTRY.stored(self.searcher),
            "pool": self.pool.to_dict(),
            "allocation": POLICY_REGISTRY.stored(self.allocator.policy),
            "seed": self.seed,
            "batch": self.batch,
            "max_retries": self.max_retries,
            "max_failures": self.max_failures,
            "first_finisher": "knee",
            "budget": "guard",
            "seconds_at": "first-devices",
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StudySpec:
        """Returns the spec that `to_dict` described.

        Raises:
            StorageError: the data is damaged, or a newer version wrote it.
        """
        try:
            return cls(
                name=data["name"],
                space=_stored_space(data),
                objectives=Objectives.from_dict(data["objectives"], data.get("constraints", ())),
                scheduler=scheduler_from_settings(data["scheduler"]),
                searcher=searcher_from_settings(data["searcher"]),
                pool=Pool(**data["pool"]),
                allocation=policy_from_settings(data["allocation"]) if "allocation" in data else None,
                seed=data["seed"],
                batch=data["batch"],
                max_retries=data["max_retries"],
                max_failures=data["max_failures"],
            )
        except KeyError as error:
            raise StorageError(f"the study's settings lack {error}: the log is damaged") from error
        except UnknownArgumentError as error:
            text = f"the stored study is newer than this version, which does not know its setting `{error.given}`"
            raise StorageError(text) from error
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            why = "the stored study is newer than this version, or damaged, or uses a class that is not installed here"
            raise StorageError(f"the study's settings cannot be read: {why} ({error})") from error

    def race(self) -> Race:
        """Returns the race of this study with empty rungs; it keeps front members if the searcher requires it."""
        if self.allocator.plans_stages:
            return Staged(self.scheduler.ladder, self.objectives)
        chosen = self.scheduler.keeping_front() if self.searcher.keeps_front else self.scheduler
        return chosen.start(self.objectives)

    @property
    def has_open_ladder(self) -> bool:
        """Whether the study chooses settings of its ladder when it begins."""
        return bool(self.scheduler.open_settings)

    def completed(self, chosen: Mapping[str, Any]) -> Self:
        """Returns this specification with the chosen values of those settings of the ladder that are still open."""
        missing = {name: chosen[name] for name in self.scheduler.open_settings if chosen.get(name) is not None}
        if not missing:
            return self
        return dataclasses.replace(self, scheduler=dataclasses.replace(self.scheduler, **missing))

    def differences(self, given: StudySpec) -> dict[str, tuple[object, object]]:
        """Returns the differences in `given` that a stored study does not allow: setting -> (stored, given)."""
        mine, theirs = self.to_dict(), given.to_dict()
        found = {f"space.{key}": pair for key, pair in self.space.differences(given.space).items()}
        if self.searcher.keeps_front:  # the front is kept in any case, and older logs have the setting here
            mine["scheduler"] = SCHEDULER_REGISTRY.stored(self.scheduler.keeping_front())
            theirs["scheduler"] = SCHEDULER_REGISTRY.stored(given.scheduler.keeping_front())
        theirs["scheduler"] |= {key: mine["scheduler"].get(key) for key in given.scheduler.open_settings}
        found |= _differing("scheduler", mine["scheduler"], theirs["scheduler"])
        found |= _differing("allocation", mine["allocation"], theirs["allocation"])
        for key in ("objectives", "constraints", "seed", "batch"):
            if mine[key] != theirs[key]:
                found[key] = (mine[key], theirs[key])
        if self._is_priced:
            found |= _differing("pool", _price(self.pool), _price(given.pool))
        return found


def _stored_space(data: Mapping[str, Any]) -> SearchSpace:
    """Returns the space with the rule that was in force; in older logs, only `batch` says which it was."""
    space = SearchSpace.from_stored(data["space"])
    keys = tuple(data.get("global_batch_sizes", space.batch_size_keys if data["batch"] == "global" else ()))
    return space if keys == space.batch_size_keys else space.constrained(keys[0] if keys else None)


def _price(pool: Pool) -> dict[str, Any]:
    return {"usd_per_device_hour": pool.usd_per_device_hour, **({"nodes": dict(pool.types)} if pool.types else {})}


def _differing(prefix: str, stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, tuple[object, object]]:
    keys = [*stored, *(key for key in given if key not in stored)]
    return {f"{prefix}.{key}": (stored.get(key), given.get(key)) for key in keys if stored.get(key) != given.get(key)}
