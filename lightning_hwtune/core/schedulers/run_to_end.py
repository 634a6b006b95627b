"""Every trial trains to the end: the baseline, and the choice for studies whose trials are short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import numpy.typing as npt

from lightning_hwtune.core.decisions import Verdict
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.schedulers.base import Race, Scheduler
from lightning_hwtune.forms import checked_class

__all__ = ["RunToEnd"]


@final
@checked_class(prefix="")
@dataclass(frozen=True, repr=False)
class RunToEnd(Scheduler):
    """Trains every trial to the end.

    Args:
        max_epochs, max_steps, max_samples: the full training, in exactly one of these units.

    Examples:
        >>> hwt.RunToEnd(max_steps=1000).levels
        (1000,)
    """

    name: ClassVar[str] = "run_to_end"

    def start(self, objectives: Objectives) -> Race:
        """Returns a race that does not judge trials before the end."""
        return _ToTheEnd(self.ladder)

    @property
    def bound(self) -> str:
        """Empty, as the expected numbers are exact."""
        return ""


@final
class _ToTheEnd(Race):
    def judge(self, trial_id: int, bracket: int, level: int, loss: npt.NDArray[np.float64]) -> Verdict:
        """Ends the training, as there is no level below the full training."""
        return self.ladder.end()
