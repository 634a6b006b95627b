"""What the figures share: a figure that notebooks display, the palette, axes that fit their values."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from lightning_hwtune.core.objectives import Objective
from lightning_hwtune.views.amounts import unit_of

__all__ = [
    "DEVICE_COLORS",
    "DEVICE_MARKERS",
    "FAINT",
    "INK",
    "StudyFigure",
    "axis_label",
    "fit_scale",
    "tidy",
    "time_unit",
    "vicinity",
]

# the palette of Okabe and Ito, which can be distinguished with every common form of colour blindness
DEVICE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DEVICE_MARKERS = ("o", "s", "^", "D", "v", "P")
FAINT, INK = "#B8B8B8", "#333333"
_LOG_RATIO = 10.0
_MARGIN = 0.08
_TIME_UNITS = (("s", 1.0, 300.0), ("min", 60.0, 18_000.0), ("h", 3600.0, math.inf))


@final
class StudyFigure(Figure):
    """A figure that a notebook displays as an image even if pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def axis_label(objective: Objective) -> str:
    """Returns the name, the unit (unless the name contains it) and the direction."""
    unit = f" [{unit_of(objective)}]" if unit_of(objective) else ""
    return f"{objective.name}{unit}, {'lower' if objective.mode == 'min' else 'higher'} is better"


def fit_scale(axes: Axes, across: Sequence[float], up: Sequence[float]) -> None:
    """Fits both axes to these values: logarithmic if the values are positive and span a decade, with plain numbers."""
    sides = ((axes.xaxis, axes.set_xscale, axes.set_xlim, across), (axes.yaxis, axes.set_yscale, axes.set_ylim, up))
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    for axis, set_scale, set_limits, values in sides:
        finite = np.array([value for value in values if math.isfinite(value)])
        if not len(finite):
            continue
        if finite.min() <= 0 or finite.max() / finite.min() < _LOG_RATIO:
            axis.set_major_locator(MaxNLocator(5))
            axis.set_major_formatter(plain)
            margin = _MARGIN * (np.ptp(finite) or abs(finite[0]) or 1.0)
            set_limits(finite.min() - margin, finite.max() + margin)
            continue
        decades = math.log10(finite.max() / finite.min())
        set_scale("log")
        set_limits(finite.min() / 10 ** (_MARGIN * decades), finite.max() * 10 ** (_MARGIN * decades))
        steps = (1.0, 2.0, 5.0) if decades < 1.7 else (1.0, 3.0) if decades < 3 else (1.0,)
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(plain)
        axis.set_minor_formatter(NullFormatter())


def vicinity(main: Sequence[float], rest: Sequence[float]) -> tuple[float, float]:
    """Returns the limits within which a figure about the main values should show the other values.

    The limits extend beyond the main values, on either side, by the range of the main values or by a seventh of the
    total range, whichever is larger. If all values are positive, ranges are measured in decades. With fewer than two
    main values there are no limits.
    """
    inner, whole = (np.array([v for v in values if math.isfinite(v)]) for values in (main, [*main, *rest]))
    if len(inner) < 2:
        return -math.inf, math.inf
    is_positive = bool(whole.min() > 0)
    if is_positive:
        inner, whole = np.log10(inner), np.log10(whole)
    reach = max(np.ptp(inner), np.ptp(whole) / 7)
    low, high = float(inner.min() - reach), float(inner.max() + reach)
    return (10**low, 10**high) if is_positive else (low, high)


def time_unit(length_s: float) -> tuple[str, float]:
    """Returns the unit for an axis of this length, and its seconds."""
    return next((name, one) for name, one, limit in _TIME_UNITS if length_s < limit)


def tidy(axes: Axes) -> None:
    """Removes lines that carry no information."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
