"""The front as a figure: every pair of objectives, fully trained points by number of devices, all others faint."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.objectives import Metric, Objective
from lightning_hwtune.views.amounts import counted
from lightning_hwtune.views.front_points import Point, candidates, non_dominated
from lightning_hwtune.views.plots.canvas import (
    DEVICE_COLORS,
    DEVICE_MARKERS,
    FAINT,
    INK,
    StudyFigure,
    axis_label,
    fit_scale,
    tidy,
    vicinity,
)

__all__ = ["front_figure"]

Places: TypeAlias = tuple[list[float], list[float]]

_MAX_PAIRS = 6


def front_figure(state: StudyFacts) -> Figure:
    """Returns one panel per pair of objectives; a single objective is shown over the training time.

    Front members are filled and labelled with their trial's number, other fully trained trials are hollow, and the last
    measurements of all other trials are grey. Colour and shape show the number of devices. Fully trained trials that
    violate a constraint are crosses, and the bounds of objectives are dashed lines.
    """
    full = candidates(state, "full")
    front = non_dominated(state, full)
    partial = [point for point in candidates(state, "any") if point.is_partial]
    pairs = _pairs(state)
    figure = StudyFigure(figsize=(max(4.4 * min(len(pairs), 3), 5.6), 4.4 * -(-len(pairs) // 3)), layout="constrained")
    panels = figure.subplots(-(-len(pairs) // 3), min(len(pairs), 3), squeeze=False).ravel()
    for panel in panels[len(pairs) :]:
        panel.set_visible(False)
    for panel, (across, up) in zip(panels, pairs, strict=False):
        _panel(panel, across, up, partial, full, front, _infeasible(state, full))
        _bounds(panel, across, up)
    handles = {label: handle for handle, label in zip(*panels[0].get_legend_handles_labels(), strict=True)}
    if handles:
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=min(len(handles), 5), frameon=False
        )
    points = f"front of {counted(len(front), 'points')}, {counted(len(full), 'trials')} fully trained"
    if any(_infeasible(state, full)):
        points += f" ({sum(_infeasible(state, full))} infeasible)"
    figure.suptitle(f"{state.spec.name}: {points}, {len(state.searched)} in all", fontsize="medium")
    return figure


def _pairs(state: StudyFacts) -> list[tuple[Objective | None, Objective]]:
    """Returns pairs of objectives for the x and y axes; None is the training time."""
    objectives = list(state.spec.objectives)
    if len(objectives) == 1:
        return [(None, objectives[0])]
    pairs = [(b, a) for a, b in combinations(objectives, 2)]
    return list(pairs if len(pairs) <= _MAX_PAIRS else pairs[: len(objectives) - 1])


def _panel(
    panel: Axes,
    across: Objective | None,
    up: Objective,
    partial: Sequence[Point],
    full: Sequence[Point],
    front: Sequence[Point],
    is_infeasible: Sequence[bool],
) -> None:
    def place(points: Sequence[Point]) -> Places:
        measured = [point.measurement for point in points]
        ys = [m.values[up.name] for m in measured]
        return [m.train_s if across is None else m.values[across.name] for m in measured], ys

    if partial:
        panel.scatter(*place(partial), s=14, color=FAINT, alpha=0.6, linewidths=0, label="partly trained")
    on_front = {point.trial.trial_id for point in front}
    infeasible = [point for point, is_out in zip(full, is_infeasible, strict=True) if is_out]
    if infeasible:
        panel.scatter(*place(infeasible), s=42, marker="x", color=INK, alpha=0.7, linewidths=1, label="infeasible")
    for i, n in enumerate(sorted({point.trial.num_devices for point in full})):
        color, marker = DEVICE_COLORS[i % len(DEVICE_COLORS)], DEVICE_MARKERS[i % len(DEVICE_MARKERS)]
        devices, mine = counted(n, "devices"), [point for point in full if point.trial.num_devices == n]
        best = [point for point in mine if point.trial.trial_id in on_front]
        rest = [point for point in mine if point.trial.trial_id not in on_front and point not in infeasible]
        if rest:
            hollow: dict[str, Any] = {"facecolors": "none", "edgecolors": color, "alpha": 0.7}
            panel.scatter(*place(rest), s=42, marker=marker, label=f"dominated, {devices}", **hollow)
        if best:
            filled: dict[str, Any] = {"color": color, "edgecolors": INK, "zorder": 3}
            panel.scatter(*place(best), s=64, marker=marker, label=f"front, {devices}", **filled)
    fit_scale(panel, *_seen(place(full), place(partial)))
    _number(panel, front, place(front), place(full))
    panel.set_xlabel("train_s" if across is None else axis_label(across))
    panel.set_ylabel(axis_label(up))
    tidy(panel)


def _infeasible(state: StudyFacts, points: Sequence[Point]) -> list[bool]:
    """Returns whether each point violates a constraint."""
    return [state.spec.objectives.violation(point.measurement.values) > 0 for point in points]


def _bounds(panel: Axes, across: Objective | None, up: Objective) -> None:
    """Draws the bounds of a panel's objectives as dashed lines, where they are in its range."""
    style: dict[str, Any] = {"color": INK, "linestyle": "--", "linewidth": 0.8, "alpha": 0.6, "zorder": 0}
    for item, line, span in ((across, panel.axvline, panel.get_xlim()), (up, panel.axhline, panel.get_ylim())):
        bounds = (item.at_most, item.at_least) if isinstance(item, Metric) else ()
        for bound in bounds:
            if bound is not None and min(span) <= bound <= max(span):
                line(bound, **style)


def _seen(full: Places, partial: Places) -> Places:
    """Returns the fully trained points, and those of the others that are near them in both directions."""
    (left, right), (low, high) = (vicinity(main, rest) for main, rest in zip(full, partial, strict=True))
    near = [(x, y) for x, y in zip(*partial, strict=True) if left <= x <= right and low <= y <= high]
    return [*full[0], *(x for x, _ in near)], [*full[1], *(y for _, y in near)]


def _number(panel: Axes, front: Sequence[Point], places: Places, full: Places) -> None:
    """Labels each point with its trial, on the first of four sides that is free; otherwise leaves the label out."""
    if not front:
        return
    in_points = panel.transData.transform(np.column_stack([*full])) * 72 / panel.figure.dpi
    taken = [(float(u), float(v)) for u, v in in_points if np.isfinite([u, v]).all()]
    for point, x, y in zip(front, *places, strict=True):
        u, v = panel.transData.transform((x, y)) * 72 / panel.figure.dpi
        text = str(point.trial.trial_id)
        half = 2.5 * len(text)  # in points, for this font size
        away = 7 + half
        for du, dv in ((away, 6), (away, -6), (-away, 6), (-away, -6)):
            if all(abs(u + du - a) > 6 + half or abs(v + dv - b) > 8 for a, b in taken):
                taken.append((u + du, v + dv))
                style: dict[str, Any] = {"fontsize": "x-small", "color": INK, "ha": "center", "va": "center"}
                panel.annotate(text, (x, y), (du, dv), textcoords="offset points", **style)
                break
