"""The importance of parameters as a figure: one panel per objective, a bar per parameter, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.views.amounts import cut
from lightning_hwtune.views.effects.importance import importance_entries, model_text
from lightning_hwtune.views.plots.canvas import DEVICE_COLORS, INK, StudyFigure, say, tidy, with_note

__all__ = ["importance_figure"]

_MOST = 15  # parameters
_MAX_NAME = 24


def importance_figure(state: StudyFacts, objective: str | None = None, at: int | None = None) -> StudyFigure:
    """Returns one panel per objective, or only that of one objective; the arguments are those of `Study.importance`.

    A dark bar is the part of a parameter alone, the light rest is what it does together with others. Lines are
    intervals of 80 %.
    """
    entries = importance_entries(state, objective, at)
    n_rows = max(min(max(len(entry["parameters"]) for entry in entries), _MOST), 2)
    width = 1.2 + 3.6 * len(entries)
    figure = StudyFigure(figsize=(max(width, 6.0), 1.7 + 0.34 * n_rows), layout="constrained")
    panels = figure.subplots(1, len(entries), squeeze=False).ravel()
    for panel, entry in zip(panels, entries, strict=True):
        _panel(panel, entry)
    if any(entry["parameters"] for entry in entries):
        handles, labels = next(p for p in panels if p.has_data()).get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    with_note(figure, f"{state.spec.name}: {entries[0]['note']}")
    return figure


def _panel(panel: Axes, entry: Mapping[str, Any]) -> None:
    rows = entry["parameters"][:_MOST]
    panel.set_title(entry["objective"], loc="left", fontsize="medium")
    if not rows:
        say(panel, "too few trials")
        return
    places = range(len(rows))
    total, alone = ([row[key] for row in rows] for key in ("importance", "alone"))
    panel.barh(places, alone, color=DEVICE_COLORS[0], height=0.62, label="alone")
    rest = [whole - part for whole, part in zip(total, alone, strict=True)]
    panel.barh(places, rest, left=alone, color=DEVICE_COLORS[5], height=0.62, label="together with others")
    lows, highs = ([row[key] for row in rows] for key in ("low", "high"))
    panel.hlines(places, lows, highs, color=INK, linewidth=1.2, label="interval of 80 %")
    panel.set_yticks(places, [cut(row["parameter"], _MAX_NAME) for row in rows])
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.set_xlim(0, max(1.0, *highs))
    tidy(panel)
    panel.grid(axis="y", visible=False)
    panel.tick_params(axis="y", length=0)
    panel.set_xlabel(f"share of the variance\n{_reliable(entry)}")


def _reliable(entry: Mapping[str, Any]) -> str:
    text = model_text(entry)
    return text.replace(" of the variance of trials left out", "") if text else "all values are equal"
