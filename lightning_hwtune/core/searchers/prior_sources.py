"""What a prior can learn from: studies, tables of learning curves, data frames, and the studies of an Optuna storage.

Each function returns earlier tasks, and the objectives of their losses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.objectives import Objective, Objectives
from lightning_hwtune.core.searchers.copula import chained_scores
from lightning_hwtune.core.searchers.earlier_studies import EarlierTask
from lightning_hwtune.core.space import MAX_COMBINATIONS
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import Form, elements, integer, one_of, reading

__all__ = [
    "EarlierStudy",
    "EarlierTable",
    "Frame",
    "as_objectives",
    "chosen_objectives",
    "require_same_modes",
    "tasks_of_frame",
    "tasks_of_studies",
    "tasks_of_table",
]

Learned = tuple[list[EarlierTask], Objectives]


class EarlierStudy(Protocol):
    """A study to learn from, such as `hwt.Study`."""

    @property
    def name(self) -> str:
        """The study's name."""

    @property
    def spec(self) -> Any:
        """Its `StudySpec`."""

    def state(self) -> Any:
        """Returns its `StudyState`."""


class EarlierTable(Protocol):
    """A table of learning curves: `simulation.tables.Table`."""

    @property
    def name(self) -> str:
        """The table's name."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of its tasks."""

    @property
    def configs(self) -> tuple[Mapping[str, Any], ...]:
        """Its configurations, in the order of the rows of each curve."""

    @property
    def objectives(self) -> Objectives:
        """The objectives of its curves, in the order of their columns."""

    def curves(self, task: str) -> Any:
        """Returns the curves of a task, with `losses` of shape `(n_configs, n_resources, n_objectives)`."""


class Frame(Protocol):
    """A data frame, such as that of pandas."""

    @property
    def columns(self) -> Iterable[Any]:
        """The names of its columns."""

    def __getitem__(self, name: Any) -> Any:
        """Returns a column, with a method `tolist`."""


def tasks_of_studies(studies: Sequence[EarlierStudy], objectives: Sequence[str] | None) -> Learned:
    """Returns one task per study with a judged trial; see `ParetoPrior.from_studies`."""
    for study in studies or (None,):
        allowed = "at least one study, such as Study.load('digits')"
        with reading("studies", study, allowed):
            if isinstance(study, type) or not all(hasattr(study, name) for name in ("name", "spec", "state")):
                raise ArgumentError("studies", study, allowed)
    wanted = chosen_objectives(studies[0].name, studies[0].spec.objectives, objectives)
    tasks = []
    for study in studies:
        own = chosen_objectives(study.name, study.spec.objectives, wanted.names)
        require_same_modes(study.name, own, wanted)
        trials, scores = chained_scores(study.state().searched, own)
        if trials:
            tasks.append(EarlierTask.of(study.name, [trial.config for trial in trials], scores))
    if not tasks:
        raise ArgumentError("studies", [study.name for study in studies], "studies in which a trial has reached a rung")
    return tasks, wanted


def tasks_of_table(
    table: EarlierTable,
    tasks: Sequence[str] | None,
    objectives: Sequence[str] | None,
    rows: Sequence[int] | None,
    resource: int | None,
) -> Learned:
    """Returns one task per task of the table; see `ParetoPrior.from_table`."""
    allowed = "a table of learning curves such as Table.load('lcbench-surrogate')"
    with reading("table", table, allowed):
        needed = ("name", "tasks", "configs", "objectives", "curves")
        if isinstance(table, type) or not all(hasattr(table, name) for name in needed):
            raise ArgumentError("table", table, allowed)
    known = one_of(*table.tasks).but(f"one of {', '.join(table.tasks)}")
    of_tasks = list(table.tasks) if tasks is None else _listed("tasks", tasks, known)
    row = integer(0, len(table.configs) - 1)
    kept = list(range(len(table.configs))) if rows is None else _listed("rows", rows, row, each_once=False)
    wanted = chosen_objectives(table.name, table.objectives, objectives)
    columns = [table.objectives.names.index(name) for name in wanted.names]
    learned = []
    for task in of_tasks:
        losses = table.curves(task).losses
        last = resource or losses.shape[1]
        if last > losses.shape[1]:
            raise ArgumentError("resource", resource, f"an integer from 1 to {losses.shape[1]}")
        configs = [table.configs[row] for row in kept]
        learned.append(EarlierTask.of(f"{table.name}/{task}", configs, losses[kept, last - 1][:, columns]))
    return learned, wanted


