"""The beginning of the results page: one chart, and what was found in three sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from lightning_hwtune.views.plots.canvas import DEVICE_COLORS, FAINT, INK, StudyFigure, tidy

__all__ = ["PICTURE", "beginning", "speed_ups"]

Document = Mapping[str, Any]

PICTURE = "results_speed_ups.png"
_ARMS = {
    "random": "all trained to the end",
    "asha_error": "ASHA on the error alone",
    "moasha": "ASHA on error, time and money",
    "as_it_comes": "default settings",
    "prior_other": "with a prior from another network",
    "prior_same": "with a prior from the same network",
}
"""Arm -> its name in the chart, from the bottom to the top."""


def speed_ups(replay: Document) -> Figure:
    """Returns a chart of how much sooner each kind of study has 95 % of the front."""
    arms = [name for name in _ARMS if name in replay["arms"]]
    found = [replay["arms"][name]["time"] for name in arms]
    drawn = StudyFigure(figsize=(8, 0.5 * len(arms) + 1.0), layout="constrained")
    axes = drawn.subplots()
    medians, places = [item["median"] for item in found], range(len(arms))
    spread = [[item["median"] - item["low"] for item in found], [item["high"] - item["median"] for item in found]]
    colors = [DEVICE_COLORS[0] if name == "as_it_comes" else FAINT for name in arms]
    axes.barh(places, medians, color=colors, xerr=spread, error_kw={"ecolor": INK, "linewidth": 1.2})
    axes.set_yticks(places, [_ARMS[name] for name in arms])
    for place, item in zip(places, found, strict=True):
        axes.text(item["high"] + 0.2, place, f"{item['median']:.1f}x", va="center", fontsize="medium")
    axes.set_xlabel("times sooner than full training of all trials")
    axes.set_xlim(0, 1.1 * max(item["high"] for item in found))
    tidy(axes)
    return drawn


def beginning(found: Mapping[str, Document]) -> list[str]:
    """Returns the chart and the sentences for the benchmarks that have run."""
    blocks = []
    if "as_it_comes" in found.get("replay", {}).get("arms", {}):
        replay = found["replay"]
        time, money, n_tasks = (*(replay["arms"]["as_it_comes"][key] for key in ("time", "usd")), len(replay["tasks"]))
        figures = replay["figures"]
        blocks += [
            f"![Bars with intervals: how many times sooner each kind of study has found the front](images/{PICTURE})",
            f"On {n_tasks} replayed tasks of measured trainings, a study with default settings finds 95 % of the "
            f"hypervolume {time['median']:.1f} times sooner [{time['low']:.1f}, {time['high']:.1f}] than full training "
            f"of all trials, for {money['median']:.1f} times less money. The "
            "settings of the grey bars were chosen on eight of these tasks.",
            "With chosen settings, multi-objective ASHA with TPE is ahead of Syne Tune on "
            f"{figures['tasks_ahead_of_synetune_repaired']}, of NePS on {figures['tasks_ahead_of_neps']} and of Optuna "
            f"on {figures['tasks_ahead_of_optuna']} of these tasks at equal time, counting all reports.",
        ]
    if "crash" in found:
        crash = found["crash"]["figures"]
        blocks.append(
            f"In a study whose controller was killed {crash['kills']} times, {crash['lost_reports']} reports were lost "
            f"and {crash['failed_trials']} trials failed."
        )
    return blocks
