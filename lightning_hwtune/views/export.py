"""Trials, fronts and events as text for other programs: strict JSON and CSV.

A value that is not finite becomes null in JSON. In CSV, missing values and NaN are empty, and infinity is "inf".
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_hwtune.core.events import Event, to_dict
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.errors import ArgumentError, MissingDependencyError
from lightning_hwtune.store.files import write_whole
from lightning_hwtune.views.added import added_entries, added_frame
from lightning_hwtune.views.replicates import replicate_entries, replicates_frame
from lightning_hwtune.views.tables import front_entries, front_frame, trial_entries, trials_frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FORMATS",
    "events_text",
    "frame_csv",
    "front_text",
    "json_text",
    "trials_text",
    "write_export",
    "write_parquet",
]

FORMATS = ("json", "csv")


def json_text(data: object, *, indent: int | None = 2) -> str:
    """Returns `data` as strict JSON."""
    return json.dumps(_strict(data), indent=indent, allow_nan=False, default=str)


def _strict(data: object) -> object:
    if isinstance(data, Mapping):
        return {str(key): _strict(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_strict(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def frame_csv(frame: pd.DataFrame) -> str:
    """Returns a data frame as CSV with a header line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(frame.columns)
    for row in frame.itertuples(index=False, name=None):
        writer.writerow(_csv_cell(value) for value in row)
    return out.getvalue()


def _csv_cell(value: Any) -> Any:
    """Returns the content of a cell; an option that is a list or mapping becomes JSON."""
    import pandas as pd

    if isinstance(value, list | dict):
        return json_text(value, indent=None)
    return "" if pd.isna(value) else value


def trials_text(state: StudyFacts, form: str = "json") -> str:
    """Returns all trials.

    Raises:
        ArgumentError: `form` is neither "json" nor "csv".
    """
    _check(form)
    return json_text(trial_entries(state)) if form == "json" else frame_csv(trials_frame(state))


def front_text(state: StudyFacts, form: str = "json", at: str = "full") -> str:
    """Returns the front; `at` as in `tables.front_entries`.

    Raises:
        ArgumentError: `form` is neither "json" nor "csv", or `at` is unknown.
    """
    _check(form)
    return json_text(front_entries(state, at)) if form == "json" else frame_csv(front_frame(state, at))


def events_text(events: Iterable[Event], form: str = "json") -> str:
    """Returns the log: JSON has one object per line; CSV has the columns at, type, trial_id, and the rest as JSON.

    Raises:
        ArgumentError: `form` is neither "json" nor "csv".
    """
    _check(form)
    rows = [to_dict(event) for event in events]
    if form == "json":
        return "".join(json_text(row, indent=None) + "\n" for row in rows)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("at", "type", "trial_id", "fields"))
    writer.writerows(
        (row.pop("at"), row.pop("type"), row.pop("trial_id", None), json_text(row, indent=None)) for row in rows
    )
    return out.getvalue()


def write_export(state: StudyFacts, events: Iterable[Event], folder: Path, *, only_csv: bool = False) -> list[Path]:
    """Creates `folder` and writes trials and fronts in both formats and the events into it; returns the files.

    Args:
        only_csv: write only the tables as CSV.
    """
    events = list(events)
    texts: dict[str, str] = {}
    for form in FORMATS:
        texts[f"trials.{form}"] = trials_text(state, form)
        texts[f"front.{form}"] = front_text(state, form)
    texts["events.jsonl"] = events_text(events)
    if state.added:
        texts["added.json"] = json_text(added_entries(state))
        texts["added.csv"] = frame_csv(added_frame(state))
    if state.replicates:
        texts["replicates.json"] = json_text(replicate_entries(state))
        texts["replicates.csv"] = frame_csv(replicates_frame(state))
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: text for name, text in texts.items() if not only_csv or name.endswith(".csv")}
    return [write_whole(folder / name, text) for name, text in kept.items()]


def write_parquet(state: StudyFacts, folder: Path) -> list[Path]:
    """Creates `folder` and writes the tables of `write_export` as Parquet; a list or mapping in a cell becomes JSON.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    try:
        importlib.import_module("pyarrow")
    except ImportError as error:
        text = "an export to Parquet needs pyarrow: pip install 'lightning_hwtune[tables]'"
        raise MissingDependencyError(text) from error
    frames = {"trials": trials_frame(state), "front": front_frame(state)}
    frames |= {"added": added_frame(state)} if state.added else {}
    frames |= {"replicates": replicates_frame(state)} if state.replicates else {}
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, frame in frames.items():
        content = io.BytesIO()
        _plain_columns(frame).to_parquet(content, index=False)
        paths.append(write_whole(folder / f"{name}.parquet", content.getvalue()))
    return paths


def _plain_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns a frame in which a column of options of several kinds is text, since Parquet has one kind per column."""
    import pandas as pd

    for name in frame.select_dtypes(include=object).columns:
        cells = frame[name].tolist()
        kinds = {type(cell) for cell in cells if cell is not None}
        if len(kinds) > 1 or kinds & {list, dict}:
            texts = [cell if cell is None or isinstance(cell, str) else json_text(cell, indent=None) for cell in cells]
            frame = frame.assign(**{name: pd.Series(texts, frame.index, dtype=object)})
    return frame


def _check(form: str) -> None:
    if form not in FORMATS:
        raise ArgumentError("form", form, "'json' or 'csv'")
