"""How the front grew, as a figure: its hypervolume over the time of the study."""

from __future__ import annotations

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.views.amounts import counted
from lightning_hwtune.views.effects.growth import growth_entries
from lightning_hwtune.views.plots.canvas import DEVICE_COLORS, FAINT, StudyFigure, say, tidy, time_unit

__all__ = ["hypervolume_figure"]


def hypervolume_figure(state: StudyFacts) -> StudyFigure:
    """Returns the hypervolume of the fully trained trials over the study's own clock; points are trials that raised it.

    It is a share of the hypervolume that the best value of every objective together would have.
    """
    entries = growth_entries(state)
    figure = StudyFigure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set_title(
        f"{state.spec.name}: hypervolume of the front, {counted(len(entries), 'trials')} fully trained",
        loc="left",
        fontsize="medium",
    )
    if not entries:
        say(axes, "no trial is fully trained yet")
        return figure
    end_s = max(state.clock.at(state.last_at), entries[-1]["at_s"])
    unit, unit_s = time_unit(end_s)
    times = [0.0, *(entry["at_s"] / unit_s for entry in entries), end_s / unit_s]
    values = [0.0, *(entry["hypervolume"] for entry in entries), entries[-1]["hypervolume"]]
    axes.step(times, values, where="post", color=DEVICE_COLORS[0], linewidth=1.6)
    for is_better, color, size in ((False, FAINT, 10), (True, DEVICE_COLORS[0], 22)):
        chosen = [entry for entry in entries if entry["is_better"] == is_better]
        places = [entry["at_s"] / unit_s for entry in chosen], [entry["hypervolume"] for entry in chosen]
        axes.scatter(*places, s=size, color=color, zorder=3)
    axes.set_xlim(left=0)
    axes.set_ylim(0, max(values) * 1.06 or 1.0)
    axes.set_xlabel(f"time [{unit}]")
    axes.set_ylabel("share of the largest hypervolume")
    tidy(axes)
    return figure
