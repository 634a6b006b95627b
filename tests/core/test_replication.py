"""Replicates: trials that repeat finalists with other seeds, and that the search never sees."""

from __future__ import annotations

import json
from typing import Any

import pytest
from study_driver import Driver, rebuilt_state, snapshot, spec

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.columns import unpacked
from lightning_hwtune.core.decisions import Done, Rule, Start, Wait
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.facts_data import facts_from_data, facts_to_data
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.outlook import outlook
from lightning_hwtune.core.pace import SeenPaces
from lightning_hwtune.core.race_writes import RaceHistory, write_after, write_before
from lightning_hwtune.core.record import Outcome, TrialState
from lightning_hwtune.core.replication import Replication, replicates_of
from lightning_hwtune.core.schedulers import ASHA, Hyperband, MedianStopping
from lightning_hwtune.core.searchers import TPE
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.errors import ArgumentError


def searched(study: StudySpec, n_trials: int = 9) -> Driver:
    driver = Driver(study, Limits(max_trials=n_trials))
    driver.run()
    driver.close()
    return driver


def replicating(driver: Driver, trials: list[int], seeds: int, limits: Limits | None = None) -> None:
    """Opens a session that trains replicates, as after the death of the one before it."""
    found = Replication.checked(driver.state, trials, seeds)
    limits = limits or driver.state.search_limits
    driver.controller.open(limits, driver.now, "host", 1, "0", replication=found.to_dict())
    driver.due.clear()


def searching(driver: Driver, n_trials: int) -> None:
    driver.controller.open(Limits(max_trials=n_trials), driver.now, "host", 1, "0")


def decisions(driver: Driver) -> list[Any]:
    """What the search decided, without the numbers of trials and the clocks."""
    place = {trial.trial_id: number for number, trial in enumerate(driver.state.searched)}
    return [
        (
            type(event).__name__,
            place[event.trial_id],
            *(getattr(event, name, None) for name in ("config", "seed", "bracket", "resource", "verdict", "target")),
        )
        for event in driver.log
        if isinstance(event, ev.TrialCreated | ev.SegmentStarted | ev.Reported) and event.trial_id in place
    ]


def test_each_trial_is_trained_again_to_the_end_with_other_seeds() -> None:
    driver = searched(spec())
    finalists = sorted(driver.state.full)[:2]
    replicating(driver, finalists, 2)
    done = driver.run()
    assert done.reason.rule == Rule.REPLICATE
    assert "4 replicates of 2 trials" in done.reason.text
    state = driver.state
    assert sorted(trial.replicate_of or 0 for trial in state.replicates) == sorted([*finalists, *finalists])
    for trial in state.replicates:
        origin = state.trials[trial.replicate_of or 0]
        assert trial.state is TrialState.COMPLETED
        assert (trial.config, trial.num_devices) == (origin.config, origin.num_devices)
        assert trial.resource == 9
        assert trial.segment == 1
    assert len({trial.seed for trial in state.trials}) == len(state.trials)


@pytest.mark.parametrize(
    "study",
    [
        spec(),
        spec(searcher=TPE(), seed=3),
        spec(scheduler=Hyperband(max_epochs=9)),
        spec(scheduler=MedianStopping(max_epochs=9), objectives=Objectives([Metric("error", "min")])),
        spec(scheduler=ASHA(max_epochs=9, brackets=2, first_rung=1), seed=1),
    ],
    ids=["random", "tpe", "hyperband", "median stopping", "two brackets"],
)
def test_the_search_decides_as_without_replicates(study: StudySpec) -> None:
    plain, driver = searched(study), searched(study)
    replicating(driver, sorted(driver.state.full)[:1], 2)
    driver.run()
    for one in (plain, driver):
        searching(one, 14)
        assert one.run().reason.rule == Rule.LIMIT_MAX_TRIALS
    assert len(driver.state.searched) == 14
    assert len(driver.state.trials) == 16
    assert decisions(driver) == decisions(plain)


def test_a_front_a_rung_and_the_counts_have_no_replicate() -> None:
    driver = searched(spec())
    before = snapshot(driver.state)
    replicating(driver, sorted(driver.state.full), 1)
    driver.run()
    after = snapshot(driver.state)
    for key in ("finishers", "n_full", "n_failed", "next_draw", "waiting", "enqueued", "skipped"):
        assert after[key] == before[key], key
    assert after["trials"][: len(before["trials"])] == before["trials"]
    assert driver.state.slowest_s == max(segment.epoch_s for segment in driver.state.segments)
    assert all(not trial.decided for trial in driver.state.replicates)


def test_nothing_about_a_replicate_is_written_into_the_race() -> None:
    driver = searched(spec())
    replicating(driver, sorted(driver.state.full)[:1], 2)
    answer = driver.controller.ask(driver.now, driver.free)
    assert isinstance(answer, Start)
    driver.begin(answer)
    driver.end(answer.trial_id, Outcome.OUT_OF_MEMORY)
    driver.run()
    facts, history = StudyFacts(driver.controller.spec), RaceHistory()
    for event in driver.log:
        write_before(facts, event, history)
        facts.apply(event)
        write_after(facts, event, history)
    written = set(unpacked(history.to_data()["trials"]))
    assert written == {trial.trial_id for trial in facts.searched}


