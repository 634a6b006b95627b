"""The function of a segment that tests a checkpoint instead of training: it notes what the user's function returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from lightning_hwtune.errors import TrialError, shown
from lightning_hwtune.training.across_ranks import as_number

if TYPE_CHECKING:
    from lightning_hwtune.training.trial import Trial

__all__ = ["CheckpointTest", "named_numbers"]


@final
@dataclass(frozen=True, slots=True)
class CheckpointTest:
    """Calls a function of the user with the trial, whose `ckpt_path` is the checkpoint to test."""

    function: Callable[[Trial], Any]

    def __call__(self, trial: Trial) -> None:
        """Notes the results under their names.

        Raises:
            TrialError: the function returns something else than numbers by name.
        """
        for name, value in named_numbers(self.function(trial)).items():
            trial.note(name, value)


def named_numbers(found: Any) -> dict[str, float]:
    """Returns the results of a test: a mapping from names to numbers, or a list of such mappings.

    `Trainer.test` returns such a list, with one mapping per loader.

    Raises:
        TrialError: it is something else.
    """
    parts = list(found) if isinstance(found, list | tuple) else [found]
    values: dict[str, float] = {}
    for part in parts:
        for name, value in part.items() if isinstance(part, Mapping) else ():
            number = as_number(value)
            if not isinstance(name, str) or number is None:
                raise TrialError(f"the test function returned {shown(value)[:80]} for {name!r} instead of a number")
            values[name] = number
    if not values:
        allowed = "{'accuracy': 0.9}, or what Trainer.test returns"
        raise TrialError(
            f"the test function returned {shown(found)[:80]} instead of numbers by name, such as {allowed}"
        )
    return values
