"""Which exact numbers a new trial has in common with an earlier one, and why."""

from __future__ import annotations

from typing import final

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.parameters import Float

__all__ = ["KeptParameters"]


@final
class KeptParameters:
    """The real numbers that draws have kept from earlier trials, for the stories of many trials.

    A number drawn at random is never the same twice, so a reader would take this for an error.

    Args:
        state: the facts of the study. What is added to them later is not seen.
    """

    def __init__(self, state: StudyFacts) -> None:
        self._trials = state.trials
        self._names = [name for name, parameter in state.spec.space.items() if isinstance(parameter, Float)]
        self._first: dict[tuple[str, float], int] = {}  # a value of a parameter -> the first trial that has it
        for trial in state.trials:
            if trial.replicate_of is None:
                for name in self._names:
                    if name in trial.config:
                        self._first.setdefault((name, trial.config[name]), trial.trial_id)

    def text(self, event: ev.TrialCreated) -> str:
        """Returns a clause about the numbers of a drawn trial that an earlier trial has, too; "" if there are none."""
        if event.draw is None or event.replicate_of is not None:
            return ""
        numbers = [(name, event.config[name]) for name in self._names if name in event.config]
        earlier = min((self._first.get(number, event.trial_id) for number in numbers), default=event.trial_id)
        if earlier >= event.trial_id:
            return ""
        config = self._trials[earlier].config
        kept = [name for name, value in numbers if config.get(name) == value]
        verb = "is that" if len(kept) == 1 else "are those"
        why = "a draw may change only some parameters of a good trial"
        return f"; {', '.join(kept)} {verb} of trial {earlier}, because {why}"
