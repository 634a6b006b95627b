"""The state of a study: a copy of it may go another way."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "stored_logs"))
from stored import Stored, stored_studies
from study_driver import snapshot

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.allocation import Allocation
from lightning_hwtune.core.facts_data import facts_to_data
from lightning_hwtune.core.state import StudyState

ALL = stored_studies()


def content(state: StudyState) -> str:
    """Returns everything in the facts and in the race, as text: NaN is not equal to itself."""
    return repr((snapshot(state), facts_to_data(state), state.race.promotable(), state.race.closing()))


@pytest.mark.parametrize("part", [0.3, 0.8])
@pytest.mark.parametrize("stored", ALL, ids=lambda stored: f"{stored.version}-{stored.name}")
def test_events_of_a_copy_leave_the_state_as_it_is(stored: Stored, part: float) -> None:
    begun = int(len(stored.events) * part)
    state = stored.state(begun)
    before, other = content(state), state.copied()
    for event in stored.events[begun:]:
        other.apply(event)
    assert content(state) == before
    assert content(other) == content(stored.state(len(stored.events)))
    for event in stored.events[begun:]:  # and the other way round
        state.apply(event)
    assert content(state) == content(other)


@pytest.mark.parametrize("stored", ALL, ids=lambda stored: f"{stored.version}-{stored.name}")
def test_a_copy_has_each_trial_once(stored: Stored) -> None:
    """Lists of the same trials have the same objects in a copy, and none of the state."""
    state = stored.state(int(len(stored.events) * 0.6))
    other = state.copied()
    mine = {id(trial) for trial in other.trials}
    assert {id(trial) for trial in (*other.searched, *other.replicates)} == mine
    assert mine.isdisjoint(id(trial) for trial in state.trials)
    segments = [id(segment) for segment in other.segments]
    assert all(id(segment) in segments for segment in other.running.values())
    assert {id(segment) for segment in other.running.values()}.isdisjoint(id(segment) for segment in state.segments)


OTHERS: dict[str, ev.Event] = {
    "note": ev.Noted(at=1e6, trial_id=None, text="a note"),
    "configuration": ev.ConfigEnqueued(at=1e6, config={"x": 1}),
    "reservation": ev.DevicesReserved(
        at=1e6, trial_id=0, draw=None, allocation=Allocation(1), target=9, promoted_from=None, rule="", reason=""
    ),
    "session": ev.SessionClosed(at=1e6, state="paused", reason="", wall_s=1.0),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_events_of_a_copy_leave_the_state_as_it_is(kind: str) -> None:
    stored = Stored("0.2.0.dev0", "asha_one_device")
    state = stored.state(len(stored.events) // 2)
    before, other = content(state), state.copied()
    other.apply(OTHERS[kind])
    assert content(state) == before
    assert content(other) != before


def test_a_checkpoint_that_a_copy_removes_stays_in_the_state() -> None:
    stored = Stored("0.2.0.dev0", "asha_one_device")
    state = stored.state(len(stored.events))
    trial = next(trial for trial in state.trials if trial.checkpoint is not None)
    kept, other = copy.copy(trial.checkpoint), state.copied()
    assert kept is not None
    other.apply(ev.CheckpointRemoved(at=1e6, trial_id=trial.trial_id, path=kept.path, reason=""))
    assert other.trials[trial.trial_id].checkpoint is None
    assert trial.checkpoint == kept


@pytest.mark.parametrize("stored", ALL, ids=lambda stored: f"{stored.version}-{stored.name}")
def test_a_trial_knows_how_many_trials_there_were_when_a_rung_judged_it(stored: Stored) -> None:
    state, n_trials = stored.state(len(stored.events)), 0
    expected: dict[int, dict[int, int]] = {}
    for event in stored.events:
        n_trials += isinstance(event, ev.TrialCreated)
        if isinstance(event, ev.Reported) and event.level is not None:
            expected.setdefault(event.trial_id, {})[event.level] = n_trials
    for trial in state.trials:
        assert trial.known_from.items() >= expected.get(trial.trial_id, {}).items()
        assert trial.known_from.keys() == trial.decided.keys()
