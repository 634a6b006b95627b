"""How certain the front is: measured times are noisy, so a member may be on it by chance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.feasibility import violator_mask
from lightning_hwtune.core.pace_noise import PaceNoise
from lightning_hwtune.core.ranking.membership import front_probabilities
from lightning_hwtune.core.streams import stream
from lightning_hwtune.views.front_points import Point, candidates, rung_points

__all__ = ["CERTAIN_FROM", "certainties"]

CERTAIN_FROM = 0.8
"""A member with a lower probability is on the front within noise only."""

_N_SAMPLES = 1000


def certainties(state: StudyFacts, at: str, front: Sequence[Point]) -> list[float] | None:
    """Returns the probability of each member of `front_points(state, at)`.

    Returns None if no objective depends on measured times, hence no such noise.
    """
    if not any(item.is_noisy for item in state.spec.objectives):
        return None
    noise, found = PaceNoise(state), dict[int, float]()
    for level in dict.fromkeys(point.rung for point in front):
        members = [index for index, point in enumerate(front) if point.rung == level]
        compared = candidates(state, at) if level is None else rung_points(state, level)
        found |= zip(members, _probabilities(state, noise, compared, [front[i] for i in members]), strict=True)
    return [found[index] for index in range(len(front))]


def _probabilities(
    state: StudyFacts, noise: PaceNoise, compared: Sequence[Point], members: Sequence[Point]
) -> list[float]:
    """Returns the probability of members of one front among the points that are compared."""
    objectives = state.spec.objectives
    losses = np.array([objectives.loss(point.measurement.values) for point in compared])
    exact = np.array([objectives.exact.loss(point.measurement.values) for point in compared])
    is_known = np.isfinite(losses).all(axis=1) & ~violator_mask(losses)
    known = [point for point, is_one in zip(compared, is_known, strict=True) if is_one]
    place = {point.trial.trial_id: number for number, point in enumerate(known)}
    is_noisy = np.array([item.is_noisy for item in objectives])
    rng = stream(state.spec.seed, "front-confidence", 0)
    found: list[float] = front_probabilities(
        np.where(is_noisy, exact.clip(0.0), losses)[is_known],
        np.array([place[point.trial.trial_id] for point in members]),
        np.array([math.log1p(item.resolution) if item.is_noisy else math.nan for item in objectives]),
        noise.sample([(point.trial, point.measurement) for point in known], _N_SAMPLES, rng),
    ).tolist()
    return found
