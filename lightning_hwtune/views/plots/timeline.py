"""The devices' work as a figure: one row per device, one bar per segment, shaded by the rung it began from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.segment import Segment
from lightning_hwtune.views.amounts import counted, share
from lightning_hwtune.views.phases import PHASES, phases
from lightning_hwtune.views.plots.canvas import DEVICE_COLORS, INK, StudyFigure, time_unit
from lightning_hwtune.views.tables import BAD_ENDS

__all__ = ["timeline_figure"]

Span: TypeAlias = tuple[float, float]

_HEIGHT = 0.84
_FAILED = DEVICE_COLORS[1]
_GAP_SHARE = 0.05
_PHASE_COLORS = {"start-up": "#C9CFD6", "saving": "#E3AC2C", "waiting": "#C3AFD6", "lost": "#E59A92"}


def timeline_figure(state: StudyFacts, now: float | None = None) -> Figure:
    """Returns the timeline. Bars have their trial's number if there is room; resumed segments are darker.

    Start-up, saving, waiting and lost work have their own colours, one after the other in each bar; see
    `views.phases`. What follows the newest report of a segment that runs is pale.

    Idle times longer than a twentieth of the busy time are cut out and marked with a dashed line.

    Args:
        now: time at which bars of running segments end; the time of the last event by default.
    """
    until = state.last_at if now is None else now
    bars, cuts = _without_gaps([_span(state, segment, until) for segment in state.segments])
    length = max((end for _, end in bars), default=1.0) or 1.0
    unit, unit_s = time_unit(length)
    bars = [(start / unit_s, end / unit_s) for start, end in bars]
    rows, shades = _rows(state), _shades(state)
    n_rows = len(rows) or state.spec.pool.size
    figure = StudyFigure(figsize=(11, 1.8 + 0.6 * min(n_rows, 16)), layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(0, length / unit_s)
    axes.set_ylim(n_rows - 0.5, -0.5)
    edge = min(0.6, 60 / max(len(bars), 1))
    for segment, bar, lane in zip(state.segments, bars, _lanes(state.segments, bars), strict=True):
        _draw(axes, segment, bar, lane, shades, length / unit_s, edge, rows)
    _draw_phases(axes, state, bars, unit_s, rows)
    for cut in cuts:
        axes.axvline(cut / unit_s, color=INK, linestyle="--", linewidth=0.9)
    busy = sum((end - start) * segment.share for segment, (start, end) in zip(state.segments, bars, strict=True))
    text = f"{counted(len(state.searched), 'trials')} in {counted(len(state.segments), 'segments')}"
    trained_s = sum(phases(segment).train_s * segment.share for segment in state.segments)
    text += f", devices busy {share(busy * unit_s, length * n_rows)} of the time"
    text += f" and training {share(trained_s, length * n_rows)}"
    axes.set_title(f"{state.spec.name}: {text}", loc="left", fontsize="medium")
    axes.set_xlabel(f"time [{unit}]")
    axes.set_yticks(range(n_rows), [f"{state.spec.pool.accelerator} {i}" for i in range(n_rows)])
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(handles=_legend(state, shades), loc="outside lower center", ncols=5, frameon=False, fontsize="small")
    return figure


def _span(state: StudyFacts, segment: Segment, until: float) -> Span:
    """Returns when a segment ran, by the study's own clock, because the clocks of two sessions may differ."""
    return segment.started_clock_s, segment.started_clock_s + state.segment_s(segment, until)


def _without_gaps(spans: Sequence[Span]) -> tuple[list[Span], list[float]]:
    """Returns the spans on a clock that starts at 0 and skips long idle times, and the times at which it skips."""
    busy: list[list[float]] = []
    for start, end in sorted(spans):
        if busy and start <= busy[-1][1]:
            busy[-1][1] = max(busy[-1][1], end)
        else:
            busy.append([start, end])
    longest = _GAP_SHARE * sum(end - start for start, end in busy)
    starts, offsets, cuts = [], [], []
    offset = busy[0][0] if busy else 0.0
    for i, (start, _) in enumerate(busy):
        gap = start - busy[i - 1][1] if i else 0.0
        if gap > longest:
            offset += gap
            cuts.append(start - offset)
        starts.append(start)
        offsets.append(offset)
    shift = [offsets[int(np.searchsorted(starts, start, side="right")) - 1] for start, _ in spans]
    return [(start - by, end - by) for (start, end), by in zip(spans, shift, strict=True)], cuts


def _shades(state: StudyFacts) -> Mapping[int, str]:
    """Returns the colour of a segment for each rung it may begin from; 0 is from scratch."""
    levels = [0, *state.ladder.levels[:-1]]
    palette = colormaps["Blues"](np.linspace(0.28, 0.95, max(len(levels), 2)))
    return {level: to_hex(color) for level, color in zip(levels, palette, strict=False)}


