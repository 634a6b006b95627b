"""What a study has spent over time, as a figure: on segments, and on nodes whose devices were idle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.views.amounts import money
from lightning_hwtune.views.ledger import OVERHEAD, ledger_entry
from lightning_hwtune.views.plots.canvas import DEVICE_COLORS, FAINT, INK, StudyFigure, tidy, time_unit

__all__ = ["ledger_figure"]

_N_TIMES = 400
_Floats = npt.NDArray[np.float64]


def ledger_figure(state: StudyFacts, now: float | None = None) -> StudyFigure:
    """Returns the spending over the study's own clock, which does not count the time between two sessions.

    The lower area is what the device-seconds of segments cost. The upper one is the rest of the nodes' bills: launch,
    and idle devices. Together they are the bills. A dashed line is the limit `max_cost`. The legend has the amounts of
    the ledger.

    Args:
        now: time up to which running segments and nodes are counted; the time of the last event by default.
    """
    until = state.last_at if now is None else now
    end_s = state.clock.at(until)
    launched_s = [node.launched_clock_s for node in state.nodes]
    ends_s = [node.launched_clock_s + node.up_s(end_s) for node in state.nodes]
    times = np.unique(np.clip([*np.linspace(0.0, end_s, _N_TIMES), *launched_s, *ends_s], 0.0, end_s))
    segments = sum((_usd_of(segment, state, until, times) for segment in state.segments), np.zeros_like(times))
    nodes = np.array([sum(node.usd_until(time_s) for node in state.nodes) for time_s in times])
    entry = ledger_entry(state, until)
    unit, unit_s = time_unit(end_s)
    figure = StudyFigure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    bills = np.maximum(segments, nodes)
    training, overhead = (money(entry[name] or 0.0) for name in ("training_usd", "overhead_usd"))
    label = f"segments: training {training}, {OVERHEAD} {overhead}"
    axes.fill_between(times / unit_s, segments, color=DEVICE_COLORS[0], alpha=0.75, linewidth=0, label=label)
    if state.nodes:
        label = f"idle and launch {money(entry['idle_and_launch_usd'] or 0.0)}"
        axes.fill_between(times / unit_s, segments, bills, color=FAINT, alpha=0.75, linewidth=0, label=label)
    axes.plot(times / unit_s, bills, color=INK, linewidth=1.0)
    if state.limits.max_cost_usd is not None:
        axes.axhline(state.limits.max_cost_usd, color=DEVICE_COLORS[1], linestyle="--", linewidth=1.0, label="max_cost")
    axes.set_xlim(0, max(end_s / unit_s, 1e-9))
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"time [{unit}]")
    axes.set_ylabel("USD")
    tidy(axes)
    axes.set_title(f"{state.spec.name}: {money(entry['total_usd'] or 0.0)}", loc="left", fontsize="medium")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure


def _usd_of(segment: Segment, state: StudyFacts, now: float, times: _Floats) -> _Floats:
    """Returns what the device-seconds of a segment had cost at each time of the clock."""
    usd_per_s = state.spec.usd_of(state.trials[segment.trial_id].config, segment.share, segment.allocation.instance)
    return np.clip(times - segment.started_clock_s, 0.0, state.segment_s(segment, now)) * usd_per_s
