"""Results from elsewhere as tables: what `Study.add` has put into the log. None of them is a trial or on the front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.feasibility import violator_mask
from lightning_hwtune.views.amounts import config_text, counted
from lightning_hwtune.views.front_points import candidates, front_points

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["added_entries", "added_frame", "added_hint", "added_title"]


def added_entries(state: StudyFacts) -> list[dict[str, Any]]:
    """Returns the results from elsewhere, in the order in which they were added.

    The key for the resource is the study's unit: `epochs`, `steps` or `samples`. `beats_front`: whether the result
    is of a full training, and no fully trained trial of the study is at least as good in every objective.
    """
    beating = set(_beating(state))
    return [
        {
            "config": dict(result.config),
            "objectives": {name: last.values[name] for name in state.spec.objectives.names},
            state.ladder.unit: last.resource,
            "beats_front": number in beating,
        }
        for number, result in enumerate(state.added)
        for last in result.measurements
    ]


def _beating(state: StudyFacts) -> list[int]:
    """Returns the results of full trainings that no fully trained trial equals or dominates."""
    if not state.added:
        return []
    objectives = state.spec.objectives
    losses = [objectives.loss(point.measurement.values) for point in candidates(state, "full")]
    front = np.array(losses).reshape(-1, len(objectives))
    found = []
    for number, result in enumerate(state.added):
        if result.last is None or result.resource < state.ladder.top:
            continue
        loss = objectives.loss(result.last.values)
        is_candidate = np.isfinite(loss).all() and not violator_mask(loss[None])[0]
        if is_candidate and not (front <= loss).all(axis=1).any():
            found.append(number)
    return found


def added_frame(state: StudyFacts) -> pd.DataFrame:
    """Returns one row per result from elsewhere: objectives, parameters, resource, and whether it beats the front."""
    import pandas as pd

    unit, names = state.ladder.unit, state.spec.objectives.names
    taken = {*names, unit, "beats_front"}
    keys = {key: f"config.{key}" if key in taken else key for key in state.spec.space}
    rows = [
        {
            **entry["objectives"],
            **{column: entry["config"].get(key) for key, column in keys.items()},
            unit: entry[unit],
            "beats_front": entry["beats_front"],
        }
        for entry in added_entries(state)
    ]
    return pd.DataFrame(rows, columns=[*names, *keys.values(), unit, "beats_front"], dtype=object).infer_objects()


def added_title(name: str) -> str:
    """Returns the title of the table."""
    return f"results added to {name} from elsewhere, from which the searcher learns"


def added_hint(state: StudyFacts) -> str:
    """Returns which results from elsewhere would be on the front if the study had trained them; usually empty."""
    beating = _beating(state)
    if not beating or not front_points(state):
        return ""
    losses = {number: state.spec.objectives.loss(state.added[number].measurements[-1].values) for number in beating}
    best = state.added[min(beating, key=lambda number: losses[number].tolist())]
    are = "is" if len(beating) == 1 else "are"
    return (
        f"{counted(len(beating), 'results')} from elsewhere {are} not dominated by any trial of the study, such as "
        f"{config_text(best.config)}. An enqueued configuration is trained here"
    )
