"""Which exact numbers a new trial has in common with an earlier one, and why."""

from __future__ import annotations

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.parameters import Float

__all__ = ["kept_parameters"]


def kept_parameters(state: StudyFacts, event: ev.TrialCreated) -> str:
    """Returns a clause about the real numbers of a drawn trial that an earlier trial has, too; "" if there are none.

    A number drawn at random is never the same twice, so a reader would take this for an error.
    """
    if event.draw is None or event.replicate_of is not None:
        return ""
    space = state.spec.space
    numbers = [(name, value) for name, value in event.config.items() if isinstance(space[name], Float)]
    for earlier in state.trials[: event.trial_id]:
        config = earlier.config
        kept = [name for name, value in numbers if config.get(name) == value]
        if kept and earlier.replicate_of is None:
            verb = "is that" if len(kept) == 1 else "are those"
            why = "a draw may change only some parameters of a good trial"
            return f"; {', '.join(kept)} {verb} of trial {earlier.trial_id}, because {why}"
    return ""
