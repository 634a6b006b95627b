"""How much each parameter matters for an objective, with intervals.

The importance of a parameter is the share of the variance of the objective over the search space that would remain if
all other parameters were fixed: its total effect, alone and with others. `alone` is the part without interactions, the
main effect (Sobol, "Global sensitivity indices for nonlinear mathematical models", 2001; estimators: Jansen, "Analysis
of variance designs for model output", 1999). Of a sum of functions of one parameter each, both are equal and have the
sum 1; with interactions the sum of importances is larger.

The objective is known only at the trials, and a searcher prefers good regions. So a model is learned from the trials
(`response`), and its variance is computed over draws from the space, each as likely as the space says. A parameter that
a configuration does not have changes nothing there: a conditional parameter is as important as it is where it exists,
times how often it exists. The rule that batch sizes are divisible by the number of devices is left out here.

The interval is about 80 %: the model is fitted again with random weights of the trials (Rubin, "The Bayesian
bootstrap", 1981), with and without a surface.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.searchers.surrogate import require_scikit_learn
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.core.streams import stream
from lightning_hwtune.text import counted
from lightning_hwtune.views.effects.points import Draws, encoded
from lightning_hwtune.views.effects.response import Fit, Response, cross_validated
from lightning_hwtune.views.effects.values import RungValues, rung_values

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS_TEXT", "LEAST_TRIALS", "MOST_TRIALS", "importance_entries", "importance_frame", "model_text"]

Floats = npt.NDArray[np.float64]

LEAST_TRIALS = 10
"""With fewer trials at the rung, there is no importance."""

MOST_TRIALS = 2000
"""The model learns from at most so many trials, evenly spread over the study; more would only take longer."""

_N_DRAWS, _N_ROUGH_DRAWS = 4096, 512
_N_REFITS = 10  # of each model
_LEAST_EXPLAINED = 0.3
_WITHIN = 1.2816  # standard deviations of an interval of 80 %


def importance_entries(state: StudyFacts, objective: str | None = None, at: int | None = None) -> list[dict[str, Any]]:
    """Returns one entry per objective, or only that of the objective with this name.

    An entry has `objective`, `rung` (the level whose values are compared), `trials` (how many), `explained` (the share
    of the variance of trials left out that the model predicts; None without one), `note` (in words: which values were
    compared, or why there is no importance) and `parameters`: a list of `parameter`, `importance`, `low`, `high`,
    `alone`, the most important first. The list is empty if fewer than `LEAST_TRIALS` trials have a value.

    Args:
        objective: the name of an objective; None for all.
        at: the level of a rung; None for the one that the most trials have reached.

    Raises:
        ArgumentError: there is no such objective or rung.
        MissingDependencyError: scikit-learn is not installed.
    """
    require_scikit_learn("importance", "importance")
    names = state.spec.objectives.names if objective is None else [objective]
    return [_entry(state, rung_values(state, name, at)) for name in names]


def importance_frame(entries: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Returns one row per objective and parameter: importance, low, high, alone, explained, rung, trials."""
    import pandas as pd

    columns = ["objective", "parameter", "importance", "low", "high", "alone", "explained", "rung", "trials"]
    rows = [{**entry, **row} for entry in entries for row in entry["parameters"]]
    return pd.DataFrame([{name: row[name] for name in columns} for row in rows], columns=columns)


COLUMNS_TEXT = (
    "importance: the share of the objective's variation that the parameter causes, alone or together with others; "
    "low, high: an interval of 80 % for it; alone: the share without the interplay with others"
)
"""What the columns of the table mean."""


def model_text(entry: Mapping[str, Any]) -> str:
    """Returns how well the model of an entry predicts, in words; empty without a model."""
    explained = entry["explained"]
    if explained is None:
        return ""
    text = f"the model explains {max(explained, 0.0):.0%} of the variance of trials left out"
    return text if explained >= _LEAST_EXPLAINED else f"{text}: too little to rely on"


def _entry(state: StudyFacts, found: RungValues) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "objective": found.objective.name,
        "rung": found.rung,
        "trials": len(found.trials),
        "explained": None,
        "note": found.note(state.ladder.unit),
        "parameters": [],
    }
    if len(found.trials) < LEAST_TRIALS:
        return {**entry, "note": f"{entry['note']}; importance needs at least {counted(LEAST_TRIALS, 'trials')}"}
    found = found.thinned(MOST_TRIALS)
    space, values = state.spec.space, found.values
    if not np.ptp(values):
        rows = [{"parameter": name, "importance": 0.0, "low": 0.0, "high": 0.0, "alone": 0.0} for name in space]
        return {**entry, "note": f"{entry['note']}; all values are equal", "parameters": rows}
    points = encoded(space, [trial.config for trial in found.trials])
    values = (values - values.mean()) / values.std()
    fit = cross_validated(points, values)
    total, alone = _effects(fit.model, Draws(space, _N_DRAWS))
    spread = _spread(space, points, values, fit, total)
    rows = [
        {
            "parameter": name,
            "importance": float(total[i]),
            "low": float(max(total[i] - spread[i], 0.0)),
            "high": float(min(total[i] + spread[i], 1.0)),
            "alone": float(alone[i]),
        }
        for i, name in enumerate(space)
    ]
    return {**entry, "explained": fit.explained, "parameters": sorted(rows, key=lambda row: -row["importance"])}


def _effects(model: Response, draws: Draws) -> tuple[Floats, Floats]:
    """Returns the total effect and the main effect of each parameter, as shares of the variance of the model."""
    first, second, *mixed = np.split(model.predict(draws.points), draws.n_parameters + 2)
    variance = np.concatenate([first, second]).var()
    if variance <= 1e-12:  # the model has found nothing
        return np.zeros(draws.n_parameters), np.zeros(draws.n_parameters)
    total = np.array([np.mean((first - one) ** 2) for one in mixed]) / (2.0 * variance)
    rest = np.array([np.mean((second - one) ** 2) for one in mixed]) / (2.0 * variance)
    total = np.clip(total, 0.0, 1.0)
    return total, np.clip(1.0 - rest, 0.0, total)


def _spread(space: SearchSpace, points: Floats, values: Floats, fit: Fit, total: Floats) -> Floats:
    """Returns half the width of the interval of each total effect."""
    draws, squares = Draws(space, _N_ROUGH_DRAWS), np.zeros(len(total))
    for has_surface, trust in zip((False, True), fit.trust, strict=True):
        for number in range(_N_REFITS):
            weights = stream(0, "importance", number).standard_exponential(len(values))
            model = Response(points, values, weights, has_surface=has_surface, n_trees=_N_REFITS)
            squares += trust / _N_REFITS * (_effects(model, draws)[0] - total) ** 2
    return np.asarray(_WITHIN * np.sqrt(squares))
