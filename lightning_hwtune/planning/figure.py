"""Plans as a figure: the devices that are paid over time, one line per policy."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lightning_hwtune.planning.comparison import Comparison, Option
from lightning_hwtune.views.amounts import duration, money
from lightning_hwtune.views.plots.canvas import DEVICE_COLORS, INK, StudyFigure, tidy, time_unit

__all__ = ["plan_figure"]


def plan_figure(found: Comparison) -> StudyFigure:
    """Returns the devices over time of each option that is shown; the chosen one is filled.

    A bar at the end of a line is the range of its end, where trials differ in speed. A dashed line is the deadline.
    """
    shown = found.shown
    ends_s = [option.spread.most_s if option.spread is not None else option.seconds for option in shown]
    deadline_s = found.wish.deadline_s
    length_s = max([*ends_s, *([deadline_s] if math.isfinite(deadline_s) else [])], default=1.0)
    unit, unit_s = time_unit(length_s)
    figure = StudyFigure(figsize=(8.4, 3.9), layout="constrained")
    axes = figure.subplots()
    for number, option in enumerate(shown):
        color = DEVICE_COLORS[number % len(DEVICE_COLORS)]
        times, devices = _steps(option.devices_over_time)
        scaled = [time_s / unit_s for time_s in times]
        axes.plot(scaled, devices, color=color, linewidth=1.8, label=_label(option, is_chosen=option is found.chosen))
        if option is found.chosen:
            axes.fill_between(scaled, devices, color=color, alpha=0.2, linewidth=0)
        if option.spread is not None:
            ends = [option.spread.least_s / unit_s, option.spread.most_s / unit_s]
            axes.plot(ends, [devices[-2]] * 2, color=color, linewidth=5.0, alpha=0.45, solid_capstyle="butt")
    if math.isfinite(deadline_s):
        axes.axvline(deadline_s / unit_s, color=INK, linestyle="--", linewidth=1.0, label="deadline")
    axes.set_xlim(0, 1.02 * length_s / unit_s)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"time [{unit}]")
    axes.set_ylabel("devices")
    tidy(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure


def _steps(stages: Sequence[tuple[float, float, int]]) -> tuple[list[float], list[int]]:
    """Returns the corners of a line with one step per stage, which ends at 0 devices."""
    times = [time_s for begins_s, ends_s, _ in stages for time_s in (begins_s, ends_s)]
    devices = [count for *_, count in stages for _ in range(2)]
    return [*times, times[-1]], [*devices, 0]


def _label(option: Option, *, is_chosen: bool) -> str:
    cost = "" if option.usd is None else f", {money(option.usd)}"
    per_trial = f", {option.devices} per trial" if not option.nodes else ""
    return f"{option.policy}{per_trial}: {duration(option.seconds)}{cost}{' (chosen)' if is_chosen else ''}"
