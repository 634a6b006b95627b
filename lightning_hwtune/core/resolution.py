"""The resolution of an objective: values in one cell of a fixed grid are ties.

A measured time changes from run to run, and a metric is known only up to the size of its validation set. Differences
below the resolution must not decide. So every value is replaced by the centre of its cell. The grid is fixed, so a
cell does not depend on the other trials, and an order that used the exact values still is an order. Two near values may
fall into neighbouring cells.

A relative grid is uniform in the logarithm: the cells of a resolution r are a factor of 1 + r wide. Only positive
values are rounded there.
"""

from __future__ import annotations

import math
import sys

__all__ = ["rounded"]

_LARGEST = math.log(sys.float_info.max)
_EXACT = 2.0**52  # from here on, floats are integers, so that there is nothing to round


def rounded(value: float, resolution: float, *, is_relative: bool) -> float:
    """Returns the centre of the cell of a value; the value itself for a resolution of 0, or if it is not finite."""
    if resolution == 0 or not math.isfinite(value) or (is_relative and value <= 0):
        return value
    step = math.log1p(resolution) if is_relative else resolution
    place = (math.log(value) if is_relative else value) / step
    if not abs(place) < _EXACT:
        return value
    centre = round(place) * step
    if not is_relative:
        return centre
    # the centre of the outermost cells may be too large or too small for a float
    return math.exp(centre) or value if centre < _LARGEST else value
