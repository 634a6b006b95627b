"""The trials that `Study.replicate` and `Study.test` are given, in any of the forms that a user has them in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms import plain
from lightning_hwtune.views.front_points import front_points

__all__ = ["finalists"]

_ALLOWED = "trial numbers, results such as study.best, a data frame with the column `trial`, or None for the front"


def finalists(state: StudyFacts, front: Any, argument: str = "front") -> list[int]:
    """Returns the numbers of the trials that an argument names; those of the front for None.

    Raises:
        ArgumentError: `front` is nothing of what is allowed.
    """
    if front is None:
        return [point.trial.trial_id for point in front_points(state)]
    if hasattr(front, "columns"):
        if "trial" not in front.columns:
            raise ArgumentError(argument, list(map(str, front.columns)), "a data frame with the column `trial`")
        front = front["trial"]
    if isinstance(front, str | bytes | dict) or (not isinstance(front, Iterable) and not _is_one(front)):
        raise ArgumentError(argument, front, _ALLOWED)
    return [_number(item, argument) for item in ([front] if _is_one(front) else front)]


def _is_one(value: Any) -> bool:
    return hasattr(value, "trial_id") or isinstance(plain(value), int)


def _number(item: Any, argument: str) -> int:
    number = plain(getattr(item, "trial_id", item))
    if isinstance(number, bool) or not isinstance(number, int):
        raise ArgumentError(argument, item, _ALLOWED)
    return number
