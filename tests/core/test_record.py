"""Trial records: the table of moves, and what the newest measurement is."""

from __future__ import annotations

import itertools
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_hwtune.core.record import MOVES, Measurement, TrialRecord, TrialState
from lightning_hwtune.errors import IllegalMoveError

S = TrialState
LEGAL = {
    (S.WAITING, S.RUNNING),
    (S.WAITING, S.STOPPED),
    (S.RUNNING, S.WAITING),
    (S.RUNNING, S.PAUSED),
    (S.RUNNING, S.COMPLETED),
    (S.RUNNING, S.STOPPED),
    (S.RUNNING, S.FAILED),
    (S.RUNNING, S.OUT_OF_MEMORY),
    (S.PAUSED, S.RUNNING),
    (S.PAUSED, S.WAITING),
    (S.PAUSED, S.STOPPED),
}


def record(state: TrialState = S.WAITING) -> TrialRecord:
    return TrialRecord(trial_id=3, config={"lr": 0.1}, seed=1, bracket=0, target=9, created_at=0.0, state=state)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(S, S)))
def test_the_table_of_moves_is_the_one_that_was_agreed(before: TrialState, after: TrialState) -> None:
    trial = record(before)
    if (before, after) in LEGAL:
        trial.move(after)
        assert trial.state is after
        return
    with pytest.raises(IllegalMoveError, match=f"trial 3 is {before}; it cannot become {after}"):
        trial.move(after)
    assert trial.state is before


def test_final_states_are_those_that_nothing_follows() -> None:
    assert {state for state in S if state.is_final} == {state for state in S if not MOVES[state]}


@given(st.lists(st.sampled_from(S), max_size=12))
def test_a_final_trial_never_runs_again(walk: list[TrialState]) -> None:
    trial, was_final = record(), False
    for state in walk:
        was_final = was_final or trial.state.is_final
        try:
            trial.move(state)
        except IllegalMoveError:
            continue
        assert not was_final


def test_measurements_are_found_by_resource() -> None:
    trial = record()
    assert (trial.last, trial.resource, trial.at(1)) == (None, 0, None)
    trial.measurements = [Measurement(1, {"a": 1.0}, 1.0, 1.0), Measurement(3, {"a": 0.5}, 3.0, 6.0)]
    assert (trial.last, trial.resource) == (trial.measurements[1], 3)
    assert trial.at(1) is trial.measurements[0]
    assert trial.at(2) is None


def test_two_records_share_no_lists_and_travel_by_pickle() -> None:
    one, two = record(), record()
    one.measurements.append(Measurement(1, {}, 1.0, 1.0))
    one.decided[1] = "pause"
    assert (two.measurements, two.decided) == ([], {})
    assert pickle.loads(pickle.dumps(one)) == one