def tasks_of_frame(
    frame: Frame,
    objectives: Objectives | Sequence[Objective | Mapping[str, str]] | Objective,
    task: str | None,
    parameters: Sequence[str] | None,
    name: str,
) -> Learned:
    """Returns one task per value of the column `task`, or a single one; see `ParetoPrior.from_frame`."""
    allowed = "a data frame with one row per configuration, with columns for its parameters and objectives"
    with reading("frame", frame, allowed):
        if isinstance(frame, type | str) or not (hasattr(frame, "columns") and hasattr(frame, "__getitem__")):
            raise ArgumentError("frame", frame, allowed)
        columns = {column: frame[column].tolist() for column in map(str, frame.columns)}
    wanted = as_objectives(objectives)
    known = one_of(*columns).but(f"one of the columns {', '.join(columns)}") if columns else None
    if known is None or not columns[next(iter(columns))]:
        raise ArgumentError("frame", frame, "a data frame with at least one row and one column")
    for objective in wanted.names:
        known.read("objectives", objective)
    others = [column for column in columns if column not in (*wanted.names, task)]
    values = others if parameters is None else _listed("parameters", parameters, known)
    losses = wanted.losses(_numbers(columns, wanted.names))
    group = [name] * len(losses) if task is None else [str(cell) for cell in columns[known.read("task", task)]]
    if not values:
        raise ArgumentError("frame", list(columns), "columns for the parameters, in addition to the objectives")
    tasks = []
    for label in dict.fromkeys(group):
        rows = [row for row, own in enumerate(group) if own == label]
        of_rows = {column: [_known(columns[column][row]) for row in rows] for column in values}
        tasks.append(EarlierTask(label, of_rows, losses[rows].tolist()))
    return tasks, wanted


def as_objectives(given: Objectives | Sequence[Objective | Mapping[str, str]] | Objective) -> Objectives:
    """Returns objectives, or builds them from a list of them or of their plain forms."""
    if isinstance(given, Objectives):
        return given
    if isinstance(given, Sequence) and given and all(isinstance(item, Mapping) for item in given):
        return Objectives.from_dict([item for item in given if isinstance(item, Mapping)])
    return Objectives(given)  # type: ignore[arg-type]  # it refuses what has another form


def _known(cell: Any) -> Any:
    """Returns the value of a parameter; None if it is missing, which is NaN in frames."""
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _numbers(columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Returns columns of numbers as a matrix; None counts as NaN, which means that training diverged."""
    try:
        cells = [[float("nan") if cell is None else float(cell) for cell in columns[name]] for name in names]
    except (TypeError, ValueError) as error:
        raise ArgumentError("frame", [columns[name][:3] for name in names], "numbers as objectives") from error
    return np.array(cells, dtype=np.float64).T


def _listed(argument: str, given: object, form: Form, *, each_once: bool = True) -> list[Any]:
    """Returns the items of a non-empty list.

    Raises:
        ArgumentError: the argument is not such a list, or an item does not have the form.
    """
    allowed = f"a list, or None for all; each is {form.allowed}"
    found = [form.read(argument, item) for item in elements(allowed, MAX_COMBINATIONS).read(argument, given)]
    if not found or (each_once and len(set(found)) < len(found)):
        raise ArgumentError(argument, found, f"at least one of the {argument}, each {argument.rstrip('s')} once")
    return found


def chosen_objectives(where: str, objectives: Objectives, names: Sequence[str] | None) -> Objectives:
    """Returns the objectives with these names, in this order; None means all."""
    if names is None:
        return objectives
    form = one_of(*objectives.names).but(f"one of {', '.join(objectives.names)}, the objectives of {where!r}")
    chosen = _listed("objectives", names, form)
    return Objectives([objectives[objectives.names.index(name)] for name in chosen])


def require_same_modes(where: str, own: Objectives, wanted: Objectives) -> None:
    for mine, theirs in zip(own, wanted, strict=True):
        if mine.mode != theirs.mode:
            raise ArgumentError(
                "objectives", f"{theirs.name} ({theirs.mode})", f"{mine.name} ({mine.mode}), as in {where!r}"
            )
