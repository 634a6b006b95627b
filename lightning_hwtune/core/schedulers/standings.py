"""The words in which a verdict describes the place of a trial in its rung."""

from __future__ import annotations

from lightning_hwtune.core.decisions import Reason, Rule
from lightning_hwtune.core.ranking.rung import Place

__all__ = ["place_reason", "promoted_of", "standing"]


def standing(level: int, place: Place) -> str:
    """Returns text such as "rank 2 of 27 at rung 3 (not dominated)"; ranks and fronts count from 1 here.

    Without the trials of the 1st front, which are not dominated, those of the 2nd front are not dominated, and so on.
    """
    rank = f"rank {place.first + 1}" if place.first == place.last else f"ranks {place.first + 1} to {place.last + 1}"
    if place.front is None:
        front = "" if place.is_feasible else " (infeasible)"
    else:
        front = f" (dominated, {_ordinal(place.front + 1)} front)" if place.front else " (not dominated)"
    return f"{rank} of {place.n_trials} at rung {level}{front}"


def _ordinal(n: int) -> str:
    """Returns "1st", "2nd", "11th" and so on."""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def place_reason(level: int, place: Place, n_promoted: int) -> Reason:
    """Returns the reason of a verdict that follows from the place of a trial.

    Args:
        n_promoted: how many trials of the rung are promoted.
    """
    text = standing(level, place)
    if not place.is_finite:
        return Reason(Rule.NOT_FINITE, f"{text}: a loss is not finite", place.standing)
    return Reason(Rule.PROMOTION if place.is_in else Rule.QUOTA, f"{text}; {promoted_of(n_promoted)}", place.standing)


def promoted_of(n_promoted: int) -> str:
    """Returns which trials of a rung continue, such as "none continues yet" or "the first 3 continue"."""
    if n_promoted == 0:
        return "none continues yet"
    return "the first continues" if n_promoted == 1 else f"the first {n_promoted} continue"
