"""The statistics of `benchmarks/pasha.py`, on its rows.

A row is one seed of one task or cell: its studies (scheduler -> results), and on synthetic curves how well neighbouring
rungs correlate and where the curves settle. An arm is a study and the study of ASHA with which it is compared.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["LOSS_BAR", "N_BOOTSTRAP", "PAIRS", "SPEEDUP_BAR", "by_arm", "cell", "interval", "several", "synthetic"]

Rows = Sequence[Mapping[str, Any]]

PAIRS = {
    "quantile": ("quantile", "asha_quantile"),
    "floor": ("floor", "asha_floor"),
    "quantile_over_floor": ("quantile", "asha_floor"),
    "cap_quantile": ("cap_quantile", "asha_quantile"),
    "cap_floor": ("cap_floor", "asha_floor"),
}
LOSS_BAR, SPEEDUP_BAR = 0.01, 2.0
N_BOOTSTRAP = 2_000


def by_arm(rows: Rows) -> dict[str, dict[str, Any]]:
    """Returns arm -> its figures over all rows."""
    return {
        arm: _summary([(row["studies"][own], row["studies"][base]) for row in rows])
        for arm, (own, base) in PAIRS.items()
    }


def _summary(pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> dict[str, Any]:
    def ratio(*keys: str) -> float:
        return _rounded(statistics.median(sum(b[k] for k in keys) / sum(o[k] for k in keys) for o, b in pairs), 3)

    speedups = [base["seconds"] / own["seconds"] for own, base in pairs]
    # both may have selected one that diverges in the end, which loses nothing
    losses = [0.0 if own["error"] == base["error"] else own["error"] - base["error"] for own, base in pairs]
    return {
        "runs": len(pairs),
        "speedup": _rounded(statistics.median(speedups), 3),
        "speedup_interval": interval(speedups),
        "speedup_p25": _rounded(float(np.percentile(speedups, 25)), 3),
        "speedup_p75": _rounded(float(np.percentile(speedups, 75)), 3),
        "speedup_started": ratio("started_s"),
        "speedup_trained": ratio("seconds", "rest_s"),
        "resource_ratio": ratio("epochs"),
        "median_loss": _rounded(statistics.median(losses), 5),
        "mean_loss": _rounded(statistics.mean(losses), 5),
        "share_losing_more": _rounded(sum(loss > LOSS_BAR for loss in losses) / len(losses), 3),
        "median_cap": statistics.median(own["cap"] for own, _ in pairs),
    }


def interval(values: Sequence[float]) -> list[float]:
    """Returns the 5th and 95th percentile of the median in bootstrap samples."""
    picks = np.random.default_rng(0).integers(len(values), size=(N_BOOTSTRAP, len(values)))
    return [_rounded(float(end), 3) for end in np.percentile(np.median(np.array(values)[picks], axis=1), [5, 95])]


def cell(max_resource: int, crossing: float, noise: float, rows: Rows) -> dict[str, Any]:
    """Returns one cell of the synthetic grid."""
    return {
        "R": max_resource,
        "crossing": crossing,
        "noise": noise,
        "settles_at": statistics.median(row["settles_at"] for row in rows),
        "rank_correlation": _rounded(statistics.median(row["rank_correlation"] for row in rows), 3),
        **by_arm(rows),
    }


def synthetic(cells: Rows, rows: Sequence[Rows]) -> dict[str, Any]:
    """Returns the combined figures of the cells of one ladder.

    Args:
        rows: the rows of each cell.
    """
    noisy = [i for i in range(len(cells)) if cells[i]["noise"]]
    noiseless = [i for i in range(len(cells)) if i not in noisy]
    first = _settling_first(cells, noisy)
    by_noise = dict[float, list[Mapping[str, Any]]]()
    for i in first:
        by_noise.setdefault(cells[i]["noise"], []).extend(rows[i])
    near = [each for each in cells if each["rank_correlation"] > 0.9]

    def arms(some: Iterable[int]) -> dict[str, dict[str, Any]]:
        return by_arm([row for i in some for row in rows[i]])

    return {
        "cells": len(cells),
        "settled_cells": len(first),
        "settled": arms(first),
        "settled_with_noiseless": arms(_settling_first(cells, range(len(cells)))),
        "noiseless": arms(noiseless) if noiseless else {},
        "settled_by_noise": {
            str(noise): {arm: found["speedup"] for arm, found in by_arm(some).items()}
            for noise, some in sorted(by_noise.items())
        },
        "settled_cells_at_least_2": {arm: sum(cells[i][arm]["speedup"] >= SPEEDUP_BAR for i in first) for arm in PAIRS},
        "others": arms(i for i in noisy if i not in first),
        "cells_correlated_above_0.9": len(near),
        "losses_where_correlated": {arm: [each[arm]["median_loss"] for each in near] for arm in PAIRS},
        "grid": [{"settled": i in first, **each} for i, each in enumerate(cells)],
    }


def _settling_first(cells: Rows, some: Sequence[int]) -> list[int]:
    """Returns half of these cells."""
    return sorted(some, key=lambda i: (cells[i]["settles_at"], cells[i]["crossing"]))[: len(some) // 2]


def several(rows: Rows) -> dict[str, Any]:
    """Returns the figures of MO-PASHA against MO-ASHA."""
    speedups = [row["speedup"] for row in rows]
    return {
        "runs": len(rows),
        "speedup": _rounded(statistics.median(speedups), 3),
        "speedup_interval": interval(speedups),
        "hv_loss_median": _lost(row["partial"] for row in rows),
        "hv_loss_p90": _rounded(1 - float(np.percentile([row["partial"] for row in rows], 10)), 5),
        "trained_hv_loss_median": _lost(row["trained"] for row in rows),
        "median_cap": statistics.median(row["cap"] for row in rows),
    }


def _lost(shares: Iterable[float]) -> float:
    return _rounded(1 - statistics.median(shares), 5)


def _rounded(value: float, digits: int) -> float:
    """Rounds, and never returns a negative zero."""
    return round(value, digits) + 0.0
