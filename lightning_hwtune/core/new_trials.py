"""The next new trial: an enqueued configuration of the user, or else the next draw of the searcher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from lightning_hwtune.core.decisions import Reason, Resume, Rule, Start
from lightning_hwtune.core.moments import Moments
from lightning_hwtune.core.searchers import History
from lightning_hwtune.core.searchers.memory import Memory
from lightning_hwtune.core.stall import Stall
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.core.streams import stream

__all__ = ["NewTrials"]

_LOOK_AHEAD = 8  # number of draws searched for a small trial while devices drain


@final
class NewTrials:
    """The new trials of one study, from its current state. It only keeps what it has computed."""

    def __init__(self, state: StudyState, moments: Moments) -> None:
        self._state, self._policy, self._moments = state, state.spec.allocator, moments
        self._known: History | None = None  # cached history of the current state
        self._configs: dict[int, Mapping[str, Any] | None] = {}  # cached draws of the current state
        self._memory, self._stall = Memory(), Stall(state)

    def changed(self) -> None:
        """Drops what is cached about the state. Call it before the state changes."""
        self._known = None
        self._configs.clear()

    def stalled(self) -> str:
        """Returns a sentence about the stalled front that ends the search; empty if it has not stalled."""
        return self._stall.text()

    def may_begin(self) -> bool:
        """Returns whether the limit of trials and the race have room for a new one, and the front has not stalled."""
        return self._state.race.has_room and self.is_possible()

    def is_possible(self) -> bool:
        """Returns whether a new trial could begin if the race had room for it: the searcher may have none."""
        most = self._state.limits.max_trials
        return (most is None or len(self._state.searched) < most) and not self.stalled()

    def next(self) -> Start | None:
        """Returns the next new trial; None if there is none."""
        return self._any() if self.may_begin() else None

    def has_more(self) -> bool:
        """Returns whether there is a further configuration, and the limit of trials allows another one."""
        return self.is_possible() and self._any() is not None

    def _any(self) -> Start | None:
        if self._state.enqueued:
            return self._start(self._state.enqueued[0], None)
        return self.drawn(min(self._state.skipped, default=self._state.next_draw))

    def drawn(self, draw: int) -> Start | None:
        """Returns the trial of one of the searcher's draws; None if the searcher has no further configuration."""
        if draw not in self._configs:
            spec = self._state.spec
            self._configs[draw] = spec.searcher.propose(spec.space, draw, spec.seed, self.history())
        config = self._configs[draw]
        return None if config is None else self._start(config, draw)

    def _start(self, config: Mapping[str, Any], draw: int | None) -> Start:
        spec, race = self._state.spec, self._state.race
        number = len(self._state.searched)  # replicates change neither brackets nor seeds
        bracket = race.draw_bracket(stream(spec.seed, "bracket", number))
        origin = "enqueued by the user" if draw is None else f"draw {draw} of the {spec.searcher.name} searcher"
        target = race.first_target(bracket)
        if target < race.max_resource and self._state.n_first_due > 0:
            target, origin = race.max_resource, f"{origin}; one of the first trials, which train to the end"
        return Start(
            trial_id=len(self._state.trials),
            config=config,
            allocation=self._moments.begin(config, self._policy.first(config), target),
            bracket=bracket,
            target=target,
            seed=int(stream(spec.seed, "trial", number).integers(2**31 - 1)),
            source="enqueued" if draw is None else "searcher",
            draw=draw,
            reason=Reason(Rule.NEW, origin),
        )

    def history(self) -> History:
        """Returns what the searcher sees of the study."""
        if self._known is None:
            self._known = History(self._state.searched, self._state.spec.objectives, self._state.added, self._memory)
        return self._known

    def fitting(self, reserved: Start | Resume, free: int, *, lacks_nodes: bool = False) -> Start | None:
        """Returns a trial of one of the next draws that fits the free devices; draws it overtakes keep their places.

        Configurations of the user are overtaken only while nodes are lacking, by one another and by draws.
        """
        if (self._state.enqueued and not lacks_nodes) or self.stalled() or not self._state.race.has_room:
            return None
        for place, config in enumerate(self._state.enqueued):
            queued = self._start(config, None)
            if self._state.has_place(queued.allocation, free) and self._has_room_after(place):
                return queued
        pending = {reserved.draw} if isinstance(reserved, Start) and reserved.draw is not None else set()
        ahead = sorted(self._state.skipped) + list(range(self._state.next_draw, self._state.next_draw + _LOOK_AHEAD))
        for draw in ahead:
            if draw in pending or not self._has_room_for(draw, pending):
                continue
            option = self.drawn(draw)
            if option is None or self._state.has_place(option.allocation, free):
                return option
        return None

    def _has_room_for(self, draw: int, pending: set[int]) -> bool:
        """Returns whether the limit of trials leaves room for this draw and for all draws that it overtakes."""
        overtaken = self._state.skipped | pending | set(range(self._state.next_draw, draw))
        return self._has_room_after(len(self._state.enqueued) + len(overtaken - {draw}))

    def _has_room_after(self, n_overtaken: int) -> bool:
        """Returns whether the limit of trials leaves room for another one and for those that it overtakes."""
        most = self._state.limits.max_trials
        return most is None or len(self._state.searched) + n_overtaken + 1 <= most
