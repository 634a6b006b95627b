"""Slow second implementations of the ranking, written from the definitions alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = Sequence[float]


def dominates(a: Point, b: Point) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def fronts(points: Sequence[Point]) -> list[list[int]]:
    """Peels one front after another; finite points only."""
    left, peeled = list(range(len(points))), []
    while left:
        front = [i for i in left if not any(dominates(points[j], points[i]) for j in left)]
        peeled.append(front)
        left = [i for i in left if i not in front]
    return peeled


def without_the_worst(points: Sequence[Point]) -> list[Point]:
    """Leaves out the worst in every objective, one after another, as long as there is one and another point."""
    left = list(points)
    while len(left) > 1:
        worst = [p for p in left if all(x >= y for q in left for x, y in zip(p, q, strict=True))]
        if not worst:
            break
        left.remove(worst[0])
    return left


def limit(values: Sequence[float]) -> float:
    """Returns the value before the first gap of a factor of 20 behind the better half, at least three values."""
    ascending = sorted(values)
    for i in range(max(len(ascending) // 2, 2), len(ascending) - 1):
        before, after = ascending[i] - ascending[0], ascending[i + 1] - ascending[0]
        if before > 0 and after > 20 * before:
            return ascending[i]
    return ascending[-1]


def unit(points: Sequence[Point]) -> list[list[float]]:
    """Scales by the points that have no exploded loss; those that have one are infinite in this objective."""
    core = without_the_worst(points)
    limits = [limit(column) for column in zip(*core, strict=True)]
    kept = [p for p in core if all(x <= most for x, most in zip(p, limits, strict=True))] or core
    low, high = [min(c) for c in zip(*kept, strict=True)], [max(c) for c in zip(*kept, strict=True)]
    return [
        [
            math.inf if x > most else max(0.0, (x - lo) / ((hi - lo) or 1.0))
            for x, lo, hi, most in zip(point, low, high, limits, strict=True)
        ]
        for point in points
    ]


def farthest_first(points: Sequence[Point]) -> list[int]:
    chosen = [min(range(len(points)), key=lambda i: (points[i][0], i))]
    while len(chosen) < len(points):
        left = [i for i in range(len(points)) if i not in chosen]
        chosen.append(min(left, key=lambda i: (-min(_squared_distance(points[i], points[j]) for j in chosen), i)))
    return chosen


def _squared_distance(a: Point, b: Point) -> float:
    """Sums in the order of the objectives, so that rounding breaks ties as in the fast version."""
    return sum((x - y) * (x - y) for x, y in zip(a, b, strict=True))


def total_order(points: Sequence[Point]) -> list[int]:
    """Farthest-first inside fronts, then those exploded; integer coordinates keep distances exact enough."""
    finite = [i for i, point in enumerate(points) if all(map(math.isfinite, point))]
    known = [points[i] for i in finite]
    scaled = unit(known) if known else []
    order = []
    for front in fronts(known):
        tame = [i for i in front if max(scaled[i]) < math.inf]
        order += [finite[tame[i]] for i in farthest_first([scaled[j] for j in tame])] if tame else []
        order += [finite[i] for i in front if i not in tame]
    return order + [i for i in range(len(points)) if i not in finite]
