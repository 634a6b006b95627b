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
from lightning_hwtune.views.effects.values import objective_named
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
from lightning_hwtune.views.recommendation import recommended

__all__ = ["front_figure"]

Places: TypeAlias = tuple[list[float], list[float]]

_MAX_PAIRS = 6
_LABEL_INCHES = 1.9


def front_figure(state: StudyFacts, objective: str | None = None) -> Figure:
    """Returns one panel per pair of objectives; a single objective is shown over the training time.

    Front members are filled and labelled with their trial's number, other fully trained trials are hollow, and the last
    measurements of all other trials are grey. Colour and shape show the number of devices. A line bounds what the front
    reaches in the two objectives of a panel, and a ring marks the recommended trial. Fully trained trials that violate
    a constraint are crosses, and the bounds of objectives are dashed lines.

    Args:
        objective: show only the pairs with this objective, on the vertical axis; by default all, without pairs of two
            measured objectives such as seconds and cost, if there are others.

    Raises:
        ArgumentError: no objective has this name.
    """
    full = candidates(state, "full")
    front = non_dominated(state, full)
    partial = [point for point in candidates(state, "any") if point.is_partial]
    pairs = _pairs(state, objective)
    best = recommended(state) if len(front) > 1 and len(state.spec.objectives) > 1 else None
    figure = StudyFigure(figsize=(max(4.4 * min(len(pairs), 3), 5.6), 4.4 * -(-len(pairs) // 3)), layout="constrained")
    panels = figure.subplots(-(-len(pairs) // 3), min(len(pairs), 3), squeeze=False).ravel()
    for panel in panels[len(pairs) :]:
        panel.set_visible(False)
    for panel, (across, up) in zip(panels, pairs, strict=False):
        _panel(panel, across, up, partial, full, front, _infeasible(state, full))
        _bounds(panel, across, up)
        _staircase(panel, across, up, front)
        if best is not None:
            x, y = _place(across, up, best[0])
            ring: dict[str, Any] = {
                "facecolors": "none",
                "edgecolors": DEVICE_COLORS[1],
                "linewidths": 1.8,
                "zorder": 4,
            }
            panel.scatter([x], [y], s=210, label="recommended", **ring)
    handles = {label: handle for handle, label in zip(*panels[0].get_legend_handles_labels(), strict=True)}
    if handles:
        n_columns = min(len(handles), int(figure.get_figwidth() / _LABEL_INCHES))
        style: dict[str, Any] = {"ncols": n_columns, "frameon": False, "fontsize": "small"}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", **style)
    points = f"front of {counted(len(front), 'points')}, {counted(len(full), 'trials')} fully trained"
    if any(_infeasible(state, full)):
        points += f" ({sum(_infeasible(state, full))} infeasible)"
    figure.suptitle(f"{state.spec.name}: {points}, {len(state.searched)} in all", fontsize="medium")
    return figure


def _pairs(state: StudyFacts, objective: str | None) -> list[tuple[Objective | None, Objective]]:
    """Returns pairs of objectives for the x and y axes; None is the training time."""
    objectives = list(state.spec.objectives)
    if len(objectives) == 1:
        return [(None, objective_named(state, objective))]
    if objective is not None:
        chosen = objective_named(state, objective)
        return [(other, chosen) for other in objectives if other is not chosen]
    pairs = [(b, a) for a, b in combinations(objectives, 2)]
    # seconds, cost and energy of a trial are nearly proportional, so that they say nothing about each other
    pairs = [pair for pair in pairs if not all(item.is_measured for item in pair)] or pairs
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
        places = [_place(across, up, point) for point in points]
        return [x for x, _ in places], [y for _, y in places]

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


def _place(across: Objective | None, up: Objective, point: Point) -> tuple[float, float]:
    measured = point.measurement
    return measured.train_s if across is None else measured.values[across.name], measured.values[up.name]


def _staircase(panel: Axes, across: Objective | None, up: Objective, front: Sequence[Point]) -> None:
    """Draws the bound of what the front reaches in these two objectives: past it, a trial is worse in both."""
    is_less = across is None or across.mode == "min"
    sides = (1.0 if is_less else -1.0, 1.0 if up.mode == "min" else -1.0)
    places = sorted((_place(across, up, point) for point in front), key=lambda p: (p[0] * sides[0], p[1] * sides[1]))
    steps: list[tuple[float, float]] = []
    for x, y in places:
        if not steps or y * sides[1] < steps[-1][1] * sides[1]:
            steps += [(x, steps[-1][1]), (x, y)] if steps else [(x, y)]
    if len(steps) < 2:
        return
    limits = panel.get_xlim(), panel.get_ylim()
    ends = [(steps[0][0], limits[1][1 if sides[1] > 0 else 0]), (limits[0][1 if is_less else 0], steps[-1][1])]
    outline = np.array([ends[0], *steps, ends[1]])
    panel.plot(outline[:, 0], outline[:, 1], color=INK, linewidth=1.0, alpha=0.55, zorder=1.5)
    panel.set(xlim=limits[0], ylim=limits[1])


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
