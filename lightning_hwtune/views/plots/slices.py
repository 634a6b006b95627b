"""An objective over each parameter, and over two parameters, as figures: the trials and what a model expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.views.effects.slices import contour_entry, slice_entries
from lightning_hwtune.views.effects.values import objective_named, sensible
from lightning_hwtune.views.plots.canvas import (
    DEVICE_COLORS,
    INK,
    StudyFigure,
    apart,
    axis_label,
    fit_scale,
    parameter_axis,
    plain_numbers,
    say,
    tidy,
    with_note,
)

__all__ = ["contour_figure", "slices_figure"]

_MOST, _PER_ROW = 12, 4
_LEVELS = 12


def slices_figure(state: StudyFacts, objective: str | None = None, at: int | None = None) -> StudyFigure:
    """Returns one panel per parameter, the most important first: the trials, later ones darker, and the expectation.

    Args:
        objective: name of the objective; the first one by default.
        at: the level of the rung whose values are shown; the one that most trials have reached by default.
    """
    entry, item = slice_entries(state, objective, at), objective_named(state, objective)
    slices = entry["parameters"][:_MOST]
    n_columns = min(len(slices), _PER_ROW)
    n_rows = -(-len(slices) // n_columns)
    figure = StudyFigure(figsize=(max(2.7 * n_columns + 0.8, 5.6), 2.7 * n_rows + 0.7), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel()
    for panel in panels[len(slices) :]:
        panel.set_visible(False)
    last = max((trial.trial_id for trial in state.searched), default=0)
    seen = [value for found in slices for value in found["objectives"]]
    for panel, found in zip(panels, slices, strict=False):
        _slice(panel, found, last)
    if seen:
        fit_scale(panels[0], [], sensible(item, seen))
    for panel in panels[::n_columns]:
        panel.set_ylabel(axis_label(item))
    with_note(figure, f"{state.spec.name}: {entry['note']}")
    return figure


def _slice(panel: Axes, found: Mapping[str, Any], last: int) -> None:
    across = parameter_axis(panel.xaxis, found["scale"], found["options"], found["values"])
    shades = [str(0.78 - 0.68 * trial_id / max(last, 1)) for trial_id in found["trials"]]
    places = across(found["values"])
    if found["options"] is not None:
        places = apart(places)
    panel.scatter(places, found["objectives"], s=13, c=shades or None, linewidths=0, zorder=2)
    if found["expected"]:
        style: dict[str, Any] = {"color": DEVICE_COLORS[1], "zorder": 3}
        if found["options"] is None:
            panel.plot(across(found["places"]), found["expected"], linewidth=1.8, **style)
        else:
            panel.scatter(across(found["places"]), found["expected"], marker="_", s=420, linewidths=2.2, **style)
    panel.set_xlabel(found["parameter"])
    tidy(panel)


def contour_figure(
    state: StudyFacts, objective: str | None = None, at: int | None = None, parameters: Sequence[str] | None = None
) -> StudyFigure:
    """Returns an objective over two parameters with ranges: the expectation as shades, the trials as points.

    Args:
        objective, at: as for `slices_figure`.
        parameters: two names; the two most important parameters with ranges by default.
    """
    entry, item = contour_entry(state, objective, at, parameters), objective_named(state, objective)
    figure = StudyFigure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.subplots()
    with_note(figure, f"{state.spec.name}: {entry['note']}")
    if not entry["parameters"] or not entry["trials"]:
        say(axes, "no two parameters with ranges" if not entry["parameters"] else "no trial has reached a rung yet")
        return figure
    values = sensible(item, entry["objectives"])
    palette, low, high = "Blues_r" if item.mode == "min" else "Blues", min(values), max(values)
    if entry["expected"]:
        expected = np.clip(entry["expected"], low, high)
        levels = np.linspace(low, high, _LEVELS + 1) if high > low else _LEVELS
        axes.contourf(entry["places_across"], entry["places_up"], expected, levels=levels, cmap=palette, alpha=0.75)
    points = axes.scatter(
        entry["across"],
        entry["up"],
        c=np.clip(entry["objectives"], low, high),
        cmap=palette,
        vmin=low,
        vmax=high,
        edgecolors=INK,
        linewidths=0.5,
        s=26,
        zorder=3,
        clip_on=False,
    )
    bar = figure.colorbar(points, ax=axes, label=axis_label(item))
    bar.ax.yaxis.set_major_formatter(plain_numbers())
    for axis, scale, name, key in zip(
        (axes.xaxis, axes.yaxis), entry["scales"], entry["parameters"], ("across", "up"), strict=True
    ):
        parameter_axis(axis, scale, None, entry[f"places_{key}"] or entry[key])
        axis.set_label_text(name)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
