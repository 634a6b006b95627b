"""The live panel's content: totals in one line, the running segments, the current front."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import JustifyMethod, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.views.amounts import config_text, counted, cut, duration, number
from lightning_hwtune.views.announcements import totals
from lightning_hwtune.views.front_points import Point, front_points

__all__ = ["panel"]

_MAX_RUNNING = 8
_MAX_FRONT = 5
_MIN_CONFIG = 12
_MAX_NAME = 16


def panel(state: StudyFacts, now: float, width: int, left_s: float = math.nan) -> Iterator[RenderableType]:
    """Yields the panel from top to bottom. Nothing in it is wrapped; long lines are cut."""
    yield Rule(Text(state.spec.name, style="bold"), align="left", style="dim")
    yield _line(totals(state, now, left_s), style="bold")
    running = sorted(state.running.values(), key=lambda segment: segment.slots)
    yield _running_table(state, running[:_MAX_RUNNING], now, width)
    if len(running) > _MAX_RUNNING:
        yield _line(f"and {counted(len(running) - _MAX_RUNNING, 'segments')} more")
    front = front_points(state)
    if front:
        yield _line(f"front of {counted(len(front), 'points')}, fully trained")
        yield _front_table(state, front[:_MAX_FRONT], width)


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Table:
    """Returns a table whose last column, a configuration, gets the width that the others leave."""
    columns = [cut(name, _MAX_NAME) for name in columns]
    widths = [max(len(text) for text in column) for column in zip(columns, *rows, strict=True)]
    room = width - sum(n + 2 for n in widths[:-1])
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim")
    for name in columns[:-1]:
        justify: JustifyMethod = "left" if name == "devices" else "right"
        table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis")
    if room >= _MIN_CONFIG:
        table.add_column(columns[-1], no_wrap=True)
    for row in rows:
        table.add_row(*(Text(text) for text in row[:-1]), *([Text(cut(row[-1], room))] if room >= _MIN_CONFIG else []))
    return table


def _running_table(state: StudyFacts, running: Sequence[Segment], now: float, width: int) -> Table:
    rows = [
        (
            str(segment.trial_id),
            f"{state.spec.pool.accelerator} {', '.join(str(slot) for slot in segment.slots)}",
            str(segment.reached),
            str(state.trials[segment.trial_id].target),
            duration(state.segment_s(segment, now)),
            *_values(state, state.trials[segment.trial_id].last),
            _config(state, state.trials[segment.trial_id]),
        )
        for segment in running
    ]
    names = state.spec.objectives.names
    return _table(("trial", "devices", state.ladder.unit, "of", "time", *names, "configuration"), rows, width)


def _front_table(state: StudyFacts, front: Sequence[Point], width: int) -> Table:
    rows = [
        (
            str(point.trial.trial_id),
            counted(point.trial.num_devices, "devices"),
            *_values(state, point.measurement),
            _config(state, point.trial),
        )
        for point in front
    ]
    return _table(("trial", "devices", *state.spec.objectives.names, "configuration"), rows, width)


def _values(state: StudyFacts, measurement: Measurement | None) -> list[str]:
    names = state.spec.objectives.names
    return ["" if measurement is None else number(float(measurement.values[name])) for name in names]


def _config(state: StudyFacts, trial: TrialRecord) -> str:
    key = state.spec.space.devices_key
    return config_text({name: value for name, value in trial.config.items() if name != key})
