"""How the front of a study grew: its hypervolume after each fully trained trial.

Losses are on the scale of all fully trained trials (`ranking.scale`), up to 1.1 in every objective, as for the limit
`stop_when`. It is given as a share of the hypervolume that the best value of every objective together would have.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.feasibility import violator_mask
from lightning_hwtune.core.ranking.anytime import hypervolume_curve
from lightning_hwtune.core.ranking.scale import Scale
from lightning_hwtune.core.record import TrialState

__all__ = ["growth_entries"]

_REFERENCE = 1.1


def growth_entries(state: StudyFacts) -> list[dict[str, Any]]:
    """Returns one entry per fully trained trial, in the order of their ends.

    An entry has `trial_id`, `at_s` (the study's own clock at its end), `hypervolume` (the share of the largest possible
    one, from 0 to 1) and `is_better`, whether this trial made it larger. A trial that violates a constraint, or has a
    value that is not finite, adds nothing.
    """
    ends: dict[int, float] = {}
    for segment in state.segments:
        ends[segment.trial_id] = segment.started_clock_s + segment.wall_s
    full = [trial for trial in state.searched if trial.state is TrialState.COMPLETED and trial.last is not None]
    full.sort(key=lambda trial: (ends.get(trial.trial_id, 0.0), trial.trial_id))
    if not full:
        return []
    losses = np.array([state.spec.objectives.loss(trial.last.values) for trial in full if trial.last is not None])
    is_known = np.isfinite(losses).all(axis=1) & ~violator_mask(losses)
    unit = np.full_like(losses, np.inf)
    if is_known.any():
        unit[is_known] = Scale.of(losses[is_known]).unit(losses[is_known])
    curve = hypervolume_curve(unit, np.full(losses.shape[1], _REFERENCE)) / _REFERENCE ** losses.shape[1]
    before = [0.0, *curve.tolist()]
    return [
        {
            "trial_id": trial.trial_id,
            "at_s": ends.get(trial.trial_id, 0.0),
            "hypervolume": value,
            "is_better": value > before[i],
        }
        for i, (trial, value) in enumerate(zip(full, curve.tolist(), strict=True))
    ]
