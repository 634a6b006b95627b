"""The contract of a scheduler that ranks trials, in a study with constraints: violators come behind feasible trials."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.decisions import VerdictKind
from lightning_hwtune.core.feasibility import is_violator, place_of
from lightning_hwtune.core.schedulers import Scheduler
from lightning_hwtune.testing.demand import demand
from lightning_hwtune.testing.random_race import RandomRace

__all__ = ["violators_come_last"]

_EVERY = 4  # steps from one check to the next
_VIOLATIONS = (1e-9, 0.1, 0.1, 3.0, np.inf)  # with ties


def violators_come_last(scheduler: Scheduler, n_objectives: int, seed: int, n_steps: int) -> None:
    """Checks that a scheduler never prefers a violator of a constraint to a feasible trial, or a greater violation.

    Where a violator would continue, a feasible trial in its place would, too. No violator is promoted from a rung in
    which a feasible trial waits. Among the finishers of a rung, violators come last.
    """
    race = RandomRace(scheduler, n_objectives, seed, violating=violating_loss)
    losses: dict[tuple[int, int], npt.NDArray[np.float64]] = {}
    for step in range(n_steps):
        if step % _EVERY == 0:
            _verdicts_are_ordered(race)
            _waiting_are_ordered(race, losses)
        n_writes = len(race.writes)
        race.step()
        losses |= {(w[1][0], w[1][2]): w[1][3] for w in race.writes[n_writes:] if w[0] == "record"}


def violating_loss(rng: np.random.Generator, n_objectives: int) -> npt.NDArray[np.float64]:
    """Returns the losses of a violator."""
    return np.full(n_objectives, place_of(float(rng.choice(_VIOLATIONS))))


def _verdicts_are_ordered(race: RandomRace) -> None:
    if not race.running:
        return
    trial_id = int(race.rng.choice(sorted(race.running)))
    bracket, level = race.brackets[trial_id], race.running[trial_id][0]
    feasible = race.rng.integers(0, 20, race.n_objectives).astype(float)
    small, large = (np.full(race.n_objectives, place_of(amount)) for amount in (0.1, 3.0))
    kinds = [race.race.verdict(trial_id, bracket, level, loss).kind for loss in (feasible, small, large)]
    continues = [kind == VerdictKind.CONTINUE for kind in kinds]
    rule = "Where a violator continues, a feasible trial or a smaller violation would continue, too."
    asked = f"trial {trial_id} at {level}: feasible {kinds[0]}, violation 0.1 {kinds[1]}, violation 3 {kinds[2]}"
    demand(continues == sorted(continues, reverse=True), rule, asked)


def _waiting_are_ordered(race: RandomRace, losses: dict[tuple[int, int], npt.NDArray[np.float64]]) -> None:
    rule = "No violator leaves a rung before a feasible trial that waits there."
    seen: dict[tuple[int, int], float] = {}
    waiting = list(race.race.finishers())
    for trial_id, level in waiting:
        rung, place = (race.brackets[trial_id], level), _place(losses[trial_id, level])
        demand(place >= seen.get(rung, 0.0), rule, f"finishers() answered {waiting}.")
        seen[rung] = place
    promotion = race.race.promotable(exclude=race.running)
    if promotion is None or not _place(losses[promotion.trial_id, promotion.level]):
        return
    own: Any = race.brackets[promotion.trial_id], promotion.level
    better = [
        trial_id
        for trial_id, level in waiting
        if (race.brackets[trial_id], level) == own
        and trial_id not in race.running
        and _place(losses[trial_id, level]) < _place(losses[promotion.trial_id, promotion.level])
    ]
    demand(not better, rule, f"promotable() answered {promotion}; with less violation: {better}.")


def _place(loss: npt.NDArray[np.float64]) -> float:
    """Returns the place of a violator, and 0 for a feasible trial."""
    return float(loss[0]) if is_violator(loss.tolist()) else 0.0
