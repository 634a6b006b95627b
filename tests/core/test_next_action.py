"""What free devices do next, compared with the order in which candidates are defined to have their turn."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from study_driver import Driver, snapshot, spec

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.decisions import Answer, Done, Resume, Start, Wait
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.next_action import NextAction
from lightning_hwtune.core.objectives import DeviceSeconds, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.ranking.knee import knee
from lightning_hwtune.core.record import Outcome, TrialState
from lightning_hwtune.core.schedulers import ASHA, PASHA, Hyperband, Scheduler, SuccessiveHalving
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.space import Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.simulation.curves import SyntheticCurves
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.text import counted

SCHEDULERS = [
    ASHA(max_epochs=9),
    ASHA(max_epochs=9, brackets=2),
    PASHA(max_epochs=9),
    Hyperband(max_epochs=9),
    SuccessiveHalving(max_epochs=9, bracket_size=5),
]


def study(*counts: int, scheduler: Scheduler | None = None, devices: int = 2, **kwargs: Any) -> StudySpec:
    params: dict[str, Any] = {"lr": Float(1e-4, 1e-1, log=True)}
    return spec(
        space=SearchSpace({**params, "devices": NumDevices(*counts)} if counts else params),
        objectives=Objectives([Metric("error", "min")]),
        scheduler=scheduler,
        devices=devices,
        **kwargs,
    )


def first_candidate(state: StudyState) -> tuple[str, int] | None:
    """Returns the rule and the trial of the first candidate, from the definition; any device count fits."""
    bound = {trial.trial_id for trial in state.trials if trial.state is TrialState.RUNNING or trial.state.is_final}
    if state.waiting:
        return "unfinished", min(state.waiting)
    if (due := state.race.promotable(exclude=bound)) is not None:
        return str(due.reason.rule), due.trial_id
    if len(state.trials) < (state.limits.max_trials or math.inf):
        return "new", len(state.trials)
    if (due := state.race.closing(exclude=bound)) is not None:
        return str(due.reason.rule), due.trial_id
    top, running = state.race.max_resource, [state.trials[i] for i in state.running]
    missing = state.limits.n_finishers - state.n_full - len(running)
    if missing <= 0 or any(trial.target < top for trial in running):
        return None
    able = [i for i, _ in state.race.finishers() if i not in bound and not state.trials[i].has_diverged]
    return ("finisher", able[0]) if able else None


def named(answer: Answer) -> tuple[str, int] | None:
    return (str(answer.reason.rule), answer.trial_id) if isinstance(answer, Start | Resume) else None


def filled(driver: Driver, check: Any) -> Answer:
    """Starts what is due, and checks each answer first; returns the last one."""
    while True:
        before = snapshot(driver.state)
        answer = driver.controller.ask(driver.now, driver.free)
        # a question changes nothing, and its answer depends only on the state
        assert NextAction(driver.state).ask(driver.now, driver.free) == answer
        assert snapshot(driver.state) == before
        check(answer)
        driver.controller.reserve(answer, driver.now)
        if not isinstance(answer, Start | Resume):
            return answer
        driver.begin(answer)


def drive(driver: Driver, seed: int, check: Any, failing: float = 0.1) -> None:
    moments = random.Random(seed)
    for _ in range(2000):
        if isinstance(filled(driver, check), Done):
            return
        if moments.random() < failing:
            outcome = moments.choice([Outcome.LOST, Outcome.INTERRUPTED, Outcome.ERROR])
            driver.end(moments.choice(sorted(driver.state.running)), outcome, "it failed")
        else:
            driver.step()
    raise AssertionError("the study does not end")


@settings(max_examples=15)
@given(st.sampled_from(SCHEDULERS), st.integers(1, 4), st.integers(1, 24), st.integers(0, 9))
def test_the_first_candidate_of_the_defined_order_is_the_answer(
    scheduler: Scheduler, devices: int, max_trials: int, seed: int
) -> None:
    driver = Driver(study(scheduler=scheduler, devices=devices, max_failures=99), Limits(max_trials, finishers=2))

    def check(answer: Answer) -> None:
        if driver.free < 1:
            assert isinstance(answer, Wait)
            assert answer.reason.rule == "no-free-devices"
            return
        assert named(answer) == first_candidate(driver.state)
        if named(answer) is None:
            assert isinstance(answer, Wait if driver.state.running else Done)

    drive(driver, seed, check)
    assert len(driver.state.trials) == max_trials


def expected_s(state: StudyState, answer: Start | Resume) -> float:
    """Returns how long a segment should train: at its own pace, or else at the slowest seen."""
    if isinstance(answer, Start):
        return answer.target * state.slowest_s or math.inf
    trial = state.trials[answer.trial_id]
    begun = trial.checkpoint.resource if trial.checkpoint else 0
    return (answer.target - begun) * (trial.last.train_s / trial.last.resource if trial.last else state.slowest_s)


@pytest.mark.parametrize("counts", [(1, 2), (1, 3), (1, 2, 4)])
def test_a_candidate_that_needs_more_devices_keeps_its_turn_and_only_short_work_overtakes_it(
    counts: tuple[int, ...],
) -> None:
    n_fillers = n_turns = 0

    def check(answer: Answer) -> None:
        nonlocal n_fillers, n_turns
        state, free, kept = driver.state, driver.free, driver.state.reserved
        if not isinstance(answer, Start | Resume):
            return
        assert 1 <= answer.num_devices <= free
        if (waiting := answer.reservation) is not None and waiting.allocation.devices > free:
            n_fillers += 1
            assert waiting.trial_id != answer.trial_id
            assert expected_s(state, answer) <= state.drain_s(waiting.allocation, free, driver.now)
        elif kept is not None and kept.trial_id is None:
            n_turns += 1
            assert isinstance(answer, Start)
            assert (answer.draw, answer.allocation) == (kept.draw, kept.allocation)
        elif (
            kept is not None
            and kept.rule == "promotion"
            and state.race.is_promotable(kept.trial_id, kept.promoted_from)
        ):
            n_turns += 1
            assert (answer.trial_id, answer.target, answer.allocation) == (kept.trial_id, kept.target, kept.allocation)

    for seed in range(6):
        driver = Driver(study(*counts, devices=counts[-1], seed=seed), Limits(max_trials=15))
        drive(driver, seed, check, failing=0.0)
        assert len(driver.state.trials) == 15
        assert not driver.state.skipped
    assert n_turns > 0
    assert n_fillers > 0


@pytest.mark.parametrize(
    ("limits", "kwargs", "rule", "text"),
    [
        (Limits(max_time_s=5.4), {}, "limit:max_time", "of 5 s are used"),
        (Limits(max_cost_usd=0.01), {}, "limit:max_cost", "of 0.01 USD are spent"),
        (Limits(max_trials=3), {}, "limit:max_trials", "3 trials"),
        (Limits(max_trials=30), {"max_failures": 1}, "max-failures", "1 trial failed, and `max_failures` is 1"),
        (Limits(max_trials=30), {"max_failures": 3}, "max-failures", "trials failed, and `max_failures` is 3"),
    ],
)
def test_a_limit_that_is_reached_starts_nothing_more(
    limits: Limits, kwargs: dict[str, Any], rule: str, text: str
) -> None:
    driver, fails = Driver(study(max_retries=0, **kwargs), limits), "max_failures" in kwargs
    seen = []
    drive(driver, 0, seen.append, failing=1.0 if fails else 0.0)
    assert isinstance(seen[-1], Done)
    assert seen[-1].reason.rule == rule
    assert text in seen[-1].reason.text
    assert not driver.state.running
    if rule == "limit:max_time":
        assert driver.now <= 5.4  # a report that would come later is not begun


def check_finisher(state: StudyState, event: ev.SegmentStarted) -> str:
    """Checks the reason of a finisher against the state in which it begins; returns its place in words."""
    bound = {trial.trial_id for trial in state.trials if trial.state is TrialState.RUNNING or trial.state.is_final}
    rung = [i for i, level in state.race.finishers() if level == event.promoted_from and i not in bound]
    what, _, rest = event.reason.partition(f" of the trials that rung {event.promoted_from} did not promote; ")
    alike = [i for i in rung if state.trials[i].num_devices == event.allocation.devices]
    if what == "first":
        assert event.trial_id == rung[0]
    elif what.startswith("first on "):
        assert event.trial_id == alike[0] != rung[0]
        assert what == f"first on {counted(event.allocation.devices, 'devices')}"
    else:
        assert what == "the best compromise"
        losses = [state.spec.objectives.loss(state.trials[i].measurements[-1].values) for i in rung]
        assert event.trial_id == rung[knee(losses)] != rung[0]
    n_first, limits = len(state.to_end), state.limits
    n = min(limits.n_finishers, (limits.max_trials or 1000) - n_first)
    more = {0: "", 1: " in addition to the first one"}.get(n_first, f" in addition to the first {n_first}")
    trials, are = ("1 trial", "is") if n == 1 else (f"{n} trials", "are")
    assert rest == f"until {trials}{more} {are} fully trained"  # as the table of rungs says
    return what


COUNTS = Objectives([Metric("error", "min"), TrainSeconds(), DeviceSeconds()])
TWO = Objectives([Metric("a", "min"), Metric("b", "min")])


class Opposed:
    """The losses x**3 and (1 - x)**3: the knee is in the middle."""

    metrics, max_resource = ("a", "b"), 9

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        return {"a": config["x"] ** 3, "b": (1 - config["x"]) ** 3}

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        return float(resource)


@pytest.mark.parametrize(
    ("n_trials", "objectives", "scheduler", "place"),
    [
        (5, COUNTS, ASHA(9, first_rung=1), "first on 2 devices"),
        (5, COUNTS, ASHA(9, first_rung=1), "first on 1 device"),
        (12, COUNTS, ASHA(9, first_rung=1), "first"),
        (9, COUNTS, ASHA(9), "first"),
        (5, TWO, ASHA(9, first_rung=3, within="objective:a"), "the best compromise"),
    ],
)
def test_the_reason_of_a_finisher_is_true(n_trials: int, objectives: Objectives, scheduler: ASHA, place: str) -> None:
    """Its place among the trials that its rung did not promote, and its number."""
    params = {"x": Float(0.0, 1.0), "y": Float(0.0, 1.0), "devices": NumDevices(1, 2)}
    space = SearchSpace(params if objectives is COUNTS else {"x": Float(0.0, 1.0)})
    tables = SyntheticCurves(space, 9) if objectives is COUNTS else Opposed()
    places = set[str]()
    for seed in range(8):
        pool = Pool("cpu", 2 if objectives is COUNTS else 1)
        study, log = StudySpec("study", space, objectives, scheduler, Random(), pool, seed=seed), list[ev.Event]()
        simulate(study, tables, Limits(max_trials=n_trials, finishers=4), sink=log.extend)
        state = StudyState(study)
        for event in log:
            if isinstance(event, ev.SegmentStarted) and event.rule == "finisher":
                places.add(check_finisher(state, event))
            state.apply(event)
    assert place in places


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_segments_run_than_the_limit_allows(most: int) -> None:
    driver, running = Driver(study(devices=4), Limits(max_trials=9, max_parallel=most)), set[int]()

    def check(answer: Answer) -> None:
        running.add(len(driver.state.running))
        assert (answer.reason.rule == "max-parallel") == (len(driver.state.running) == most)

    drive(driver, 0, check, failing=0.0)
    assert max(running) == most
