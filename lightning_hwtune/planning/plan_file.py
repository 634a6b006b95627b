"""The file of a chosen plan: what a study is to run by, and what was predicted. `hwtune run --plan` executes it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, final

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.schedulers import SCHEDULER_REGISTRY, Scheduler, SuccessiveHalving
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.errors import ArgumentError, StorageError
from lightning_hwtune.host.text_files import read_text
from lightning_hwtune.planning.advisor import device_share
from lightning_hwtune.planning.comparison import DEADLINE, SEER, Option, Wish
from lightning_hwtune.store.files import make_folder, write_whole
from lightning_hwtune.text import counted

__all__ = ["PLAN", "PlanFile", "compared", "read_plan", "write_plan"]

PLAN = "plan.json"
"""Its name in the folder of a study."""

_FORM = 1


@final
@dataclass(frozen=True, slots=True)
class PlanFile:
    """A chosen plan.

    Attributes:
        policy: as in `Option`.
        trials: the number of trials. devices: devices per trial; one number, or that of each stage.
        instance: the type of the rented nodes; None for a pool.
        pool_devices: devices of the pool that the plan was made for, or of one node.
        scheduler: the scheduler's settings.
        seconds, usd: what was predicted. least_s, most_s: the range of the time.
        deadline_s, budget_usd: the limits; None without one.
        stages: what each stage gets; empty for a fixed number of devices per trial in a pool.
        training: of a SEER-style plan, what it was made from: `unit_s`, `speeds` and `start_s`; of a study until a
            deadline, its `allocation`, and `devices` if it uses more than the pool has, for less time.
    """

    policy: str
    trials: int
    devices: str
    instance: str | None
    pool_devices: int
    scheduler: Mapping[str, Any]
    seconds: float
    usd: float | None
    least_s: float | None
    most_s: float | None
    deadline_s: float | None
    budget_usd: float | None
    stages: Sequence[Mapping[str, Any]] = ()
    training: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        option: Option,
        wish: Wish,
        scheduler: Scheduler,
        *,
        instance: str | None,
        training: Mapping[str, Any] | None = None,
        pool: int | None = None,
    ) -> Self:
        """Returns the file of an option.

        Args:
            instance: the type of rented nodes; a pool has none.
            training: what a SEER-style plan, or a study until a deadline, runs with.
            pool: the devices of the study's pool, if the option has others.
        """
        data, between, pool_devices = option.to_dict(), option.spread, option.held if pool is None else pool
        return cls(
            policy=option.policy,
            trials=option.trials,
            devices=option.devices,
            instance=instance if option.nodes else None,
            pool_devices=pool_devices,
            scheduler=SCHEDULER_REGISTRY.stored(scheduler),
            seconds=option.seconds,
            usd=option.usd,
            least_s=None if between is None else between.least_s,
            most_s=None if between is None else between.most_s,
            deadline_s=_finite(wish.deadline_s),
            budget_usd=_finite(wish.budget_usd),
            stages=data.get("stages", ()),
            training=training if option.policy in (SEER, DEADLINE) else None,
        )

    def overrides(self, spec: StudySpec, given: Sequence[str]) -> list[str]:
        """Returns the changes to a study file with which it runs by this plan.

        Args:
            spec: the study of the file.
            given: changes that the user gave. Limits among them win over those of the plan.

        Raises:
            ArgumentError: the plan was made for other devices or another scheduler.
        """
        self._check(spec, spec.pool)
        training = self.training or {}
        limits = {"max_time": self.deadline_s, "max_cost": self.budget_usd}
        is_given = {text.lstrip("+").partition("=")[0] for text in given}
        if self.policy in (SEER, DEADLINE):  # the number of trials follows from the deadline
            settings = self._seer_settings() if self.policy == SEER else self._deadline_settings()
            found = [] if "max_trials" in is_given else ["++max_trials=null"]
            found += [f"++allocation={{{', '.join(settings)}}}"]
            found += [f"++pool.devices={training['devices']}"] if "devices" in training else []
        elif self.stages:
            nodes = f", nodes: {[stage['nodes'] for stage in self.stages]}" if self.instance is not None else ""
            found = [f"++max_trials={self.trials}"]
            found += [f"++allocation={{name: planned, devices: {[stage['devices'] for stage in self.stages]}{nodes}}}"]
        else:
            found = [f"++max_trials={self.trials}", "++allocation.name=fixed", f"++allocation.devices={self.devices}"]
        return [*found, *(f"++{name}={value!r}" for name, value in limits.items() if value and name not in is_given)]

    def refusal(self, spec: StudySpec, pool: Pool | None) -> str:
        """Returns why a study cannot run by this plan, as its file is now; an empty text if it can.

        Args:
            spec: the study of the file, without the host.
            pool: its pool; None if that is still unknown. One with "auto" is not compared.
        """
        is_known = pool is not None and isinstance(pool.devices, int) and pool.nodes != "auto"
        try:
            self._check(spec, pool if is_known else None)
        except ArgumentError as error:
            return str(error)
        return ""

    def _seer_settings(self) -> list[str]:
        training = self.training or {}
        speeds = ", ".join(f"{count}: {speed!r}" for count, speed in training.get("speeds", {}).items())
        found = [f"{name}: {training[name]!r}" for name in ("unit_s", "start_s") if name in training]
        return ["name: seer", *found, *([f"speeds: {{{speeds}}}"] if speeds else [])]

    def _deadline_settings(self) -> list[str]:
        allocation = (self.training or {}).get("allocation", {"name": "deadline"})
        return [f"{name}: {value}" for name, value in allocation.items() if value is not None]

    def _check(self, spec: StudySpec, pool: Pool | None) -> None:
        if pool is None:
            pass
        elif self.instance is not None:
            self._check_nodes(pool)
        elif self.pool_devices != pool.size:
            raise ArgumentError(
                "--plan",
                f"a plan for a pool of {counted(self.pool_devices, 'devices')}",
                f"one for {counted(pool.size, 'devices')}, the pool of the study",
                hint="Make the plan again with the study file.",
            )
        if (self.policy == SEER or self.stages) and not isinstance(spec.scheduler, SuccessiveHalving):
            hint = "Write `scheduler: successive_halving` into the study file, and make the plan again."
            given = SCHEDULER_REGISTRY.name_of(type(spec.scheduler))
            name = "SEER-style" if self.policy == SEER else self.policy
            raise ArgumentError("--plan", f"a {name} plan", f"another plan with the scheduler {given}", hint=hint)
        if self.policy != SEER and not self.stages and device_share(self.devices).denominator != 1:
            raise ArgumentError("--plan", f"{self.devices} device per trial", "whole devices per trial")
        if spec.space.devices_key is not None:
            key = spec.space.devices_key
            allowed = f"a plan only for a study that does not search {key!r}, its number of devices"
            hint = f"Add ~space.{key} to `hwtune run`, or remove it from the study file; or run without a plan."
            raise ArgumentError("--plan", "a plan that sets the devices per trial", allowed, hint=hint)
        if dict(self.scheduler) != SCHEDULER_REGISTRY.stored(spec.scheduler):
            hint = "Make the plan again with the study file."
            raise ArgumentError("--plan", dict(self.scheduler), "a plan for the scheduler of the study", hint=hint)

    def _check_nodes(self, pool: Pool) -> None:
        """Refuses a plan for rented nodes if the pool of the study has others, or too few."""
        most = max(stage["nodes"] for stage in self.stages)
        own = None if pool.instance is None else pool.instance.name
        if (own, pool.node_size) != (self.instance, self.pool_devices):
            wanted = f"{self.instance} with {counted(self.pool_devices, 'devices')}"
            has = f"nodes of type {own} with {counted(pool.node_size, 'devices')}" if own else "this host"
            nodes = f"`pool: {{instance: {self.instance}, nodes: {most}}}`"
            raise ArgumentError(
                "--plan",
                f"a plan ({self.policy}) for nodes of type {wanted}",
                f"a plan for the pool of the study: {has}",
                hint=f"Write {nodes} into the study file for a study on such nodes, or make a plan with "
                "`hwtune plan STUDY.yaml --policy pool`.",
            )
        if most > pool.n_nodes:
            allowed = f"at most {pool.n_nodes}, the nodes of the pool"
            raise ArgumentError("--plan", f"a plan for {counted(most, 'nodes')}", allowed, hint="Give `--most`.")


def compared(plan: PlanFile, state: StudyFacts) -> list[dict[str, Any]]:
    """Returns rows of what was predicted and what the study took: time, cost, trials, devices per trial.

    Each row has `name`, `unit`, `predicted`, `least` and `most` (the range; None if there is none), `actual`, and
    `ratio`, actual divided by predicted.
    """
    segments = [segment.num_devices for segment in state.segments]
    mean = sum(segments) / len(segments) if segments else None
    devices = None if "," in plan.devices else float(device_share(plan.devices))
    usd = state.billed_usd(state.last_at) if state.spec.has_price else None
    return [
        _row("time", "seconds", plan.seconds, state.wall_s(state.last_at), (plan.least_s, plan.most_s)),
        _row("cost", "usd", plan.usd, usd),
        _row("trials", "trials", plan.trials, len(state.searched)),
        _row("devices per segment", "devices", devices, mean),
    ]


def _row(
    name: str,
    unit: str,
    predicted: float | None,
    actual: float | None,
    between: tuple[float | None, float | None] = (None, None),
) -> dict[str, Any]:
    ratio = actual / predicted if predicted and actual is not None else None
    least, most = between
    found = {"name": name, "unit": unit, "predicted": predicted, "least": least, "most": most}
    return {**found, "actual": actual, "ratio": ratio}


def write_plan(path: Path, plan: PlanFile) -> None:
    """Writes a plan, and replaces an older one.

    Raises:
        StorageError: the file cannot be written.
    """
    make_folder(path.parent)
    write_whole(path, (json.dumps({"form": _FORM, **asdict(plan)}, indent=1) + "\n").encode())


def read_plan(path: Path) -> PlanFile:
    """Returns the plan in a file.

    Raises:
        ArgumentError: there is no such file.
        StorageError: it is not the file of a plan, or a newer version wrote it.
    """
    if not path.is_file():
        hint = (
            "`hwtune plan STUDY.yaml --output plan.json` writes it; `hwtune run --plan` keeps it in the study's folder."
        )
        raise ArgumentError("plan", str(path), f"a file such as {PLAN}", hint=hint)
    try:
        data = json.loads(read_text(path))
        form = data.pop("form")
        if form != _FORM:
            raise ValueError(f"its form is {form!r} instead of {_FORM}")
        return _checked(PlanFile(**data))
    except OSError as error:
        raise StorageError(f"cannot read {str(path)!r}: {error}", error.errno) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{str(path)!r} is not the file of a plan: {error}") from error


def _checked(plan: PlanFile) -> PlanFile:
    """Returns the plan if the values that a study runs by have the right kinds."""
    if type(plan.trials) is not int or plan.trials < 1 or type(plan.pool_devices) is not int:
        raise ValueError("its numbers of trials and devices must be positive integers")
    if not isinstance(plan.devices, str) or not isinstance(plan.scheduler, Mapping):
        raise ValueError("its devices must be text, and its scheduler must have settings")
    limits = (plan.seconds, plan.usd, plan.least_s, plan.most_s, plan.deadline_s, plan.budget_usd)
    if not all(value is None or (type(value) in (int, float) and value >= 0) for value in limits):
        raise ValueError("its times and costs must be numbers")
    if plan.training is not None and not isinstance(plan.training, Mapping):
        raise ValueError("its training must be a mapping")
    if plan.instance is None and plan.policy != SEER:
        device_share(plan.devices)
    return plan


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None
