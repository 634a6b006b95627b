"""Tables on a terminal: a table that is too wide is split into several, and its columns are never wrapped."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from lightning_hwtune.core.finishers import finishers_text
from lightning_hwtune.core.record import FIRST_ERROR
from lightning_hwtune.core.schedulers import Scheduler
from lightning_hwtune.views.amounts import counted, cut, duration, money, number, share, size
from lightning_hwtune.views.front_confidence import CERTAIN_FROM
from lightning_hwtune.views.status import rung_forecast

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Trimmed", "frame_tables", "print_frame", "print_legend", "rung_table", "status_table"]

_MAX_FAILURE = 60
_LEAST_SHOWN = 0.01
_NOISE = (
    "probability: how likely the trial belongs on this front, given the noise of the measured times; "
    f"within_noise: yes if that is below {share(CERTAIN_FROM, 1.0)}"
)


@final
@dataclass(frozen=True, slots=True)
class Trimmed:
    """A table whose lines have no blanks at their end, in a file or a terminal."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self.table, options, pad=False):
            kept = "".join(segment.text for segment in line).rstrip()
            yield from Segment.adjust_line_length(line, cell_len(kept), pad=False)
            yield Segment.line()


def print_frame(console: Console, frame: pd.DataFrame, title: str = "") -> None:
    """Prints a data frame, as several tables one below the other if the console is too narrow for one.

    If the output is not a terminal (a file, a pipe), one table with its full width is printed.
    """
    width = console.width
    try:
        if not console.is_terminal:
            console.width = max(width, _wanted(console, _table(frame, list(frame.columns), title)))
        for i, table in enumerate(frame_tables(frame, console, title)):
            console.print(*[""] * bool(i), Trimmed(table), sep="\n")
    finally:
        console.width = width


def print_legend(console: Console, frame: pd.DataFrame) -> None:
    """Prints what the columns about the noise of measured times mean, if a front has them."""
    if {"probability", "within_noise"} <= set(frame):
        console.print(_NOISE, markup=False, soft_wrap=True)


def frame_tables(frame: pd.DataFrame, console: Console, title: str = "") -> list[Table]:
    """Returns tables that fit the console; each begins with the columns up to `trial`, or with the first column."""
    names = [str(name) for name in frame.columns]
    n_keys = names.index("trial") + 1 if "trial" in names else 1
    keys = names[:n_keys]
    blocks = [keys[:]]
    for name in names[n_keys:]:
        if len(blocks[-1]) > n_keys and _wanted(console, _table(frame, [*blocks[-1], name])) > console.width:
            blocks.append(keys[:])
        blocks[-1].append(name)
    return [_table(frame, columns, title if i == 0 else "") for i, columns in enumerate(blocks)]


def _table(frame: pd.DataFrame, columns: Sequence[str], title: str = "") -> Table:
    table = _plain_table(title)
    numeric = [_is_numeric(frame[name]) for name in columns]
    for name, is_number in zip(columns, numeric, strict=True):
        # a path is useless if it is cut, so it is folded
        fit: dict[str, Any] = (
            {"overflow": "fold"} if name == "checkpoint" else {"overflow": "ellipsis", "no_wrap": True}
        )
        table.add_column(Text(str(name)), justify="right" if is_number else "left", **fit)
    for row in frame[list(columns)].itertuples(index=False, name=None):
        table.add_row(*(Text(_cell(*item)) for item in zip(columns, row, numeric, strict=True)))
    return table


def _is_numeric(column: pd.Series[Any]) -> bool:
    import pandas as pd

    if column.dtype == object:  # numbers, where None stands for no value
        values = column.dropna()
        return bool(len(values)) and all(type(value) in (int, float) for value in values)
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _plain_table(title: str) -> Table:
    heading = Text(title, style="bold") if title else None
    return Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)


def _cell(name: str, value: object, is_number: bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and not is_number and math.isnan(value)):
        return ""
    if name == "probability" and isinstance(value, float) and value < _LEAST_SHOWN:
        return f"<{_LEAST_SHOWN}"  # it is estimated from a sample
    return cut(number(value), _MAX_FAILURE) if name == "failure" else number(value)


def _wanted(console: Console, table: Table) -> int:
    """Returns the width of the table in characters if it is not limited."""
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum


def rung_table(scheduler: Scheduler, n_trials: int, finishers: int = 0, to_end: int = 0) -> Group:
    """Returns the rungs before a study begins: the expected number of trials at each, and the expected total."""
    if scheduler.max_resource == 1:  # every trial reports once, at its end, which need not be that of an epoch
        return Group(Text(f"no rungs: every trial trains to its end ({counted(n_trials, 'trials')})"))
    forecast = rung_forecast(scheduler, n_trials, finishers, to_end)
    table = _plain_table(f"rungs of {counted(n_trials, 'trials')}")
    has_finishers = any(rung["finishers"] for rung in forecast["rungs"])
    for name in (forecast["unit"], "trials", "continue", *(["finishers"] if has_finishers else [])):
        table.add_column(Text(name), justify="right", no_wrap=True)
    for rung, after in itertools.pairwise(forecast["rungs"]):
        finish = [str(rung["finishers"] or "")] if has_finishers else []
        table.add_row(str(rung["rung"]), str(rung["trials"]), str(after["trials"]), *finish)
    table.add_row(str(forecast["rungs"][-1]["rung"]), str(forecast["fully_trained"]), "end")
    lines = [_first_trials(forecast)] if forecast["to_end"] else []
    if min(finishers, n_trials - forecast["to_end"]) > 0 and len(forecast["rungs"]) > 1:
        until = finishers_text(finishers, forecast["to_end"], n_trials)
        lines.append(f"finishers: the best trials that no rung promoted train to the end, {until}")
    return Group(Trimmed(table), *map(Text, [*lines, _total(forecast)]))


