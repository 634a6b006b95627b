"""The kinds of objectives: a metric that the training code logs, or a quantity that this package measures.

Each has a name, a direction and a unit. `TrainSeconds`, `DeviceSeconds` and `Cost` accumulate over a trial's segments.
If the number of devices changes between segments, they are given at that of the first one (`core.reference_count`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lightning_hwtune.core.constraints import check_bounds
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import checked_class, entries, reading
from lightning_hwtune.forms.given import Given

__all__ = [
    "MEASURED",
    "RESOLUTION",
    "Cost",
    "DeviceSeconds",
    "Energy",
    "Metric",
    "Objective",
    "PeakMemory",
    "TrainSeconds",
    "changed_settings",
    "objective_from_data",
]

RESOLUTION = 0.02
"""The relative resolution of measured objectives, by default."""


@checked_class()
@dataclass(frozen=True, slots=True)
class Metric(Given):
    """A value that the training code logs under `name`, e.g. `Metric("val/acc", "max")`.

    Args:
        name: the name as logged, e.g. with `self.log("val/acc", ...)`.
        mode: "min" or "max" ("minimize" and "maximize" are accepted and stored as the short form).
        unit: only shown in tables and plots.
        across_ranks: how the values of a trial's ranks become one value, if it runs on several devices: "mean",
            weighted by the samples that each rank validated; "max", "min", "sum"; or "rank0", the value of the first
            rank. A value that is already the same on all ranks (logged with `sync_dist=True`, or as a torchmetrics
            object) is kept as it is. With "mean", values logged with a `reduce_fx` of "max", "min" or "sum" are
            combined by that function instead.
        best: if True, the trial's value is the best one that it has reported so far, and the checkpoint of that report
            is kept. Values that are not finite are never the best.
        resolution: width of the cells in which values are ties, e.g. 0.001; 0 to compare exact values.
        at_most, at_least: bounds, inclusive. A trial outside them is infeasible: it ranks behind all feasible trials,
            and is never on the front. Bounds are final only at the end of a full training. Before, a violation only
            lowers the trial's rank.

    Examples:
        >>> hwt.Metric("val/acc", "maximize").mode
        'max'
        >>> hwt.Metric("val_error", "min", at_most=0.2).at_most
        0.2
    """

    name: str
    mode: str
    unit: str = ""
    across_ranks: str = "mean"
    best: bool = False
    resolution: float = 0.0
    at_most: float | None = None
    at_least: float | None = None
    is_measured: ClassVar[bool] = False
    is_noisy: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_bounds("Metric", self.at_most, self.at_least)
        if self.name in MEASURED and MEASURED[self.name] not in _ADDED:
            raise ArgumentError(
                "Metric.name",
                self.name,
                "the name of a value that the training logs",
                hint=f"The study measures {self.name!r} itself: use {MEASURED[self.name].__name__}().",
            )

    def better(self, best: float, new: float) -> float:
        """Returns the better of two values; one that is not finite is worse than any other."""
        if not math.isfinite(new):
            return best if math.isfinite(best) else new
        if not math.isfinite(best):
            return new
        return min(best, new) if self.mode == "min" else max(best, new)


@checked_class()
@dataclass(frozen=True, slots=True)
class TrainSeconds(Given):
    """Seconds from the start of training to the report, including validation, summed over segments; minimised.

    Args:
        resolution: relative width of the cells in which values are ties, e.g. 0.05 for 5 %; 0 to compare exact values.

    Examples:
        >>> hwt.TrainSeconds().name, hwt.TrainSeconds().unit
        ('train_s', 's')
    """

    resolution: float = RESOLUTION
    name: ClassVar[str] = "train_s"
    mode: ClassVar[str] = "min"
    unit: ClassVar[str] = "s"
    is_measured: ClassVar[bool] = True
    is_noisy: ClassVar[bool] = True


@checked_class()
@dataclass(frozen=True, slots=True)
class DeviceSeconds(Given):
    """Training seconds times the number of devices, summed over segments; minimised.

    Args:
        resolution: relative width of the cells in which values are ties, e.g. 0.05 for 5 %; 0 to compare exact values.

    Examples:
        >>> hwt.DeviceSeconds().name, hwt.DeviceSeconds().unit
        ('device_s', 's')
    """

    resolution: float = RESOLUTION
    name: ClassVar[str] = "device_s"
    mode: ClassVar[str] = "min"
    unit: ClassVar[str] = "s"
    is_measured: ClassVar[bool] = True
    is_noisy: ClassVar[bool] = True


@checked_class()
@dataclass(frozen=True, slots=True)
class Cost(Given):
    """Useful device-seconds times the pool's price, in US dollars; minimised. Excludes start-ups and lost work.

    Args:
        resolution: relative width of the cells in which values are ties, e.g. 0.05 for 5 %; 0 to compare exact values.

    Examples:
        >>> hwt.Cost().name, hwt.Cost().unit
        ('cost_usd', 'USD')
    """

    resolution: float = RESOLUTION
    name: ClassVar[str] = "cost_usd"
    mode: ClassVar[str] = "min"
    unit: ClassVar[str] = "USD"
    is_measured: ClassVar[bool] = True
    is_noisy: ClassVar[bool] = True


@checked_class()
@dataclass(frozen=True, slots=True)
class Energy(Given):
    """Energy of the training, in joules, from the start of training to the report; minimised.

    On GPUs it is what NVML counts for the devices of the trial, and needs the extra `energy`. On CPUs it is the energy
    of the processor packages and their memory (RAPL), multiplied by the trial's share of the CPU time of the host. It
    accumulates over a trial's segments. A study on a machine without such a meter does not start.

    Args:
        resolution: relative width of the cells in which values are ties, e.g. 0.05 for 5 %; 0 to compare exact values.

    Examples:
        >>> hwt.Energy().name, hwt.Energy().unit
        ('energy_j', 'J')
    """

    resolution: float = RESOLUTION
    name: ClassVar[str] = "energy_j"
    mode: ClassVar[str] = "min"
    unit: ClassVar[str] = "J"
    is_measured: ClassVar[bool] = True
    is_noisy: ClassVar[bool] = True


@checked_class()
@dataclass(frozen=True, slots=True)
class PeakMemory(Given):
    """The most host memory that was resident in the trial's processes, in bytes, over all segments; minimised.

    Processes of data loaders and the memory of GPUs are not included.

    Args:
        resolution: relative width of the cells in which values are ties, e.g. 0.05 for 5 %; 0 to compare exact values.

    Examples:
        >>> hwt.PeakMemory().name, hwt.PeakMemory().unit
        ('peak_memory', 'B')
    """

    resolution: float = RESOLUTION
    name: ClassVar[str] = "peak_memory"
    mode: ClassVar[str] = "min"
    unit: ClassVar[str] = "B"
    is_measured: ClassVar[bool] = True
    is_noisy: ClassVar[bool] = False


Measured = TrainSeconds | DeviceSeconds | Cost | Energy | PeakMemory
Objective = Metric | Measured
MEASURED: Mapping[str, type[Measured]] = {
    cls.name: cls for cls in (TrainSeconds, DeviceSeconds, Cost, Energy, PeakMemory)
}
"""Name -> objective that the study measures itself."""

_ADDED = (Energy, PeakMemory)
"""Kinds whose name a `Metric` may have, too: earlier studies may have logged such a value. Their data are marked."""

_UNSTORED: Mapping[str, Any] = {
    "across_ranks": "mean",
    "best": False,
    "resolution": 0.0,
    "at_most": None,
    "at_least": None,
}
"""What an objective in the log has if nothing is written; the first logs had no such settings. It never changes."""


def objective_from_data(form: object) -> Objective:
    """Returns the objective that plain data of the log describe.

    Raises:
        ArgumentError: the data has another form.
    """
    if not isinstance(form, Mapping):
        raise ArgumentError("objectives", form, "mappings such as {'name': 'val_loss', 'mode': 'min'}")
    with reading("objectives", form, "mappings such as {'name': 'val_loss', 'mode': 'min'}"):
        given = {str(key): value for key, value in entries(form).items()}
    kind, is_marked = MEASURED.get(str(given.get("name"))), given.pop("measured", False)
    if kind is not None and (is_marked or kind not in _ADDED):
        return kind(given.get("resolution", _UNSTORED["resolution"]))
    return Metric(**{**_UNSTORED, **given})


def changed_settings(item: Objective) -> dict[str, Any]:
    """Returns the settings of an objective that the log does not leave out."""
    settings = {name: getattr(item, name, left_out) for name, left_out in _UNSTORED.items()}
    changed = {name: value for name, value in settings.items() if value != _UNSTORED[name]}
    return changed | ({"measured": True} if isinstance(item, _ADDED) else {})
