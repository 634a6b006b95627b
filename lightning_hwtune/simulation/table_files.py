"""The files of a learning-curve table, read as a whole and checked; an error names the file and the problem.

A wrong table would silently give wrong figures. So nothing is matched by order or cut to fit: every configuration has
one id, every pair of task and configuration has each of the resources 1, 2, ... once, and numbers are numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from lightning_hwtune.errors import MissingDependencyError, StorageError
from lightning_hwtune.host.text_files import read_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TableFiles"]

KINDS = ("float", "int", "choice", "ordinal")
_ABOUT, _CONFIGS, _CURVES = "table.json", "configs.parquet", "curves.parquet"


@final
@dataclass(frozen=True, slots=True)
class TableFiles:
    """The content of a table's files.

    Attributes:
        about: content of `table.json`.
        configs: one row per configuration, sorted by id.
        curves: one row per task, configuration and resource, in this order.
        n_resources: length of each curve.
    """

    about: Mapping[str, Any]
    configs: pd.DataFrame
    curves: pd.DataFrame
    n_resources: int

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads the three files.

        Raises:
            StorageError: a file has a problem; the message names the file and the problem.
            MissingDependencyError: no package is installed that reads parquet files.
        """
        about = _about(folder / _ABOUT)
        configs = _configs(folder / _CONFIGS, about["hyperparameters"])
        curves, n_resources = _curves(folder / _CURVES, about["objectives"], configs)
        return cls(about, configs, curves, n_resources)


def _wrong(path: Path, text: str) -> StorageError:
    return StorageError(f"the table's file {str(path)!r}: {text}")


def _require(path: Path, is_met: object, text: str) -> None:
    if not is_met:
        raise _wrong(path, text)


# ---------------------------------------------------------------------- table.json


def _about(path: Path) -> Mapping[str, Any]:
    try:
        about = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise _wrong(path, f"it cannot be read as JSON: {error}") from error
    _require(path, isinstance(about, dict), "it is not a mapping")
    for key in ("name", "resource_unit", "hyperparameters", "objectives"):
        _require(path, key in about, f"it lacks '{key}'")
    for key in ("name", "resource_unit", "source", "licence"):
        _require(path, isinstance(about.get(key, ""), str), f"'{key}' is {about.get(key)!r} instead of text")
    for key, check in (("hyperparameters", _check_parameter), ("objectives", _check_objective)):
        forms = about[key]
        _require(path, isinstance(forms, dict) and forms, f"'{key}' is {forms!r} instead of a mapping")
        for name, form in forms.items():
            _require(path, isinstance(form, dict), f"'{key}.{name}' is {form!r} instead of a mapping")
            check(path, name, form)
    return dict(about)


def _check_parameter(path: Path, name: str, form: Mapping[str, Any]) -> None:
    kind = form.get("type")
    _require(path, kind in KINDS, f"the type of {name!r} is {kind!r} instead of one of {', '.join(KINDS)}")
    _check_flags(path, name, form, ("log", "hardware"))
    bounds = [form[key] for key in ("lower", "upper") if key in form]
    is_fit = all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in bounds)
    _require(path, is_fit and np.isfinite(bounds).all(), f"the bounds of {name!r} are {bounds!r} instead of numbers")
    _require(path, bounds == sorted(bounds), f"the lower bound of {name!r} is above the upper one: {bounds!r}")


def _check_objective(path: Path, name: str, form: Mapping[str, Any]) -> None:
    mode = form.get("mode")
    _require(path, mode in ("min", "max"), f"the mode of {name!r} is {mode!r} instead of 'min' or 'max'")
    _require(
        path, isinstance(form.get("unit", ""), str), f"the unit of {name!r} is {form.get('unit')!r} instead of text"
    )
    _check_flags(path, name, form, ("cumulative",))


def _check_flags(path: Path, name: str, form: Mapping[str, Any], flags: tuple[str, ...]) -> None:
    for flag in flags:
        _require(
            path,
            isinstance(form.get(flag, False), bool),
            f"'{flag}' of {name!r} is {form.get(flag)!r} instead of true or false",
        )


