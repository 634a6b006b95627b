"""What the figures share: a figure that notebooks display, the palette, axes that fit their values."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from lightning_hwtune.core.objectives import Objective
from lightning_hwtune.views.amounts import cut, unit_of

__all__ = [
    "DEVICE_COLORS",
    "DEVICE_MARKERS",
    "FAINT",
    "INK",
    "StudyFigure",
    "apart",
    "axis_label",
    "fit_scale",
    "parameter_axis",
    "plain_numbers",
    "say",
    "tidy",
    "time_unit",
    "vicinity",
    "with_note",
]

# the palette of Okabe and Ito, which can be distinguished with every common form of colour blindness
DEVICE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DEVICE_MARKERS = ("o", "s", "^", "D", "v", "P")
FAINT, INK = "#B8B8B8", "#333333"
_LOG_RATIO = 10.0
_MARGIN = 0.08
_MAX_OPTION, _MAX_LINE = 14, 18  # characters
_SPREAD, _STEPS = 0.3, (0.618, 0.414)  # irrational steps cover an interval evenly
_PER_INCH = 13  # characters of a title
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
    plain = plain_numbers()
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


def plain_numbers() -> FuncFormatter:
    """Returns a formatter without exponents and offsets."""
    return FuncFormatter(lambda value, _: f"{value:g}")


def parameter_axis(
    axis: Axis, scale: str, options: Sequence[Any] | None, values: Sequence[Any]
) -> Callable[[Sequence[Any]], list[float]]:
    """Prepares the axis of a parameter; returns the function from values to places on it.

    Args:
        scale: "linear", "log" or "options". options: for "options", in their order. values: those to show.
    """
    side = "x" if axis is axis.axes.xaxis else "y"
    if options is not None:
        names = [cut(str(option), _MAX_OPTION) for option in options]
        is_long = side == "x" and sum(map(len, names)) > _MAX_LINE
        slanted: dict[str, Any] = {"rotation": 30, "ha": "right"} if is_long else {}
        axis.set_ticks(range(len(options)), names, **slanted)
        axis.axes.set(**{f"{side}lim": (-0.6, len(options) - 0.4)})
        known = {repr(option): float(place) for place, option in enumerate(options)}
        return lambda wanted: [known[repr(value)] for value in wanted]
    if scale == "log" and len(values):
        axis.axes.set(**{f"{side}scale": "log"})
        decades = math.log10(max(values) / min(values))
        axis.set_major_locator(LogLocator(subs=(1.0,) if decades > 1.7 else (1.0, 3.0)))
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(MaxNLocator(4))
    axis.set_major_formatter(plain_numbers())
    return lambda wanted: [float(value) for value in wanted]


def apart(places: Sequence[float], start: int = 0) -> list[float]:
    """Returns the places of options with small distances, so that equal options do not hide each other.

    Args:
        start: 0 or 1, so that the distances on two axes differ.
    """
    step = _STEPS[start]
    return [place + _SPREAD * ((number * step) % 1 - 0.5) for number, place in enumerate(places)]


def with_note(figure: Figure, text: str) -> None:
    """Gives a figure a title that says what is compared; a long one has several lines."""
    width = int(figure.get_figwidth() * _PER_INCH)
    figure.suptitle("\n".join(textwrap.wrap(text, width)), fontsize="medium")


def say(axes: Axes, text: str) -> None:
    """Shows a text in place of a picture."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=INK)
    axes.set_axis_off()


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