def test_a_killed_session_is_continued_by_an_equal_one() -> None:
    driver = searched(spec())
    finalists = sorted(driver.state.full)[:2]
    replicating(driver, finalists, 2)
    for _ in range(13):
        driver.fill()
        driver.step()
    assert driver.state.running
    seeds = [trial.seed for trial in driver.state.replicates]
    replicating(driver, finalists, 2)  # the process before it was killed
    assert not driver.state.running
    assert driver.run().reason.rule == Rule.REPLICATE
    assert [trial.seed for trial in driver.state.replicates][: len(seeds)] == seeds
    assert len(driver.state.replicates) == 4
    assert all(trial.state is TrialState.COMPLETED for trial in driver.state.replicates)
    assert snapshot(rebuilt_state(driver.controller.spec, driver.log)) == snapshot(driver.state)


def test_more_seeds_add_replicates_and_fewer_train_nothing() -> None:
    driver = searched(spec())
    best = min(driver.state.full)
    for seeds, n in ((2, 2), (3, 3), (1, 3)):
        replicating(driver, [best], seeds)
        driver.run()
        assert len(replicates_of(driver.state, best)) == n


def test_a_failed_replicate_is_final_and_no_failure_of_the_study() -> None:
    driver = searched(spec(max_failures=1, max_retries=0))
    best = min(driver.state.full)
    replicating(driver, [best], 2)
    answer = driver.controller.ask(driver.now, driver.free)
    assert isinstance(answer, Start)
    driver.begin(answer)
    driver.end(answer.trial_id, Outcome.ERROR, "ValueError: no")
    done = driver.run()
    assert "1 of them without success" in done.reason.text
    assert [trial.state for trial in driver.state.replicates] == [TrialState.FAILED, TrialState.COMPLETED]
    assert driver.state.n_failed == 0
    searching(driver, 10)
    assert driver.run().reason.rule == Rule.LIMIT_MAX_TRIALS


def test_a_search_leaves_open_replicates_alone() -> None:
    driver = searched(spec())
    best = min(driver.state.full)
    replicating(driver, [best], 1)
    driver.fill()
    driver.step()
    searching(driver, 10)
    driver.due.clear()
    driver.run()
    (replicate,) = driver.state.replicates
    assert replicate.state is TrialState.WAITING
    replicating(driver, [best], 1)
    driver.run()
    assert replicate.state is TrialState.COMPLETED


def test_a_replicate_that_cannot_end_in_time_does_not_begin() -> None:
    driver = searched(spec())
    best = min(driver.state.full)
    used_s = driver.state.wall_s(driver.now)
    for left_s, rule in ((3.0, Rule.LIMIT_MAX_TIME), (60.0, Rule.REPLICATE)):
        replicating(driver, [best], 1, Limits(max_trials=9, max_time_s=used_s + left_s))
        done = driver.run()
        assert done.reason.rule == rule
    assert len(driver.state.replicates) == 1


@pytest.mark.parametrize(
    ("left_s", "left_usd", "rule"), [(3, 9, Rule.LIMIT_MAX_TIME), (900, 0.003, Rule.LIMIT_MAX_COST)]
)
def test_of_two_limits_the_one_that_comes_first_is_named(left_s: float, left_usd: float, rule: Rule) -> None:
    driver = searched(spec())
    used_s, used_usd = driver.state.wall_s(driver.now), driver.state.billed_usd(driver.now)
    limits = Limits(max_trials=9, max_time_s=used_s + left_s, max_cost_usd=used_usd + left_usd)
    replicating(driver, [min(driver.state.full)], 1, limits)
    assert driver.run().reason.rule == rule


def test_the_facts_of_replicates_are_cached_and_forecast() -> None:
    driver = searched(spec())
    finalists = sorted(driver.state.full)[:2]
    replicating(driver, finalists, 2, Limits(max_trials=9, max_parallel=1))
    driver.fill()
    driver.step()
    data = json.loads(json.dumps(facts_to_data(driver.state)))
    facts = facts_from_data(driver.controller.spec, data)
    assert [trial.replicate_of for trial in facts.replicates] == finalists[:1]
    assert len(facts.searched) == 9
    assert facts.search_limits == driver.state.search_limits
    assert facts.is_replicating
    found = outlook(driver.state, driver.now, SeenPaces(driver.state))
    assert 3 * 9 * 0.5 < found.left_s < 4 * 9 * 1.5  # almost four trainings, one after the other
    answer = driver.controller.ask(driver.now, driver.free)
    assert isinstance(answer, Wait)
    assert not isinstance(answer, Done)


@pytest.mark.parametrize("trials", [[], [99], [-1]])
def test_a_trial_that_does_not_exist_is_refused(trials: list[int]) -> None:
    with pytest.raises(ArgumentError, match="fully trained trials of the search"):
        Replication.checked(searched(spec()).state, trials, 1)


def test_a_paused_trial_and_a_replicate_are_refused() -> None:
    driver = searched(spec())
    paused = next(trial.trial_id for trial in driver.state.trials if trial.state is TrialState.PAUSED)
    with pytest.raises(ArgumentError, match=rf"Trial {paused} is paused at \d of 9 epochs"):
        Replication.checked(driver.state, [paused], 1)
    best = min(driver.state.full)
    replicating(driver, [best, best], 1)
    driver.run()
    (replicate,) = driver.state.replicates
    with pytest.raises(ArgumentError, match=f"is a replicate of trial {best}: repeat that one"):
        Replication.checked(driver.state, [replicate.trial_id], 1)
