"""Learning-curve tables: published measurements, read from files, for replays and for priors.

A table is a folder with

    table.json       name, resource_unit, hyperparameters (type, optionally lower, upper, log, when, hardware),
                     objectives (mode, unit, cumulative), source, licence
    configs.parquet  config_id and one column per hyperparameter; empty where the condition (`when`) does not hold
    curves.parquet   task, config_id, resource (1, 2, ...), one column per objective; NaN = diverged

Objectives. `train_s` is the training time: it becomes the study's own `TrainSeconds`, which the simulation measures
from the table's cumulative seconds. Other columns become metrics. `cost_usd` is called `usd` in studies, because the
toolkit's `Cost` has one price for the whole pool, while here each configuration has its own price: the cost of its full
training divided by the time of that training. Without `train_s`, one unit of resource counts as one second. Without
`cost_usd`, one second costs 1/3600 US dollar.

A surrogate's predictions of a cumulative column may decrease, so the columns that `table.json` calls cumulative are
replaced by their running maximum. A configuration that is not in the table gets the curves of its nearest neighbour in
the unit cube.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.constraints import MEASURED_QUANTITIES, Constraint
from lightning_hwtune.core.objectives import Metric, Objective, Objectives, TrainSeconds
from lightning_hwtune.core.space import Choice, Float, Int, Parameter, SearchSpace
from lightning_hwtune.errors import ArgumentError, StorageError, nearest
from lightning_hwtune.forms import FORMS
from lightning_hwtune.simulation.table_files import TableFiles

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Table", "TaskCurves", "table_folder"]

_METRIC_NAMES: Mapping[str, str] = {"cost_usd": "usd", "device_s": "device_seconds"}  # ours mean something else
_USD_PER_S = 1.0 / 3600
_LOG_RATIO = 100.0  # without a `log` in the table, a range that spans more than this factor gets a log scale


def table_folder(name: str | Path) -> Path:
    """Returns the folder of a table, from a path or the name of a folder in HWTUNE_DATA (`../shared/data` by default).

    Raises:
        ArgumentError: there is no such folder.
    """
    name = FORMS["Table"]["name"].read("table", name)
    root = Path(os.environ.get("HWTUNE_DATA", "../shared/data")) / "tables"
    for folder in (Path(name), root / name):
        if (folder / "table.json").is_file():
            return folder
    there = sorted(path.parent.name for path in root.glob("*/table.json"))
    listed = f"{', '.join(there)}{nearest(name, there)}" if there else "no table is there; set HWTUNE_DATA"
    raise ArgumentError("table", name, f"a folder with a table.json, or the name of one in {root}: {listed}")


@final
@dataclass(frozen=True, slots=True)
class Table:
    """One table with all its tasks.

    Attributes:
        space: the search space of the hyperparameters.
        configs: the table's own configurations, in the order of the rows used everywhere.
        objectives: all objectives, in the table's order, with the names they have in studies.
        columns: the same objectives, with the table's names.
        hardware: names of the parameters that are hardware.
    """

    name: str
    unit: str
    max_resource: int
    tasks: tuple[str, ...]
    space: SearchSpace
    configs: tuple[Mapping[str, Any], ...]
    objectives: Objectives
    columns: tuple[str, ...]
    hardware: tuple[str, ...]
    source: str
    licence: str
    _data: Mapping[str, npt.NDArray[np.float64]]

    @classmethod
    def load(cls, name: str | Path) -> Self:
        """Reads a table; see `table_folder` for the allowed values of `name`.

        Raises:
            ArgumentError: there is no such table.
            StorageError: its files are not as this module describes (`simulation.table_files`).
            MissingDependencyError: no package is installed that reads parquet files.
        """
        folder = table_folder(name)
        try:
            return cls._of(TableFiles.read(folder))
        except ArgumentError as error:  # raised by a parameter, an objective or the space that the files describe
            raise StorageError(f"the table {str(folder)!r} has wrong contents: {error}") from error

    @classmethod
    def _of(cls, files: TableFiles) -> Self:
        about, configs, curves = files.about, files.configs, files.curves
        forms, columns = about["hyperparameters"], tuple(about["objectives"])
        tasks = tuple(curves["task"].unique())
        values = curves[list(columns)].to_numpy(dtype=np.float64, copy=True, na_value=np.nan)
        cubes = values.reshape(len(tasks), len(configs), files.n_resources, len(columns))
        for place in (index for index, name in enumerate(columns) if about["objectives"][name].get("cumulative")):
            cubes[..., place] = np.maximum.accumulate(cubes[..., place], axis=2)
        space = SearchSpace({name: _parameter(form, configs[name]) for name, form in forms.items()})
        return cls(
            name=about["name"],
            unit=about["resource_unit"],
            max_resource=files.n_resources,
            tasks=tasks,
            space=space,
            configs=_plain_configs(configs, forms, space),
            objectives=Objectives([_objective(name, form) for name, form in about["objectives"].items()]),
            columns=columns,
            hardware=tuple(name for name, form in forms.items() if form.get("hardware")),
            source=about.get("source", ""),
            licence=about.get("licence", ""),
            _data=dict(zip(tasks, cubes, strict=True)),
        )

    def curves(self, task: str) -> TaskCurves:
        """Returns the curves of one task.

        Raises:
            ArgumentError: there is no such task.
        """
        if task not in self._data:
            raise ArgumentError("task", task, f"one of {', '.join(self.tasks)}{nearest(str(task), self.tasks)}")
        return TaskCurves(self, task, self._data[task])

    def chosen(self, columns: Sequence[str] | None = None) -> Objectives:
        """Returns the objectives with these names (the table's or the study's), in this order; None = all.

        Raises:
            ArgumentError: the table has no such objective.
        """
        if columns is None:
            return self.objectives
        names = {**dict(zip(self.columns, self.objectives, strict=True)), **{o.name: o for o in self.objectives}}
        for name in columns:
            if name not in names:
                raise ArgumentError("objectives", name, f"one of {', '.join(self.columns)}{nearest(name, names)}")
        return Objectives([names[name] for name in columns])

    def bounded(
        self, objectives: Objectives, at_most: Mapping[str, float], at_least: Mapping[str, float]
    ) -> Objectives:
        """Returns the objectives with these bounds; bounds on other columns of the table become constraints.

        Raises:
            ArgumentError: the table has no such objective, or a bound is not allowed.
        """
        own = dict(zip(self.columns, self.objectives.names, strict=True))
        own |= {name: name for name in self.objectives.names}
        bounds: dict[str, dict[str, Any]] = {}
        for key, given in (("at_most", at_most), ("at_least", at_least)):
            for name, value in given.items():
                if name not in own:
                    raise ArgumentError(key, name, f"one of {', '.join(self.columns)}{nearest(name, own)}")
                bounds.setdefault(own[name], {})[key] = value
        items = [
            dataclasses.replace(item, **bounds.pop(item.name))
            if isinstance(item, Metric) and item.name in bounds
            else item
            for item in objectives
        ]
        if (usd := _METRIC_NAMES["cost_usd"]) in bounds:  # this constraint would be on the cost that the study measures
            raise ArgumentError("bounds", usd, f"{usd} only if it is among the objectives")
        others = [Constraint(name, **bound, changes=name not in MEASURED_QUANTITIES) for name, bound in bounds.items()]
        return Objectives(items, others)


@final
@dataclass(frozen=True, slots=True)
class TaskCurves:
    """The curves of one task, as a simulation needs them. The number of devices has no effect: see the module.

    Attributes:
        raw: values in the users' directions, shape `(n_configs, n_resources, n_objectives)`; NaN = diverged.
    """

    table: Table
    task: str
    raw: npt.NDArray[np.float64]
    _rows: dict[tuple[Any, ...], int] = field(default_factory=dict, init=False, repr=False, compare=False)
    _points: list[npt.NDArray[np.float64]] = field(default_factory=list, init=False, repr=False, compare=False)
    _time_s: npt.NDArray[np.float64] = field(init=False, repr=False, compare=False)
    _price: npt.NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        columns, (n_configs, n_resources, _) = self.table.columns, self.raw.shape
        time_s = np.broadcast_to(np.arange(1.0, n_resources + 1), (n_configs, n_resources))
        if "train_s" in columns:
            time_s = self.raw[:, :, columns.index("train_s")]
        if not (np.isfinite(time_s).all() and (np.diff(time_s, axis=1, prepend=0.0) >= 0).all()):
            raise StorageError(f"{self.table.name}, {self.task}: train_s must be finite and cumulative")
        price = np.full(n_configs, _USD_PER_S)
        if "cost_usd" in columns:
            price = self.raw[:, -1, columns.index("cost_usd")] / time_s[:, -1]
        object.__setattr__(self, "_time_s", time_s)
        object.__setattr__(self, "_price", price)
        for row, config in reversed(list(enumerate(self.table.configs))):
            self._rows[_key(self.table.space, config)] = row

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the values that exist at every resource."""
        return self.table.objectives.metrics

    @property
    def max_resource(self) -> int:
        """The last resource of the table."""
        return self.table.max_resource

    @property
    def losses(self) -> npt.NDArray[np.float64]:
        """All objectives of the table, minimised, shape `(n_configs, n_resources, n_objectives)`; NaN = diverged."""
        n_objectives = self.raw.shape[2]
        return self.table.objectives.losses(self.raw.reshape(-1, n_objectives)).reshape(self.raw.shape)

    def row(self, config: Mapping[str, Any]) -> int:
        """Returns the row of a configuration, or of the nearest one in the unit cube (the first if equal)."""
        key = _key(self.table.space, config)
        if key not in self._rows:
            if not self._points:
                self._points.append(self.table.space.encode_many(self.table.configs))
            away = ((self._points[0] - self.table.space.encode(config)) ** 2).sum(axis=1)
            self._rows[key] = int(away.argmin())
        return self._rows[key]

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        """Returns the value of each metric."""
        cells = self.raw[self.row(config), resource - 1].tolist()
        pairs = zip(self.table.objectives, cells, strict=True)
        return {objective.name: cell for objective, cell in pairs if not objective.is_measured}

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        """Returns the table's cumulative seconds; 0.0 at resource 0."""
        return float(self._time_s[self.row(config), resource - 1]) if resource > 0 else 0.0

    def usd_per_s(self, config: Mapping[str, Any], num_devices: int) -> float:
        """Returns the price of one second of this configuration's own machines."""
        return float(self._price[self.row(config)])