# ---------------------------------------------------------------------- the two parquet files


def _frame(path: Path, columns: list[str]) -> pd.DataFrame:
    """Returns the content of a file that has these columns and at least one row."""
    import pandas as pd

    _require(path, path.is_file() or not path.exists(), "it is not a regular file")
    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise MissingDependencyError(
            f"reading {path.name} needs pyarrow: pip install 'lightning_hwtune[tables]'"
        ) from error
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        NotImplementedError,
    ) as error:
        raise _wrong(path, f"it cannot be read: {error}") from error
    missing = [name for name in columns if name not in frame.columns]
    _require(path, not missing, f"it lacks the column {missing[:1]}")
    _require(path, len(frame), "it has no rows")
    return frame


def _configs(path: Path, forms: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    frame = _frame(path, ["config_id", *forms])
    ids = _ids(path, frame, "config_id")
    twice = ids[ids.duplicated()]
    _require(path, twice.empty, f"config_id {twice.head(1).tolist()} occurs more than once")
    for name, form in forms.items():
        column = frame[name]
        if form.get("when") is not None:  # empty where the condition does not hold; `Table` checks that
            column = column.dropna()
            _require(path, len(column), f"{name!r} has only empty cells")
        if form["type"] in ("float", "int"):
            cells = _numbers(path, column)
            _require(path, np.isfinite(cells).all(), f"{name!r} has cells that are not finite numbers")
            has_its_type = form["type"] == "float" or (cells == np.floor(cells)).all()
            _require(path, has_its_type, f"{name!r} has fractions, but its type in 'table.json' is int")
        else:
            _require(path, not column.isna().any(), f"{name!r} has empty cells")
    return frame.sort_values("config_id")


def _curves(path: Path, forms: Mapping[str, Any], configs: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    frame = _frame(path, ["task", "config_id", "resource", *forms])
    _ids(path, frame, "task")
    resources = _numbers(path, frame["resource"])
    is_fit = np.isfinite(resources).all() and (resources == np.floor(resources)).all() and (resources >= 1).all()
    _require(path, is_fit, "'resource' has cells that are not positive integers")
    unknown = frame.loc[~_ids(path, frame, "config_id").isin(configs["config_id"]), "config_id"].head(1).tolist()
    _require(path, not unknown, f"config_id {unknown} is not in {_CONFIGS}")
    key = ["task", "config_id", "resource"]
    twice = frame.loc[frame.duplicated(key), key].head(1).to_dict("records")
    _require(path, not twice, f"a row occurs twice: {twice}")
    n_resources = int(resources.max())
    n_rows = frame["task"].nunique() * len(configs) * n_resources
    _require(path, len(frame) == n_rows, f"every configuration needs resources 1 to {n_resources} in every task")
    for name in forms:
        _require(path, np.isfinite(_numbers(path, frame[name])).any(), f"{name!r} has no finite number")
    if "train_s" in forms:
        _check_times(path, frame.groupby(["task", "config_id"])["train_s"].max())
    return frame.assign(task=frame["task"].astype(str)).sort_values(key), n_resources


def _check_times(path: Path, last_s: pd.Series[Any]) -> None:
    at = last_s[~(last_s > 0)].index.tolist()[:1]
    _require(path, not at, f"'train_s' never rises above 0 for task and config_id {at}")


def _ids(path: Path, frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    """Returns a column of ids, which are all integers or all strings."""
    import pandas as pd

    _require(path, not frame[name].isna().any(), f"{name!r} has empty cells")
    kind = pd.api.types.infer_dtype(frame[name], skipna=False)
    _require(path, kind in ("integer", "string", "categorical"), f"{name!r} is {kind} instead of integers or strings")
    return frame[name]


def _numbers(path: Path, column: pd.Series[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    import pandas as pd

    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    _require(path, is_number, f"{column.name!r} is {column.dtype} instead of numbers")
    return column.to_numpy(dtype=np.float64, na_value=np.nan)
