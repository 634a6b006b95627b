"""The notes of a check about the reports of a training: where rungs really fall, and which objectives come late."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Sequence

from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.record import Unit
from lightning_hwtune.core.schedulers import Scheduler
from lightning_hwtune.errors import nearest
from lightning_hwtune.text import counted
from lightning_hwtune.training.channel import Report

__all__ = ["counts_last", "late_objectives", "must_train_on", "rung_places"]

_MOST_EPOCHS = 100  # epochs of two batches to train at most until the first rung, where an objective must be logged
_MOST_S = 60.0  # the same in seconds


def must_train_on(report: Report, wanted: Collection[str], levels: Sequence[int], n_reports: int) -> bool:
    """Return whether a check must train another epoch: an objective is missing, and no rung has needed it yet."""
    is_complete = all(name in report.metrics for name in wanted)
    is_affordable = n_reports < _MOST_EPOCHS and report.train_s < _MOST_S
    return not is_complete and report.resource < levels[0] and is_affordable


def late_objectives(reports: Sequence[Report], wanted: Collection[str], levels: Sequence[int], unit: str) -> list[str]:
    """Returns a line for each objective that was not in the first report of a check."""
    lines = []
    place = "epoch" if unit == Unit.EPOCHS else "report"
    for name in wanted:
        first = next((n for n, report in enumerate(reports, 1) if name in report.metrics), None)
        rungs = ", ".join(map(str, levels))
        if first is None:
            seen = f"the first {place}" if len(reports) == 1 else f"the first {len(reports)} {place}s"
            near = nearest(name, reports[-1].probe.logged if reports[-1].probe else ())
            text = f"{name!r} was not logged in {seen}; a trial fails if it is missing at a rung ({rungs})"
            lines.append(text + near)
        elif first > 1:
            lines.append(
                f"{name!r} is first logged in {place} {first}. Epochs without it are not reported, and a trial fails "
                f"if it is missing at a rung ({rungs})"
            )
    return lines


def counts_last(report: Report, objectives: Objectives) -> list[str]:
    """Returns a line for each objective whose best value callbacks of the Trainer follow, but whose last one counts."""
    monitors = report.probe.monitors if report.probe else ()
    lines = []
    for metric in objectives:
        if isinstance(metric, Metric) and not metric.best:
            callbacks = list(dict.fromkeys(name for name, monitored in monitors if monitored == metric.name))
            if callbacks:
                lines.append(
                    f"the last {metric.name!r} of a trial counts, although {' and '.join(callbacks)} "
                    f"follow{'s' if len(callbacks) == 1 else ''} the best one. `Metric({json.dumps(metric.name)}, "
                    f'"{metric.mode}", best=True)` lets the best one count and keeps its checkpoint'
                )
    return lines


def rung_places(report: Report, scheduler: Scheduler) -> list[str]:
    """Returns lines to print if rungs in steps or samples do not fall on their levels in the checked training."""
    places, levels, unit = report.probe.places if report.probe else None, scheduler.levels, scheduler.unit
    if unit == Unit.EPOCHS or places is None or not places.is_known or levels[-1] < places.first:
        return []
    falls_on = places.falls_on(levels, pauses=scheduler.pauses)
    if falls_on == tuple(levels):
        return []
    pairs = ", ".join(f"{level} at {at}" for level, at in zip(levels, falls_on, strict=True))
    lines = [
        f"an epoch has {counted(f'{places.per_epoch:g}', unit)}, so some rungs are decided after their levels: {pairs}"
    ]
    for at, group in itertools.groupby(zip(levels, falls_on, strict=True), key=lambda pair: pair[1]):
        same = [level for level, _ in group]
        if len(same) > 1:
            lines.append(f"the rungs {' and '.join(map(str, same))} coincide: both are decided at {counted(at, unit)}")
    if falls_on[-1] != levels[-1]:
        lines.append(f"a full training has {counted(falls_on[-1], unit)}, not {levels[-1]}")
    advice = (
        "Trainer(val_check_interval=...) validates more often"
        if not scheduler.pauses
        else "Trials pause only at the end of an epoch; `ASHA(type='stopping')` decides at each validation"
    )
    return [f"{'; '.join(lines)}. {advice}."]
