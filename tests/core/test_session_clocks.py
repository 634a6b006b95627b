"""Wall time and bill: what each session's own clock says, added up, whatever the clocks of two sessions make of it."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from study_driver import rebuilt_state, spec

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.decisions import Resume, Start
from lightning_hwtune.core.hardware.catalogue import InstanceType
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.core.state import StudyState

USD_PER_DEVICE_S, N_DEVICES, HOUR = 3.6 / 3600, 2, 3600.0


@dataclass(frozen=True)
class Life:
    """One session: when its clock says that it begins, how that clock moves, and whether the session is killed."""

    begins_at: float
    steps: tuple[float, ...]
    is_killed: bool = False

    @property
    def added_up_s(self) -> float:
        return sum(step for step in self.steps if step > 0)


def live(*lives: Life, pool: Pool | None = None) -> StudyState:
    """Drives one study through these sessions, at most two trials at a time; returns what its log says."""
    study, log = spec(), []
    study = study if pool is None else dataclasses.replace(study, pool=pool)
    for life in lives:
        now, controller = life.begins_at, Controller(rebuilt_state(study, log), log.extend)
        if not log:
            controller.create(now)
        controller.open(Limits(max_trials=50), now, "host", 1, "0")
        state = controller.state
        for step in life.steps:
            _fill(controller, now)
            now += step
            _report(controller, now)
        if not life.is_killed:
            for trial_id in list(state.running):
                controller.tell(trial_id, now, "interrupted")
            controller.close(now, "paused", "")
    return rebuilt_state(study, log)


def _fill(controller: Controller, now: float) -> None:
    while True:
        used = {slot for segment in controller.state.running.values() for slot in segment.slots}
        free = [slot for slot in range(N_DEVICES) if slot not in used]
        answer = controller.ask(now, len(free))
        if not isinstance(answer, Start | Resume):
            return
        controller.begin(answer, free[: answer.num_devices], now)


def _report(controller: Controller, now: float) -> None:
    """The first running trial reports an epoch, and ends where its verdict says so."""
    for trial_id, segment in sorted(controller.state.running.items())[:1]:
        epoch = segment.reached + 1
        verdict = controller.report(trial_id, epoch, {"error": 1 / epoch}, float(epoch - segment.resource), now)
        if verdict.kind != "continue":
            controller.tell(trial_id, now, "done")


LIVES = st.builds(
    Life,
    begins_at=st.floats(-1e6, 1e9),
    steps=st.lists(st.floats(0, 500) | st.floats(-HOUR, HOUR), max_size=8).map(tuple),
    is_killed=st.booleans(),
)


@given(st.lists(LIVES, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_time_and_bill_never_exceed_what_each_sessions_clock_adds_up_to(sessions: list[Life]) -> None:
    state = live(*sessions)
    bound_s = sum(life.added_up_s for life in sessions) + 1e-3
    assert 0 <= state.wall_s(state.last_at) <= bound_s
    assert 0 <= state.billed_usd(state.last_at) <= bound_s * N_DEVICES * USD_PER_DEVICE_S
    assert all(0 <= segment.wall_s <= bound_s for segment in state.segments)


@given(st.lists(LIVES, min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_the_ledger_of_a_machine_is_the_sum_of_its_sessions_bills(sessions: list[Life]) -> None:
    box = InstanceType("box", 3.6, vcpus=N_DEVICES)
    state = live(*sessions, pool=Pool(instance=box))
    now = state.last_at
    bills = [node.usd(state.clock.at(now)) for node in state.nodes]
    assert len(bills) == len(sessions)
    assert state.billed_usd(now) == pytest.approx(sum(bills), rel=1e-12, abs=1e-12)
    assert sum(bills) <= (sum(life.added_up_s for life in sessions) + 1e-3) * 3.6 / 3600
    assert sum(bills) == pytest.approx(state.wall_s(now) * 3.6 / 3600, rel=1e-6, abs=1e-6)


@given(
    st.lists(
        st.builds(Life, st.floats(0, 1e6), st.lists(st.floats(0, 100), max_size=6).map(tuple), st.just(False)),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=30, deadline=None)
def test_nothing_is_lost_where_no_clock_is_set_back(sessions: list[Life]) -> None:
    state = live(*sessions)
    assert state.wall_s(state.last_at) == pytest.approx(sum(life.added_up_s for life in sessions), abs=1e-3)


@pytest.mark.parametrize("hours", [-720, -6, -0.1, 0.1, 6, 720])
@pytest.mark.parametrize("first_is_killed", [False, True])
def test_a_killed_session_on_a_host_with_another_clock(hours: float, first_is_killed: bool) -> None:
    """Twelve seconds and five: not the hours between two clocks."""
    at = 1e9
    state = live(
        Life(at, (4.0, 4.0, 4.0), first_is_killed),
        Life(at + hours * HOUR, (5.0,), is_killed=True),
        Life(at + 2 * hours * HOUR, (), is_killed=False),
    )
    assert state.wall_s(state.last_at) == pytest.approx(17.0)
    assert state.billed_usd(state.last_at) <= 17.0 * N_DEVICES * USD_PER_DEVICE_S + 1e-9


def test_a_clock_that_is_set_back_in_a_session_adds_nothing() -> None:
    state = live(Life(1000.0, (10.0, -3600.0, 5.0), is_killed=True), Life(50.0, ()))
    assert state.wall_s(50.0) == pytest.approx(10.0)
    assert all(segment.wall_s >= 0 for segment in state.segments)


def test_the_time_limit_holds_over_sessions_with_different_clocks() -> None:
    """An hour is not used up by a clock that is six hours off."""
    study, log = spec(), []
    for begins_at in (30_000.0, 8_400.0, 8_500.0):
        controller = Controller(rebuilt_state(study, log), log.extend)
        if not log:
            controller.create(begins_at)
        controller.open(Limits(max_time_s=HOUR), begins_at, "host", 1, "0")
        answer = controller.ask(begins_at + 1.0, N_DEVICES)
        assert isinstance(answer, Start | Resume)
        controller.begin(answer, [0], begins_at + 1.0)
    types = [type(event) for event in log]
    assert types.count(ev.SegmentEnded) == 2


@pytest.mark.parametrize("seconds", [0.1, 60.0, 10 * HOUR])
@pytest.mark.parametrize("is_killed", [False, True])
def test_sessions_that_train_nothing_take_no_time(seconds: float, is_killed: bool) -> None:
    """As many reruns of a finished script as one likes, before and after sessions that train."""
    study, log = spec(), []
    for trains, step in [(False, seconds), (True, 7.0), (False, seconds), (True, 5.0), (False, seconds)]:
        controller = Controller(rebuilt_state(study, log), log.extend)
        if not log:
            controller.create(0.0)
        begin = controller.state.last_at + HOUR
        controller.open(Limits(max_trials=9), begin, "host", 1, "0")
        if trains:
            _fill(controller, begin)
            for trial_id in list(controller.state.running):
                controller.tell(trial_id, begin + step, "interrupted")
        if is_killed:
            controller.note(None, f"it lasted until {begin + step}", begin + step)
        else:
            controller.close(begin + step, "finished", "")
    state = rebuilt_state(study, log)
    assert state.wall_s(state.last_at + seconds) == pytest.approx(12.0)
