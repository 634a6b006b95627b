"""Trials that are on a front although most trials are better in the first metric, and how they are excluded."""

from __future__ import annotations

import math
import statistics

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.objectives import Metric
from lightning_hwtune.names.spelling import spelled
from lightning_hwtune.views.amounts import number
from lightning_hwtune.views.front_points import candidates, front_points

__all__ = ["weak_member_hint"]

_LEAST_OTHERS = 4  # most of fewer trials are hardly a reason to doubt one


def weak_member_hint(state: StudyFacts, at: str = "full") -> str:
    """Returns why the front has a trial that is worse than most in the first metric; empty if there is none.

    A trial that has learnt nothing may be on a front, because it is the cheapest. All trials are compared by their last
    measurements. A metric that has a bound needs no advice, nor does the front of a single rung.
    """
    objectives = state.spec.objectives
    metric = next((item for item in objectives if isinstance(item, Metric)), None)
    if at == "rung" or len(objectives) < 2 or metric is None or (metric.at_most, metric.at_least) != (None, None):
        return ""
    name, sign = metric.name, 1.0 if metric.mode == "min" else -1.0
    losses = {point.trial.trial_id: sign * point.measurement.values[name] for point in candidates(state, "any")}
    losses = {trial_id: loss for trial_id, loss in losses.items() if math.isfinite(loss)}
    n_others = len(losses) - 1
    members = [point.trial.trial_id for point in front_points(state, at)]
    if not members or n_others < _LEAST_OTHERS:
        return ""
    worst = max(members, key=lambda trial_id: losses.get(trial_id, -math.inf))
    n_better = sum(loss < losses[worst] for loss in losses.values()) if worst in losses else 0
    if 2 * n_better <= n_others:
        return ""
    middle = statistics.median_low(losses.values())
    short = float(f"{middle:.2g}")
    bound = sign * (short if middle <= short < losses[worst] else middle)
    others = [item.name for item in objectives if item is not metric]
    where = others[0] if len(others) == 1 else "another objective"
    which = "fully trained trial" if at == "full" else "trial"
    limit = "at_most" if metric.mode == "min" else "at_least"
    form = f'`Metric("{name}", "{metric.mode}", {limit}={bound:g})`'
    return spelled(
        f"note: {n_better} of the {n_others} other trials have a better {name} than trial {worst} "
        f"({number(sign * losses[worst])}). It is on the front because each {which} with a better {name} is worse in "
        f"{where}. In a new study, a bound such as {form} keeps such trials off the front"
    )