def _shade(segment: Segment, shades: Mapping[int, str]) -> str:
    return shades[max(level for level in shades if level <= segment.resource)]


def _draw(
    axes: Axes, segment: Segment, bar: Span, lane: int, shades: Mapping[int, str], length: float, edge: float,
    rows: Mapping[int, int],
) -> None:  # fmt: skip
    """Draws one rectangle per device, or one rectangle for all devices that are next to each other."""
    start, end = bar
    color, is_bad = _shade(segment, shades), segment.outcome in BAD_ENDS
    for low, n in _runs([rows.get(slot, slot) for slot in segment.slots]):
        height = (n - 1 + _HEIGHT) / segment.allocation.per_device
        top = low - _HEIGHT / 2 + lane * height  # the axis of the devices points down
        box = Rectangle((start, top), end - start, height, facecolor=color, linewidth=edge)
        box.set_edgecolor(_FAILED if is_bad else "white")
        box.set_hatch("////" if is_bad else "")
        box.set_alpha(0.6 if segment.ended_at is None else None)
        axes.add_patch(box)
        label = str(segment.trial_id)
        if (end - start) / length * 700 > 6.0 * len(label):  # the axes are about 700 points wide
            ink = "white" if sum(to_rgb(color)) < 1.5 else INK
            axes.text(
                (start + end) / 2,
                top + height / 2,
                label,
                ha="center",
                va="center",
                fontsize=7,
                color=ink,
                clip_on=True,
            )


def _draw_phases(axes: Axes, state: StudyFacts, bars: Sequence[Span], unit_s: float, rows: Mapping[int, int]) -> None:
    """Draws the phases other than training over each bar, in the sequence in which they come."""
    for segment, (start, end), lane in zip(state.segments, bars, _lanes(state.segments, bars), strict=True):
        found, at = [], start
        for name, seconds in zip(PHASES, phases(segment).seconds, strict=True):
            until = min(at + seconds / unit_s, end)
            if name in _PHASE_COLORS and until > at:
                found.append((at, until, _PHASE_COLORS[name]))
            at = until
        for low, n in _runs([rows.get(slot, slot) for slot in segment.slots]):
            height = (n - 1 + _HEIGHT) / segment.allocation.per_device
            place, begun = (
                (low - _HEIGHT / 2 + lane * height, height),
                [(left, right - left) for left, right, _ in found],
            )
            axes.broken_barh(begun, place, facecolors=[color for _, _, color in found], linewidth=0)


def _rows(state: StudyFacts) -> Mapping[int, int]:
    """Returns the row of each slot if nodes differ in their numbers of devices; otherwise, the slots are the rows."""
    if not state.spec.pool.has_several_kinds:
        return {}
    slots = {slot for node in state.nodes for slot in state.placement.slots(node.place, node.shape)}
    return {slot: row for row, slot in enumerate(sorted(slots))}


def _lanes(segments: Sequence[Segment], bars: Sequence[Span]) -> list[int]:
    """Returns the part of its device in which each segment is drawn: the lowest that is free when it begins."""
    ends: dict[tuple[int, int], float] = {}
    found = []
    for segment, (start, end) in zip(segments, bars, strict=True):
        device, parts = segment.slots[0] if segment.slots else 0, range(segment.allocation.per_device)
        lane = next((part for part in parts if ends.get((device, part), start) <= start), 0)
        ends[device, lane] = end
        found.append(lane)
    return found


def _runs(slots: Sequence[int]) -> list[tuple[int, int]]:
    """Returns pairs of first slot and number of consecutive slots."""
    runs: list[tuple[int, int]] = []
    for slot in sorted(slots):
        if runs and slot == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((slot, 1))
    return runs


def _legend(state: StudyFacts, shades: Mapping[int, str]) -> list[Patch]:
    unit = state.ladder.unit.removesuffix("s")
    seen = {_shade(segment, shades) for segment in state.segments}
    patches = [
        Patch(facecolor=color, label=f"resumed at {unit} {level}" if level else "from scratch")
        for level, color in shades.items()
        if color in seen
    ]
    seconds = np.sum([phases(segment).seconds for segment in state.segments], axis=0) if state.segments else []
    used = [name for name, spent_s in zip(PHASES, seconds, strict=False) if spent_s > 0 and name in _PHASE_COLORS]
    patches += [Patch(facecolor=_PHASE_COLORS[name], label=name) for name in used]
    if any(segment.outcome in BAD_ENDS for segment in state.segments):
        patches.append(Patch(facecolor="white", edgecolor=_FAILED, hatch="////", label="failed or lost segment"))
    return patches
