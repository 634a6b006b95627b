"""The interface of the order of a rung's finite trials, for any number of objectives."""

from __future__ import annotations

import abc
from collections.abc import Container
from typing import NamedTuple

from lightning_hwtune.core.ranking.front_sets import Loss

__all__ = ["FiniteOrder", "Span"]


class Span(NamedTuple):
    """A rank, from 0, between `first` and `last`; its front (None with one objective); whether it is below `k`."""

    front: int | None
    first: int
    last: int
    is_in: bool


class FiniteOrder(abc.ABC):
    """The total order of trials with finite losses. A trial is open until it is closed."""

    @abc.abstractmethod
    def insert(self, trial_id: int, loss: Loss) -> None:
        """Adds a new, open trial."""

    @abc.abstractmethod
    def close(self, trial_id: int, loss: Loss) -> None:
        """Marks an open trial with this loss as no longer open."""

    @abc.abstractmethod
    def arrival(self, trial_id: int, loss: Loss, k: int) -> Span:
        """Returns the place that this trial would have if it arrived now; has no effect."""

    @abc.abstractmethod
    def place(self, trial_id: int, loss: Loss, k: int) -> Span:
        """Returns the place of a trial that has been added."""

    @abc.abstractmethod
    def first_open(self, k: int, exclude: Container[int]) -> int | None:
        """Returns the best open trial among the first `k`, leaving out `exclude`; None if there is none."""

    @abc.abstractmethod
    def order(self) -> list[int]:
        """Returns all trial ids, best first."""
