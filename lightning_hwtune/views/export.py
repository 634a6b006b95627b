"""Trials, fronts and events as text for other programs: strict JSON and CSV.

A value that is not finite becomes null in JSON. In CSV, missing values and NaN are empty, and infinity is "inf".
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_hwtune.core.events import Event, to_dict
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.store.files import write_whole
from lightning_hwtune.views.added import added_entries, added_frame
from lightning_hwtune.views.replicates import replicate_entries, replicates_frame
from lightning_hwtune.views.tables import front_entries, front_frame, trial_entries, trials_frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FORMATS", "events_text", "frame_csv", "front_text", "json_text", "trials_text", "write_export"]

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


def write_export(state: StudyFacts, events: Iterable[Event], folder: Path) -> list[Path]:
    """Creates `folder` and writes trials and fronts in both formats and the events into it; returns the files."""
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
    return [write_whole(folder / name, text) for name, text in texts.items()]


def _check(form: str) -> None:
    if form not in FORMATS:
        raise ArgumentError("form", form, "'json' or 'csv'")
