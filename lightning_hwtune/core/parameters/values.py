"""Equal parts of the unit interval: what every kind of parameter needs."""

from __future__ import annotations

__all__ = ["bin_of"]


def bin_of(share: float, n_bins: int) -> int:
    """Returns which of `n_bins` equal parts of [0, 1] a share falls into, from 0."""
    return min(max(int(share * n_bins), 0), n_bins - 1)