def _first_trials(forecast: Mapping[str, Any]) -> str:
    n = forecast["to_end"]
    first = "the first trial trains" if n == 1 else f"the first {n} trials train"
    return f"{'every trial trains' if n >= forecast['trials'] else first} to the end without a pause"


def _total(forecast: Mapping[str, Any]) -> str:
    full = forecast["epochs_full"]
    trials, epochs = counted(forecast["fully_trained"], "fully trained trials"), forecast["epochs"]
    both = f"{forecast['bound']} {trials} and {counted(epochs, forecast['unit'])}".lstrip()
    return (
        f"expected: {both}, {share(forecast['epochs'], full)} of the {full} for full training; less if trials end early"
    )


def status_table(entry: Mapping[str, Any]) -> Table:
    """Returns the content of `status_entry` as a table for people, with two columns."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, text in _status_rows(entry):
        table.add_row(name, Text(text))
    return table


def _status_rows(entry: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    reason = f": {entry['reason']}" if entry["reason"] else ""
    yield "study", entry["study"]
    yield "state", f"{entry['state']}{reason}"
    limit = entry["max_trials"]
    exist = (
        f"{entry['trials']}"
        if not limit
        else f"{entry['trials']} begun, more than the limit of {limit}"
        if entry["trials"] > limit
        else f"{entry['trials']} of {limit} begun, {limit - entry['trials']} to go"
    )
    states = ", ".join(f"{n} {name}" for name, n in entry["trials_by_state"].items() if n)
    yield "trials", f"{exist} ({states})" if states else exist
    yield "front", f"{counted(entry['front_size'], 'points')}; {entry['fully_trained']} fully trained"
    if entry.get("infeasible"):
        trained = f", {entry['infeasible_full']} of them fully trained" if entry["infeasible_full"] else ""
        yield "infeasible", f"{counted(entry['infeasible'], 'trials')}{trained}; {entry['infeasible_least']}"
    if entry["added_results"]:
        yield "added", f"{counted(entry['added_results'], 'results')} from elsewhere, from which the searcher learns"
    if "replicates" in entry:
        yield "replicates", _replicates(entry)
    spent, full, repeated = entry["epochs_spent"], entry["epochs_full"], entry["epochs_repeated"]
    again = f", {repeated} repeated" if repeated else ""
    part = f", {share(spent - repeated, full)} of the {full} for full training" if full else ""
    if not entry["reports_once"]:
        yield entry["unit"], f"{spent}{again}{part}"
    yield (
        "segments",
        f"{entry['segments']}, {entry['running_segments']} running, {_resumed(entry)}, "
        f"on up to {counted(entry['max_ranks_seen'], 'ranks')}",
    )
    if entry["reserved_devices"]:
        devices = counted(entry["reserved_devices"], "devices")
        yield "reserved", f"a trial waits for {devices}, which are reserved as they become free"
    at_once = entry["promotions_at_once"]
    yield "promotions", f"{entry['promotions']}{f', {at_once} of them without a pause' if at_once else ''}"
    if entry["ladder"]:
        yield "ladder", entry["ladder"]
    yield "errors", _errors(entry)
    devices = f"{duration(entry['device_s'])} of device time, {duration(entry['useful_device_s'])} of it useful"
    yield "time", f"{duration(entry['wall_s'])}; {devices}"
    if entry["time_left_s"] is not None:
        between = entry["time_left_range_s"]
        text = f", probably between {duration(between[0])} and {duration(between[1])}" if between else ""
        yield "left", f"about {duration(entry['time_left_s'])}{text}"
    if "waits_for" in entry:
        yield "waits for", f"{entry['waits_for']}: none is ready, so nothing trains"
    if entry["cost_usd"] is not None:
        idle = f", {money(entry['idle_and_launch_usd'])} idle and launch" if "idle_and_launch_usd" in entry else ""
        yield "cost", f"{money(entry['cost_usd'])} billed, {money(entry['useful_cost_usd'])} useful{idle}"
    yield "checkpoints", size(entry["checkpoints_bytes"])


def _resumed(entry: Mapping[str, Any]) -> str:
    n, by = entry["resumed_segments"], entry["resumed_by"]
    words = {"promotion": "after a promotion", "devices": "on other devices", "interruption": "after an interruption"}
    parts = [counted(k, "finishers") if name == "finisher" else f"{k} {words[name]}" for name, k in by.items() if k]
    return f"{n} resumed from a checkpoint" + (f" ({', '.join(parts)})" if parts else "")


def _errors(entry: Mapping[str, Any]) -> str:
    failed, retried = counted(entry["failed"], "trials"), counted(entry["retried"], "segments")
    if first := entry["failed_first"]:
        names = f"{'trial' if len(first) == 1 else 'trials'} {', '.join(map(str, first))}"
        start = "it starts again" if len(first) == 1 else "they start again"
        return f"{names} {FIRST_ERROR}; {start} when the study is run again"
    return f"{failed} failed, {retried} retried"


def _replicates(entry: Mapping[str, Any]) -> str:
    parts = [f"{entry['replicates_complete']} complete"]
    parts += [f"{entry['replicates_failed']} failed"] if entry["replicates_failed"] else []
    parts += [f"{entry['replicates_to_go']} to go"] if entry["replicates_to_go"] else []
    return f"{', '.join(parts)}; they repeat trials with other seeds and count in no other number of trials or epochs"
