"""A peer's scheduler behind our interface, so that replays run it under the same clock, draws and accounting as ours.

`lightning_hwtune.core.schedulers.base.Scheduler` asks and tells: `joined` and `promoted` are what a peer hears when
work begins, `record` is what it is told, `verdict` and `promotable` are its answers.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.schedulers import Promotion
from lightning_hwtune.core.schedulers.base import Scheduler

__all__ = ["PeerScheduler"]


class PeerScheduler(Scheduler):
    """What all peers have in common: one bracket, and no promotion unless a subclass has one."""

    unit = "epochs"

    def draw_bracket(self, rng: np.random.Generator) -> int:
        """Returns 0."""
        return 0

    def first_target(self, bracket: int) -> int:
        """Returns the lowest level."""
        return self.levels[0]

    def promotable(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns None."""
        return None

    def is_promotable(self, trial_id: int, level: int) -> bool:
        """Tells whether it is the one that is due."""
        promotion = self.promotable()
        return promotion is not None and (promotion.trial_id, promotion.level) == (trial_id, level)

    def promoted(self, trial_id: int, bracket: int, level: int) -> None:
        """Nothing to remember."""

    def withdraw(self, trial_id: int) -> None:
        """Nothing to forget."""

    def finishers(self) -> Sequence[tuple[int, int]]:
        """Returns nobody: what is trained to the end is the peer's own choice."""
        return ()

    def expected(self, n_trials: int) -> tuple[tuple[int, int], ...]:
        """Returns the most that is possible."""
        return tuple((level, n_trials) for level in self.levels)

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log; no study of a peer is ever continued."""
        return {"name": self.name, f"max_{self.unit}": self.max_resource}

    def verdict(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Any:
        """Returns what the peer decides."""
        raise NotImplementedError
