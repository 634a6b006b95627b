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


def unit(points: Sequence[Point]) -> list[list[float]]:
    low, high = [min(c) for c in zip(*points, strict=True)], [max(c) for c in zip(*points, strict=True)]
    return [
        [(x - lo) / (hi - lo) if hi > lo else 0.0 for x, lo, hi in zip(point, low, high, strict=True)]
        for point in points
    ]


def farthest_first(points: Sequence[Point]) -> list[int]:
    chosen = [min(range(len(points)), key=lambda i: (points[i][0], i))]
    while len(chosen) < len(points):
        left = [i for i in range(len(points)) if i not in chosen]
        chosen.append(min(left, key=lambda i: (-min(math.dist(points[i], points[j]) ** 2 for j in chosen), i)))
    return chosen


def total_order(points: Sequence[Point]) -> list[int]:
    """Farthest-first inside fronts; points with integer coordinates keep the distances exact enough."""
    finite = [i for i, point in enumerate(points) if all(map(math.isfinite, point))]
    scaled = unit([points[i] for i in finite])
    order = [finite[front[i]] for front in fronts(scaled) for i in farthest_first([scaled[j] for j in front])]
    return order + [i for i in range(len(points)) if i not in finite]
