"""The figure of a scaling model: measured and predicted seconds per step against the number of devices."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_hwtune.core.hardware.scaling import ScalingModel
from lightning_hwtune.views.plots.canvas import DEVICE_COLORS, FAINT, INK, StudyFigure, fit_scale, tidy

__all__ = ["scaling_figure"]


def scaling_figure(model: ScalingModel, counts: Sequence[int], *, level: float = 0.8) -> StudyFigure:
    """Returns predictions with their intervals, and the points that were measured at the global batch of the model.

    Args:
        model: the fitted model.
        counts: numbers of devices, each on as few nodes as possible. A count is left out if it cannot share the batch
            or if the model refuses it.
        level: the share of measurements that are expected inside the interval.
    """
    shown = [count for count in sorted(set(counts)) if model.allows(count)]
    found = [model.predict(count, level=level) for count in shown]
    points = [point for point in model.points if point.global_batch == model.global_batch]
    figure = StudyFigure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    lows, highs = [item.low for item in found], [item.high for item in found]
    axes.fill_between(shown, lows, highs, color=DEVICE_COLORS[5], alpha=0.25, label=f"interval of {level:.0%}")
    axes.plot(shown, [item.seconds for item in found], color=DEVICE_COLORS[0], marker=".", label="predicted")
    if shown:
        linear = [found[0].seconds * shown[0] / count for count in shown]
        axes.plot(shown, linear, color=FAINT, linewidth=0.8, label="linear speed-up")
    across, up = [point.devices for point in points], [point.seconds for point in points]
    axes.scatter(across, up, color=INK, s=28, zorder=3, label="measured")
    for count, item in zip(shown, found, strict=True):
        if item.is_extrapolated:
            axes.scatter([count], [item.seconds], facecolors="white", edgecolors=DEVICE_COLORS[0], s=36, zorder=4)
    fit_scale(axes, [*shown, *across], [*lows, *highs, *up])
    axes.set_xlabel("devices; hollow: beyond what was measured")
    axes.set_ylabel(f"seconds per step of {model.global_batch} samples")
    tidy(axes)
    axes.legend(frameon=False, fontsize="small")
    return figure
