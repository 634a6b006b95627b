"""Learning curves of all trials as a figure: the first objective over the resource, with the rungs."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.record import TrialRecord, TrialState
from lightning_hwtune.views.amounts import counted
from lightning_hwtune.views.effects.values import objective_named, sensible
from lightning_hwtune.views.front_points import front_points
from lightning_hwtune.views.plots.canvas import (
    DEVICE_COLORS,
    FAINT,
    INK,
    StudyFigure,
    axis_label,
    fit_scale,
    tidy,
)

__all__ = ["curves_figure"]


def curves_figure(state: StudyFacts, objective: str | None = None) -> Figure:
    """Returns one line per trial. Front members are coloured, other fully trained trials dark, all others grey.

    The axis fits the values that matter; a few that are much worse than most may be beyond its edge.

    Args:
        objective: name of the objective to show; the first one by default.

    Raises:
        ArgumentError: no objective has this name.
    """
    shown = objective_named(state, objective)
    front = {point.trial.trial_id: i for i, point in enumerate(front_points(state))}
    figure = StudyFigure(figsize=(7.5, 4.6), layout="constrained")
    axes = figure.subplots()
    for trial in sorted(state.searched, key=lambda t: (front.get(t.trial_id, -1), t.state is TrialState.COMPLETED)):
        _curve(axes, trial, shown.name, front.get(trial.trial_id))
    measurements = [m for trial in state.searched for m in trial.measurements]
    values = sensible(shown, [m.values[shown.name] for m in measurements])
    fit_scale(axes, [m.resource for m in measurements], values)
    _rungs(axes, state)
    axes.set_xlabel(state.ladder.unit)
    axes.set_ylabel(axis_label(shown))
    tidy(axes)
    axes.set_title(f"{state.spec.name}: {counted(len(state.searched), 'trials')}", loc="left", fontsize="medium")
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return figure


def _curve(axes: Axes, trial: TrialRecord, name: str, place: int | None) -> None:
    points = [(m.resource, m.values[name]) for m in trial.measurements if math.isfinite(m.values[name])]
    if not points:
        return
    resources, values = zip(*points, strict=True)
    style = "-"
    if place is not None:
        color, width, label = DEVICE_COLORS[place % len(DEVICE_COLORS)], 1.8, f"trial {trial.trial_id}"
        style = ("-", "--", "-.", ":")[place // len(DEVICE_COLORS) % 4]
    elif trial.state is TrialState.COMPLETED:
        color, width, label = INK, 1.0, None
    else:
        color, width, label = FAINT, 0.8, None
    axes.plot(resources, values, color=color, linewidth=width, linestyle=style, label=label)
    axes.plot(resources[-1:], values[-1:], color=color, marker="o", markersize=2.5 + width)


def _rungs(axes: Axes, state: StudyFacts) -> None:
    """Draws vertical lines at the rung levels, which are also the ticks."""
    levels = state.ladder.levels
    for level in levels:
        axes.axvline(level, color=INK, linestyle=":", linewidth=0.8, alpha=0.6, zorder=0)
    if len(levels) > 1:
        axes.xaxis.set_major_locator(FixedLocator([float(level) for level in levels]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
