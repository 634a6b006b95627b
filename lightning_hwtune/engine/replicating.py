"""Prepares a session that trains replicates: what it trains, under which limits, and whether the search has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Answer, Done, Rule
from lightning_hwtune.core.replication import Replication
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import ArgumentError

__all__ = ["prepared"]

_OF_RULE = {Rule.LIMIT_MAX_TIME: "max_time", Rule.LIMIT_MAX_COST: "max_cost"}


def prepared(
    state: StudyState, trials: Sequence[int], seeds: int, given: Mapping[str, Any], refit: str = ""
) -> tuple[Replication, Limits]:
    """Returns what is trained again and the limits of that session. Does not change the state.

    Args:
        given: the limits that the user gave, under the names that users give them; the others are those of the search.
        refit: from where refits begin; empty for replicates.

    Raises:
        ArgumentError: the search has not ended, a trial cannot be repeated, or the time or money of the study is used.
    """
    state = state.copied()
    n_trials, now = len(state.searched), state.last_at
    answer = _answer(state, state.search_limits, None, now)
    if not isinstance(answer, Done):
        hint = (
            "Continue it to its end, with `study.run` or the command that ran it, and then call this again. "
            f"`max_trials={n_trials}` ends it with the trials that exist."
        )
        raise ArgumentError("study", state.spec.name, "a study whose search has ended", hint=hint)
    wanted = Replication.checked(state, trials, seeds, refit)
    limits = state.search_limits.replaced(given)
    answer = _answer(state, limits, wanted, now)
    if isinstance(answer, Done) and answer.reason.rule in _OF_RULE:
        name = _OF_RULE[Rule(answer.reason.rule)]
        hint = f"{answer.reason.text}. {wanted.noun.capitalize()} count towards it: give a higher total."
        raise ArgumentError(name, limits.value(name), "enough for a replicate", hint=hint)
    return wanted, limits


def _answer(state: StudyState, limits: Limits, wanted: Replication | None, now: float) -> Answer:
    """Returns what a controller would do first in a session with these limits."""
    controller = Controller(state, lambda events: None)
    replication = wanted.to_dict() if wanted is not None else {}
    controller.open(limits, now, host="", pid=0, version="", replication=replication, study_id=state.study_id)
    return controller.ask(now, state.places)