def _key(space: SearchSpace, config: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(config.get(name, ...) for name in space)


def _parameter(form: Mapping[str, Any], column: pd.Series[Any]) -> Parameter:
    """Returns the parameter for a column. Bounds that the table does not state are taken from the column."""
    kind, when = form["type"], form.get("when")
    column = column if when is None else column.dropna()
    if kind in ("choice", "ordinal"):
        options = list(dict.fromkeys(column.tolist()))
        return Choice(sorted(options), ordered=kind == "ordinal" or None, when=when)
    low, high = min(form.get("lower", column.min()), column.min()), max(form.get("upper", column.max()), column.max())
    is_log = bool(form.get("log", low > 0 and high / low > _LOG_RATIO))
    if kind == "int":
        return Int(int(low), int(high), log=is_log, when=when)
    return Float(float(low), float(high), log=is_log, when=when)


def _plain_configs(
    configs: pd.DataFrame, forms: Mapping[str, Any], space: SearchSpace
) -> tuple[Mapping[str, Any], ...]:
    """Returns the configurations, without the empty cells of parameters that a configuration does not have.

    Raises:
        ArgumentError: a cell is empty although the parameter's condition holds, or the other way round.
    """
    cells = {name: [_plain_cell(cell, form) for cell in configs[name].tolist()] for name, form in forms.items()}
    rows = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
    if not space.is_conditional:
        return tuple(rows)
    return tuple(space.validate({name: cell for name, cell in row.items() if cell is not None}) for row in rows)


def _plain_cell(cell: Any, form: Mapping[str, Any]) -> Any:
    """Returns the value in a cell; None if it is empty."""
    if form.get("when") is not None and (cell is None or cell != cell):
        return None
    return int(cell) if form["type"] == "int" else cell


def _objective(name: str, form: Mapping[str, Any]) -> Objective:
    if name == TrainSeconds.name:
        return TrainSeconds(resolution=0)  # a table has no noise
    return Metric(_METRIC_NAMES.get(name, name), form["mode"], form.get("unit", ""))
