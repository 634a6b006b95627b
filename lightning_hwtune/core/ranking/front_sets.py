"""The interface of an incremental store of fronts, for any number of objectives."""

from __future__ import annotations

import abc
from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["FrontSets", "Loss", "Members"]

Loss = Sequence[float]
Members = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


class FrontSets(abc.ABC):
    """Trials with finite losses, kept in their non-dominated fronts as further trials arrive.

    A trial is open until it is closed. The members of a front have a sequence that depends on the store. It is the same
    in all answers until the next arrival.
    """

    def __init__(self) -> None:
        # arrays rather than lists, as numpy reads them without a copy
        self._sizes, self._n_open = array("q"), array("q")

    @abc.abstractmethod
    def insert(self, trial_id: int, loss: Loss, front: int) -> range:
        """Adds a new, open trial to its `front_of(loss)`; returns the fronts whose members changed."""

    @abc.abstractmethod
    def close(self, trial_id: int, loss: Loss) -> None:
        """Marks an open trial with this loss as no longer open."""

    @abc.abstractmethod
    def front_of(self, loss: Loss) -> int:
        """Returns the front of a trial with this loss, whether it has been added or would arrive now."""

    @abc.abstractmethod
    def members(self, front: int) -> Members:
        """Returns a front's trial ids, shape `(n,)`, and their losses, shape `(n, n_objectives)`."""

    @abc.abstractmethod
    def members_with(self, trial_id: int, loss: Loss, front: int) -> Members:
        """Returns the `members` that this front would have after such an `insert`."""

    @abc.abstractmethod
    def is_open(self, front: int) -> npt.NDArray[np.bool_]:
        """Returns whether each member of a front is open, shape `(n,)`."""

    @property
    def n_fronts(self) -> int:
        """The number of fronts."""
        return len(self._sizes)

    def size(self, front: int) -> int:
        """Returns the number of members of a front; 0 for the one after the last."""
        return self._sizes[front] if front < len(self._sizes) else 0

    def n_ahead(self, front: int) -> int:
        """Returns the number of trials in better fronts."""
        return int(np.frombuffer(self._sizes, dtype=np.int64, count=front).sum()) if front else 0

    def split(self, k: int) -> tuple[int, int]:
        """Returns the first front that is not entirely among the first `k` trials, and how many of its members are."""
        if not self._sizes:
            return 0, 0
        until = np.frombuffer(self._sizes, dtype=np.int64).cumsum()
        front = int(until.searchsorted(k, side="right"))
        return front, k - int(until[front - 1]) if front else k

    def fronts_with_open(self, below: int) -> list[int]:
        """Returns the fronts before `below` that have an open member, ascending."""
        if not self._n_open or not below:
            return []
        fronts: list[int] = np.frombuffer(self._n_open, dtype=np.int64)[:below].nonzero()[0].tolist()
        return fronts

    def has_open(self, front: int) -> bool:
        """Returns whether a front has an open member; False for the one after the last."""
        return front < len(self._n_open) and self._n_open[front] > 0
