"""The rungs of a study as a figure: the trials at each rung with its verdict, and lines to the next rung."""

from __future__ import annotations

import itertools
import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.views.effects.values import objective_named, sensible
from lightning_hwtune.views.front_points import measured_at
from lightning_hwtune.views.plots.canvas import (
    DEVICE_COLORS,
    FAINT,
    INK,
    StudyFigure,
    axis_label,
    fit_scale,
    say,
    tidy,
)
from lightning_hwtune.views.tables import rung_words_of

__all__ = ["ladder_figure"]

_STYLES: dict[str, dict[str, Any]] = {
    "paused": {"color": FAINT, "marker": "o"},
    "passed": {"color": DEVICE_COLORS[5], "marker": "o"},
    "promoted": {"color": DEVICE_COLORS[0], "marker": "^"},
    "completed": {"color": DEVICE_COLORS[2], "marker": "s"},
    "stopped": {"color": DEVICE_COLORS[1], "marker": "X"},
    "ended early": {"color": DEVICE_COLORS[4], "marker": "D"},
}
_SPREAD = 0.34  # of the distance between two rungs


def ladder_figure(state: StudyFacts, objective: str | None = None) -> StudyFigure:
    """Returns one column per rung: its trials from left to right in the order in which they began.

    Colour and shape are the verdict of the rung. A line leads to the value at the next rung that the trial reached.

    Args:
        objective: name of the objective; the first one by default.
    """
    item, levels = objective_named(state, objective), list(state.ladder.levels)
    figure = StudyFigure(figsize=(max(1.7 * len(levels) + 1.6, 6.4), 4.4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(f"{state.spec.name}: verdicts of the rungs", loc="left", fontsize="medium")
    words, n_trials = rung_words_of(state), max(len(state.searched) - 1, 1)
    dots: dict[str, list[tuple[float, float]]] = {}
    lines: list[tuple[tuple[float, float], tuple[float, float]]] = []
    counts, values = dict.fromkeys(levels, 0), list[float]()
    for number, trial in enumerate(state.searched):
        path = list[tuple[float, float]]()
        for column, level in enumerate(levels):
            word = words[trial.trial_id].get(level)
            value = measured_at(trial, level).values[item.name] if word is not None else math.nan
            if word is None or not math.isfinite(value):
                continue
            counts[level] += 1
            path.append((column + _SPREAD * (number / n_trials - 0.5), value))
            dots.setdefault(word, []).append(path[-1])
        values += [value for _, value in path]
        lines += itertools.pairwise(path)
    if not values:
        say(axes, "no rung has judged a trial yet")
        return figure
    axes.add_collection(LineCollection(lines, colors=DEVICE_COLORS[0], linewidths=0.7, alpha=0.45, zorder=1))
    for word, style in _STYLES.items():
        if word in dots:
            across, up = zip(*dots[word], strict=True)
            axes.scatter(across, up, s=20, linewidths=0, label=f"{word}: {len(across)}", zorder=2, **style)
    fit_scale(axes, [], sensible(item, values))
    _columns(axes, state, counts)
    axes.set_ylabel(axis_label(item))
    figure.legend(loc="outside lower center", ncols=6, frameon=False, fontsize="small")
    return figure


def _columns(axes: Axes, state: StudyFacts, counts: dict[int, int]) -> None:
    unit = state.ladder.unit.removesuffix("s")
    tidy(axes)
    axes.grid(axis="x", visible=False)
    for column in range(1, len(counts)):
        axes.axvline(column - 0.5, color=INK, linestyle=":", linewidth=0.7, alpha=0.5)
    axes.set_xlim(-0.5, len(counts) - 0.5)
    axes.set_xticks(range(len(counts)), [f"{unit} {level}\n{n} measured" for level, n in counts.items()])
    axes.tick_params(axis="x", length=0)
