"""What `hwtune plan` works with: the pool, the limits, the speeds and the times, from options and a study file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from lightning_hwtune.cli.arguments import check_overrides, import_from_here
from lightning_hwtune.cli.replay import part
from lightning_hwtune.errors import ArgumentError

if TYPE_CHECKING:
    from lightning_hwtune.core.hardware.pool import Pool
    from lightning_hwtune.core.schedulers import Scheduler
    from lightning_hwtune.core.spec import StudySpec
    from lightning_hwtune.planning.nodes import NodeKind

__all__ = [
    "FileStudy",
    "given_scheduler",
    "needed",
    "of_file",
    "planned_budget",
    "planned_pool",
    "rented_kind",
    "studied",
    "training",
]

_SPEEDS = "NUMBER=SPEED,... such as 1=1,2=1.9,4=3.4; 1/2=0.55 if two trials share a device"


@final
@dataclass(frozen=True, slots=True)
class FileStudy:
    """What a study file gives: the study without the host, its pool as written, its trials and its limits."""

    spec: StudySpec
    pool: Pool
    trials: int | None
    deadline_s: float | None
    budget_usd: float | None


def of_file(path: Path, overrides: Sequence[str] | None) -> FileStudy:
    """Returns what a study file gives."""
    from lightning_hwtune.names.spelling import spell_by
    from lightning_hwtune.settings import StudySettings
    from lightning_hwtune.settings.spelling import FILE_SPELLING

    spell_by(FILE_SPELLING)
    changes = check_overrides(overrides)
    import_from_here()
    settings = StudySettings.load(path, changes)
    spec = settings.spec()
    limits = settings.limits().resolved(spec)
    return FileStudy(spec, settings.study_kwargs()["pool"], limits.max_trials, limits.max_time_s, limits.max_cost_usd)


def planned_pool(written: Pool | None, devices: int | None, price: float | None, *, is_rented: bool) -> Pool | None:
    """Returns the pool to plan for; None without one.

    Args:
        written: the pool of the study file.
        devices, price: those of the command line, which win over the study file.
        is_rented: whether nodes are rented, so that no pool is needed.

    Raises:
        ArgumentError: the number of devices is unknown, or a pool cannot have this price.
    """
    from lightning_hwtune.core.hardware.pool import NODE, Pool

    if devices is not None:
        has_price = price is None and written is not None and not written.has_several_kinds
        return Pool("cpu", devices, written.usd_per_device_hour if has_price and written is not None else price)
    found = None if written is None else _resolved(written, is_rented=is_rented)
    if price is None:
        return found
    if found is None:
        hint = "Add --devices for a pool. Rented nodes have the price of their type, see `hwtune instances`."
        raise ArgumentError("--usd-per-device-hour", price, "the price of a device of a pool", hint=hint)
    if found.instance is None or found.instance.name == NODE:
        return Pool("cpu", found.size, price)
    if price != found.usd_per_device_hour:
        name, own = found.instance.name, found.usd_per_device_hour or 0.0
        allowed = f"left out, because the pool consists of {name}, which costs {own:g} USD per device and hour"
        raise ArgumentError("--usd-per-device-hour", price, allowed, hint="Add --devices for another pool.")
    return found


def _resolved(pool: Pool, *, is_rented: bool) -> Pool | None:
    """Returns the pool of a study file with its devices; None if they are unknown and nodes are rented anyway."""
    from lightning_hwtune.engine.devices import on_allocated_nodes, resolve

    if pool.has_several_kinds:
        hint = "Plan with one kind, for example: hwtune plan STUDY.yaml pool.nodes=4 pool.devices=8"
        raise ArgumentError("pool.nodes", [kind.to_dict() for kind in pool.kinds], "equal nodes in a plan", hint=hint)
    if pool.nodes == "auto":
        try:
            pool = on_allocated_nodes(pool)
        except ArgumentError:
            if is_rented:
                return None
            own = "" if isinstance(pool.devices, int) else " pool.devices=2"
            hint = f"Add the nodes that the study will have: pool.nodes=1{own}. Or add the devices of all: --devices 2."
            allowed = "a number, outside of an allocation of Slurm"
            raise ArgumentError("pool.nodes", pool.nodes, allowed, hint=hint) from None
    return pool if pool.devices != "auto" else resolve(pool)  # a number may be that of another machine


def needed(option: str, value: Any, allowed: str) -> Any:
    """Returns the value of an option that was given."""
    if value is None:
        raise ArgumentError(option, None, allowed)
    return value


def planned_budget(given: float | None, of_file: float | None) -> float:
    """Returns the largest cost; infinity for no limit."""
    from lightning_hwtune.forms.run_options import LIMITS

    if given is not None:
        found: float = LIMITS["max_cost"].form.read("--budget", given)
        return found
    return math.inf if of_file is None else of_file


def given_scheduler(text: str | None) -> Scheduler | None:
    """Returns the scheduler of `--scheduler`."""
    from lightning_hwtune.core.schedulers import SCHEDULERS, scheduler_from_settings

    if text is None:
        return None
    name, options = part(text)
    short = name.replace("-", "_")
    return scheduler_from_settings({"name": short if short in SCHEDULERS else name, **options})


def training(
    speeds: str | None, profile: str | None, samples: int | None, unit_s: float | None, most: int
) -> tuple[Mapping[Any, float], float, list[str]]:
    """Returns the speeds by number of devices, the seconds of an epoch on one device, and notes."""
    from lightning_hwtune.planning.profiled import profiled_speeds
    from lightning_hwtune.store.profiles import read_profile

    allowed = "the seconds of one epoch on one device"
    if profile is None:
        if samples is not None:
            raise ArgumentError("--samples", samples, "left out without --profile", hint="Give --unit-s.")
        return _speeds(speeds or "1=1"), needed("--unit-s", unit_s, allowed), []
    if speeds is not None:
        raise ArgumentError("--speeds", speeds, "left out with --profile, which has the speeds")
    measured = read_profile(profile)
    found = profiled_speeds(measured, most)
    if unit_s is None:
        n_samples = needed("--samples", samples, f"the samples of one epoch, or --unit-s, {allowed}")
        unit_s = n_samples / measured.global_batch / found.speeds[1]
    return found.speeds, unit_s, list(found.notes)


def studied(
    name: str, folder: Path, scheduler: Scheduler, unit_s: float | None, most: int, others: Mapping[str, Any]
) -> tuple[Mapping[Any, float], float, float, list[str]]:
    """Returns what `training` does, by what an earlier study has measured; before the notes, its start-up seconds."""
    from lightning_hwtune.cli.study_selection import choose
    from lightning_hwtune.planning.profiled import studied_speeds

    for option, value in others.items():
        if value is not None:
            raise ArgumentError(option, value, "left out with --measured-by, which has the speeds")
    state = choose(folder, name, None).state()
    if state.spec.scheduler.unit != scheduler.unit:
        allowed = f"a study that counts {scheduler.unit}, as the scheduler of the plan does"
        raise ArgumentError("--measured-by", f"{name}, which counts {state.spec.scheduler.unit}", allowed)
    found = studied_speeds(state, most)
    return found.speeds, found.unit_s if unit_s is None else unit_s, found.start_s, list(found.notes)


def _speeds(text: str) -> dict[Fraction, float]:
    """Returns the speeds in text such as "1=1,2=1.9,1/2=0.55"."""
    from lightning_hwtune.planning.advisor import device_share

    found: dict[Fraction, float] = {}
    for item in text.split(","):
        number, equals, speed = (word.strip() for word in item.partition("="))
        try:
            value = float(speed)
        except ValueError:
            raise ArgumentError("--speeds", item, _SPEEDS) from None
        count = device_share(number)
        if not equals or count in found:
            raise ArgumentError("--speeds", text, f"{_SPEEDS}, each number once")
        found[count] = value
    return found


def rented_kind(instance: str, catalogue: Path | None, most: int, launch_s: float, *, spot: bool) -> NodeKind:
    """Returns the type of rented nodes."""
    from lightning_hwtune.core.hardware.catalogue import Catalogue
    from lightning_hwtune.planning.nodes import NodeKind
    from lightning_hwtune.settings.catalogue_file import read_catalogue

    known = Catalogue.builtin() if catalogue is None else read_catalogue(catalogue)
    return NodeKind.of(known[instance], most=most, launch_s=launch_s, spot=spot)
