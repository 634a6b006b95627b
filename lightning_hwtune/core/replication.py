"""Replicates: fully trained trials are trained again with other seeds, which shows how much their values depend on it.

A replicate is a trial whose `replicate_of` is the trial that it repeats: with the same configuration and on as many
devices, to the end, from the beginning. The search never sees it. It joins no rung, no history of a searcher and no
front, and it counts neither as a trial of the study nor as a failure. A session either searches or trains replicates.
What it trains is part of its first event, so a session that was killed is continued by an equal one.

A refit is a trial of the same kind, with another training function, e.g. one that trains on all data. It begins from
scratch, or with the weights of the trial's checkpoint ("checkpoint"). It need not report the objectives, and ends
where the trial ended by its own rule.

Every trial gets its first replicate before any gets its second one, if there are enough devices for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, final

from lightning_hwtune.core.deadline import Deadline
from lightning_hwtune.core.decisions import (
    Answer,
    Continue,
    Demand,
    Done,
    Pause,
    Reason,
    Resume,
    Rule,
    Start,
    Verdict,
    Wait,
)
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.interrupted_trials import resume_of
from lightning_hwtune.core.record import TrialRecord, TrialState
from lightning_hwtune.core.schedulers.ladder import Ladder
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.core.streams import stream
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.text import counted

__all__ = ["NextReplicate", "Replication", "replicate_verdict", "replicates_of"]


@final
@dataclass(frozen=True, slots=True)
class Replication:
    """What a session trains again.

    Attributes:
        trials: the trials to repeat. seeds: how many replicates each of them gets, those that exist included.
        refit: from where refits begin; empty for replicates.
    """

    trials: tuple[int, ...]
    seeds: int
    refit: str = ""

    @property
    def noun(self) -> str:
        """What it trains, in the plural."""
        return "refits" if self.refit else "replicates"

    @classmethod
    def checked(cls, facts: StudyFacts, trials: Sequence[int], seeds: int, refit: str = "") -> Self:
        """Returns the replication of these trials.

        Raises:
            ArgumentError: a trial is not a fully trained one of the search.
        """
        argument = "trial" if refit else "front"
        allowed = "fully trained trials of the search, such as those of `study.front()`"
        for trial_id in trials:
            if not 0 <= trial_id < len(facts.trials):
                raise ArgumentError(
                    argument, trial_id, allowed, hint=f"The study has {counted(len(facts.trials), 'trials')}."
                )
            trial = facts.trials[trial_id]
            if trial.is_replicate:
                hint = f"Trial {trial_id} is a replicate of trial {trial.replicate_of}: repeat that one."
                raise ArgumentError(argument, trial_id, allowed, hint=hint)
            if trial.state is not TrialState.COMPLETED or trial.last is None:
                at = f"{trial.resource} of {counted(facts.ladder.top, facts.ladder.unit)}"
                raise ArgumentError(argument, trial_id, allowed, hint=f"Trial {trial_id} is {trial.state} at {at}.")
        if not trials:
            hint = "The front is empty: no fully trained trial has finite values and violates no constraint."
            raise ArgumentError(argument, list(trials), allowed, hint=hint)
        return cls(tuple(dict.fromkeys(trials)), seeds, refit)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for the log."""
        data = {"trials": list(self.trials), "seeds": self.seeds}
        return {**data, "refit": self.refit} if self.refit else data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Returns the replication that `to_dict` described."""
        return cls(tuple(data["trials"]), data["seeds"], data.get("refit", ""))

    def known(self, facts: StudyFacts, origin: int) -> list[TrialRecord]:
        """Returns the replicates or refits of a trial that exist, in the order in which they began."""
        repeated = facts.refits if self.refit else facts.replicates
        return [trial for trial in repeated if trial.replicate_of == origin and trial.refit == self.refit]

    def n_missing(self, facts: StudyFacts) -> int:
        """Returns how many replicates have not ended, or not even begun."""
        n_ended = [sum(trial.state.is_final for trial in self.known(facts, origin)) for origin in self.trials]
        return sum(max(self.seeds - n, 0) for n in n_ended)


def replicates_of(facts: StudyFacts, trial_id: int) -> list[TrialRecord]:
    """Returns the replicates of a trial, in the order in which they began."""
    return [trial for trial in facts.replicates if trial.replicate_of == trial_id]


def replicate_verdict(trial: TrialRecord, resource: int, ladder: Ladder) -> Verdict:
    """Returns the answer to a report of a replicate, which no rung judges."""
    if resource >= ladder.top:
        return ladder.end()
    if trial.refit and resource >= trial.target:
        return Pause(Reason(Rule.REPLICATE, f"trial {trial.replicate_of}, of which it is a refit, ended here, too"))
    text = f"it repeats trial {trial.replicate_of}, and no rung judges it"
    return Continue(Reason(Rule.REPLICATE, text))


@final
class NextReplicate:
    """What free devices do next in a session that trains replicates; the counterpart of `NextAction`."""

    def __init__(self, state: StudyState, deadline: Deadline) -> None:
        self._state, self._deadline = state, deadline

    def ask(self, now: float, free: int) -> Answer:
        """Returns what `free` devices should do next: interrupted replicates first, then new ones.

        Under a limit of time or money, a replicate begins only if it can be expected to reach its end.
        """
        state, kept = self._state, self._state.reserved
        session = state.session
        assert session is not None
        wanted = Replication.from_dict(session.replication)
        due = [item for _, item in self._due(wanted)]
        able = self._able(wanted, now)
        for item in able:
            if state.has_place(item.allocation, free):
                return replace(item, reservation=kept)
        n_running = len(state.running)
        if n_running:
            text = f"{counted(n_running, wanted.noun)} {'is' if n_running == 1 else 'are'} running"
            return Wait(Reason(Rule.REPLICATE, text), reservation=kept)
        if able and state.is_renting:
            text = f"a {wanted.noun.removesuffix('s')} needs {counted(able[0].num_devices, 'devices')} (free: {free})"
            return Wait(Reason(Rule.REPLICATE, text), able[0].num_devices, kept)
        if due:
            rule = Rule.LIMIT_MAX_TIME if self._deadline.left.is_time_first(now) else Rule.LIMIT_MAX_COST
            n = f"{counted(len(due), wanted.noun)} {'is' if len(due) == 1 else 'are'}"
            return Done(Reason(rule, f"{n} left, and what is left of the limit is too short for one"), kept)
        n_lost = sum(
            trial.state is not TrialState.COMPLETED
            for origin in wanted.trials
            for trial in wanted.known(state, origin)[: wanted.seeds]
        )
        lost = f", {n_lost} of them without success" if n_lost else ""
        replicates = counted(len(wanted.trials) * wanted.seeds, wanted.noun)
        return Done(
            Reason(Rule.REPLICATE, f"{replicates} of {counted(len(wanted.trials), 'trials')} trained{lost}"), kept
        )

    def demand(self, now: float) -> Demand:
        """Returns the devices of the replicate that would begin if enough were free."""
        session = self._state.session
        assert session is not None
        able = self._able(Replication.from_dict(session.replication), now)
        return Demand(able[0].num_devices, able[0].allocation) if able else Demand()

    def _able(self, wanted: Replication, now: float) -> list[Start | Resume]:
        """Returns the replicates that may begin a segment now and can be expected to end within the limits."""
        return [item for origin, item in self._due(wanted) if self._ends(origin, item, now)]

    def _due(self, wanted: Replication) -> Iterator[tuple[int, Start | Resume]]:
        """Yields the replicates that may begin a segment now, in order, each after the trial that it repeats."""
        known = {origin: wanted.known(self._state, origin)[: wanted.seeds] for origin in wanted.trials}
        begun = [(trial, origin) for origin, trials in known.items() for trial in trials]
        for trial, origin in sorted(begun, key=lambda pair: pair[0].trial_id):
            if not trial.state.is_final and trial.trial_id not in self._state.running:
                yield origin, resume_of(trial, self._state.ladder.unit)
        for number in range(wanted.seeds):
            for origin in wanted.trials:
                if number >= len(known[origin]):
                    yield origin, self._start(origin, number, wanted)

    def _start(self, origin: int, number: int, wanted: Replication) -> Start:
        state, trial, kind = self._state, self._state.trials[origin], wanted.noun.removesuffix("s")
        text, target = (
            f"replicate {number + 1} of {wanted.seeds} of trial {origin}, with another seed",
            state.ladder.top,
        )
        if wanted.refit:
            text = f"refit of trial {origin} from {'scratch' if wanted.refit == 'scratch' else 'its checkpoint'}"
            target = trial.resource if trial.resource < state.ladder.top else target
        return Start(
            trial_id=len(state.trials),
            config=trial.config,
            allocation=trial.allocation,
            bracket=trial.bracket,
            target=target,
            seed=int(stream(state.spec.seed, f"{kind} of {origin}", number).integers(2**31 - 1)),
            source=kind,
            draw=None,
            reason=Reason(Rule.REPLICATE, text),
            replicate_of=origin,
            refit=wanted.refit,
        )

    def _ends(self, origin: int, item: Start | Resume, now: float) -> bool:
        """Returns whether a replicate can be expected to end within the limits: it trains at the pace of its trial."""
        if not self._state.limits.is_timed:
            return True
        checkpoint = self._state.trials[item.trial_id].checkpoint if isinstance(item, Resume) else None
        return self._deadline.can_end(replace(self._state.trials[origin], checkpoint=checkpoint), now)
