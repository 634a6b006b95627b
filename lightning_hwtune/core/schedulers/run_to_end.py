"""No early decisions: every trial trains to the end. The baseline that all schedulers are measured against."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from lightning_hwtune.core.decisions import Reason, Stop, Verdict
from lightning_hwtune.core.schedulers.base import Loss, Promotion, Scheduler, SchedulerState, horizon
from lightning_hwtune.names import refuse_unknown

__all__ = ["RunToEnd"]


@final
class RunToEnd(Scheduler):
    """Trains every trial to `max_epochs` (or `max_steps`, `max_samples`; exactly one of them).

    Raises:
        ArgumentError, RenamedArgumentError: a value or a name that is not allowed.
    """

    name: ClassVar[str] = "run_to_end"

    def __init__(
        self,
        max_epochs: int | None = None,
        *,
        max_steps: int | None = None,
        max_samples: int | None = None,
        **unknown: object,
    ) -> None:
        refuse_unknown("RunToEnd", unknown, ("max_epochs", "max_steps", "max_samples"))
        self.unit, self.max_resource = horizon(max_epochs, max_steps, max_samples)
        self.levels = (self.max_resource,)

    def __repr__(self) -> str:
        return f"RunToEnd(max_{self.unit}={self.max_resource})"

    def fresh(self, n_objectives: int) -> SchedulerState:
        """Returns the state of a new study: there is none but the horizon."""
        return _State(self.unit, self.max_resource, self.levels)

    def expected(self, n_trials: int) -> tuple[tuple[int, int], ...]:
        """Returns the one level, with all trials."""
        return ((self.max_resource, n_trials),)

    def settings(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        return {"name": self.name, f"max_{self.unit}": self.max_resource}


@final
@dataclass(slots=True)
class _State(SchedulerState):
    unit: str
    max_resource: int
    levels: tuple[int, ...]

    def draw_bracket(self, rng: np.random.Generator) -> int:
        """Returns the only bracket."""
        return 0

    def first_target(self, bracket: int) -> int:
        """Returns the horizon."""
        return self.max_resource

    def next_target(self, bracket: int, level: int) -> int:
        """Returns the horizon."""
        return self.max_resource

    def verdict(self, trial_id: int, bracket: int, level: int, loss: Loss) -> Verdict:
        """Returns Stop: the only level is the end."""
        return Stop(Reason("max-resource", f"trained to the full {self.max_resource} {self.unit}"))

    def record(self, trial_id: int, bracket: int, level: int, loss: Loss, kind: str) -> None:
        """Nothing to remember."""

    def promotable(self, exclude: Collection[int] = ()) -> Promotion | None:
        """Returns None: nobody waits."""
        return None

    def is_promotable(self, trial_id: int, level: int) -> bool:
        """Returns False."""
        return False

    def promoted(self, trial_id: int, bracket: int, level: int) -> None:
        """Nothing to remember."""

    def withdraw(self, trial_id: int) -> None:
        """Nothing to remember."""

    def finishers(self) -> Sequence[tuple[int, int]]:
        """Returns nothing: everybody trains to the end."""
        return ()
