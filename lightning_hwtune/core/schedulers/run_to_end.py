"""Every trial trains to the end: the baseline, and what a study wants whose trainings are short."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, ClassVar, Self, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.decisions import Reason, Stop, Verdict
from lightning_hwtune.core.schedulers.base import Promotion, Scheduler
from lightning_hwtune.core.schedulers.rungs import horizon
from lightning_hwtune.forms import checked_call

__all__ = ["RunToEnd"]


@final
class RunToEnd(Scheduler):
    """Trains every trial to the end.

    Args:
        max_epochs, max_steps, max_samples: the full training, in exactly one of these units.
    """

    name: ClassVar[str] = "run_to_end"

    @checked_call("RunToEnd")
    def __init__(
        self,
        max_epochs: int | None = None,
        *,
        max_steps: int | None = None,
        max_samples: int | None = None,
    ) -> None:
        self.unit, last = horizon(max_epochs, max_steps, max_samples)
        self.levels = (last,)

    def fresh(self, n_objectives: int, names: Sequence[str] = ()) -> Self:
        """Returns this scheduler: it remembers nothing."""
        return self

    def draw_bracket(self, rng: np.random.Generator) -> int:
        """Returns 0."""
        return 0

    def first_target(self, bracket: int) -> int:
        """Returns the full training."""
        return self.max_resource

    def verdict(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Returns Stop: the only level is the end."""
        return Stop(Reason("max-resource", f"trained to the full {self.max_resource} {self.unit}"))

    def record(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64], kind: str) -> None:
        """Nothing to remember."""

    def promotable(self, exclude: Container[int] = ()) -> Promotion | None:
        """Returns None."""
        return None

    def is_promotable(self, trial_id: int, level: int) -> bool:
        """Returns False."""
        return False

    def promoted(self, trial_id: int, bracket: int, level: int) -> None:
        """Nothing to remember."""

    def withdraw(self, trial_id: int) -> None:
        """Nothing to remember."""

    def finishers(self) -> Sequence[tuple[int, int]]:
        """Returns nobody."""
        return ()

    def expected(self, n_trials: int) -> tuple[tuple[int, int], ...]:
        """Returns all trials at the end."""
        return ((self.max_resource, n_trials),)

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        return {"name": self.name, f"max_{self.unit}": self.max_resource}
