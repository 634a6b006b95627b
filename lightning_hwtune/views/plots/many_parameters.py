"""All parameters at once as figures: parallel coordinates, and pairs of parameters coloured by rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from scipy.stats import rankdata

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.parameters import Float, Int, Parameter
from lightning_hwtune.views.amounts import cut
from lightning_hwtune.views.effects.slices import options_of, parameter_order, scale_of
from lightning_hwtune.views.effects.values import RungValues, rung_values, sensible
from lightning_hwtune.views.plots.canvas import (
    FAINT,
    INK,
    StudyFigure,
    apart,
    axis_label,
    parameter_axis,
    say,
    tidy,
    with_note,
)

__all__ = ["parallel_figure", "rank_figure"]

_PALETTE = "viridis"
_MOST_AXES, _MOST_PAIRED, _MOST_TICKS = 10, 4, 7
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_ABSENT = -0.12  # the place of a parameter that a trial does not have
_MAX_NAME = 18


def parallel_figure(state: StudyFacts, objective: str | None = None, at: int | None = None) -> StudyFigure:
    """Returns one line per trial over the parameters and the objective; the best trials are dark and on top.

    Args:
        objective: name of the objective; the first one by default.
        at: the level of the rung whose values are shown; the one that most trials have reached by default.
    """
    found, names = rung_values(state, objective, at), parameter_order(state, objective, at)[:_MOST_AXES]
    figure = StudyFigure(figsize=(max(1.5 * (len(names) + 1), 6.4), 4.2), layout="constrained")
    axes = figure.subplots()
    with_note(figure, f"{state.spec.name}: {found.note(state.ladder.unit)}")
    if not found.trials:
        say(axes, "no trial has reached a rung yet")
        return figure
    space, values = state.spec.space, np.asarray(sensible(found.objective, found.values.tolist()))
    low, high = float(values.min()), float(values.max())
    heights = [_heights(space[name], [trial.config.get(name) for trial in found.trials]) for name in names]
    shown = np.clip(found.values, low, high)
    heights.append(((shown - low) / (high - low) if high > low else np.full(len(shown), 0.5)).tolist())
    ranks = _ranks(found)
    order = np.argsort(-ranks)  # the best last, on top
    lines = [[(i, column[trial]) for i, column in enumerate(heights)] for trial in order.tolist()]
    colors = colormaps[_PALETTE](ranks[order])
    colors[:, 3] = np.clip(1.1 - ranks[order], 0.25, 1.0)
    axes.add_collection(LineCollection(lines, colors=colors, linewidths=1.1))
    axes.set_xlim(-0.1, len(names) + 0.35)
    axes.set_ylim(_ABSENT - 0.05 if any(_ABSENT in column for column in heights) else -0.04, 1.04)
    for i, name in enumerate(names):
        _coordinate(axes, i, _ticks(space[name]) + ([(_ABSENT, "absent")] if _ABSENT in heights[i] else []))
    _coordinate(
        axes, len(names), [(place, f"{low + place * (high - low):.3g}") for place in (0.0, 0.25, 0.5, 0.75, 1.0)]
    )
    labels = [cut(name, _MAX_NAME) for name in names] + [axis_label(found.objective).replace(", ", "\n")]
    axes.set_xticks(range(len(labels)), labels)
    axes.tick_params(axis="x", length=0)
    axes.set_yticks([])
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    return figure


def rank_figure(state: StudyFacts, objective: str | None = None, at: int | None = None) -> StudyFigure:
    """Returns one panel per pair of the most important parameters; the colour of a trial is its rank, best dark.

    Ranks do not depend on the scale of the objective, so that one bad value does not hide the differences of others.

    Args:
        objective, at: as for `parallel_figure`.
    """
    found, names = rung_values(state, objective, at), parameter_order(state, objective, at)[:_MOST_PAIRED]
    n = max(len(names) - 1, 1)
    figure = StudyFigure(figsize=(2.5 * n + 1.8, 2.3 * n + 1.0), layout="constrained")
    panels = figure.subplots(n, n, squeeze=False)
    with_note(figure, f"{state.spec.name}: {found.note(state.ladder.unit)}")
    ranks = _ranks(found)
    for row in range(n):
        for column in range(n):
            panel = panels[row, column]
            if column > row or len(names) < 2:
                panel.set_visible(False)
                continue
            _pair(panel, state, found, ranks, (names[column], names[row + 1]))
            panel.label_outer()
    if not found.trials or len(names) < 2:
        panels[0, 0].set_visible(True)
        say(panels[0, 0], "only one parameter" if found.trials else "no trial has reached a rung yet")
        return figure
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), _PALETTE), ax=panels, shrink=0.6, label=f"rank in {found.objective.name}"
    )
    bar.set_ticks([0.0, 0.5, 1.0], labels=["best", "median", "worst"])
    bar.ax.invert_yaxis()
    return figure


def _ranks(found: RungValues) -> Any:
    """Returns ranks from 0, the best, to 1, shape `(n_trials,)`; equal values have the same rank."""
    losses = found.values if found.objective.mode == "min" else -found.values
    if len(losses) < 2:
        return np.zeros(len(losses))
    return (rankdata(losses) - 1.0) / (len(losses) - 1.0)


def _pair(panel: Axes, state: StudyFacts, found: RungValues, ranks: Any, names: tuple[str, str]) -> None:
    space, order = state.spec.space, np.argsort(-ranks).tolist()
    both = [i for i in order if all(name in found.trials[i].config for name in names)]
    places: list[list[float]] = []
    for axis, name in zip((panel.xaxis, panel.yaxis), names, strict=True):
        values, parameter = [found.trials[i].config[name] for i in both], space[name]
        is_range, options = isinstance(parameter, Float | Int), options_of(parameter)
        place = parameter_axis(axis, scale_of(parameter), options, values)
        places.append(place(values) if is_range else apart(place(values), start=len(places)))
        axis.set_label_text(cut(name, _MAX_NAME))
    panel.scatter(places[0], places[1], c=ranks[both], cmap=_PALETTE, vmin=0, vmax=1, s=18, linewidths=0)
    tidy(panel)


def _heights(parameter: Parameter, values: Sequence[Any]) -> list[float]:
    """Returns the height from 0 to 1 of each value; a place below for None."""
    if isinstance(parameter, Float | Int):
        return [_ABSENT if value is None else _height(parameter, value) for value in values]
    options = list(parameter.levels())
    return [options.index(value) / max(len(options) - 1, 1) if value in options else _ABSENT for value in values]


def _height(parameter: Any, value: Any) -> float:
    return float(parameter.encode(value)[0])


def _ticks(parameter: Parameter) -> list[tuple[float, str]]:
    """Returns heights and labels of the ticks."""
    if isinstance(parameter, Float | Int):
        values = list(dict.fromkeys(parameter.quantile(share) for share in _QUARTERS))
        return [(_height(parameter, value), _tick(value, is_log=parameter.log)) for value in values]
    options = list(parameter.levels())
    places = [i / max(len(options) - 1, 1) for i in range(len(options))]
    every = -(-len(options) // _MOST_TICKS)
    return [(place, cut(str(option), 12)) for place, option in list(zip(places, options, strict=True))[::every]]


def _tick(value: float, *, is_log: bool) -> str:
    return str(value) if isinstance(value, int) else f"{value:.{2 if is_log else 3}g}"


def _coordinate(axes: Axes, at: int, ticks: Sequence[tuple[float, str]]) -> None:
    axes.axvline(at, ymin=0.0, color=FAINT, linewidth=0.9, zorder=0)
    for height, label in ticks:
        box: dict[str, Any] = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6}
        axes.text(at + 0.04, height, label, fontsize="x-small", color=INK, va="center", bbox=box, zorder=4)
