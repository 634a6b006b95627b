"""Equal parts of the unit interval, used by several kinds of parameter."""

from __future__ import annotations

__all__ = ["bin_of"]


def bin_of(share: float, n_bins: int) -> int:
    """Returns the number, from 0, of the part that contains a share, of `n_bins` equal parts of [0, 1]."""
    return min(max(int(share * n_bins), 0), n_bins - 1)
