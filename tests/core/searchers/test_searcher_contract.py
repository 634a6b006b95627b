"""The rules that every searcher follows, on infinite and finite spaces, and over whole studies."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from study_driver import Driver, spec

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.schedulers import RunToEnd
from lightning_hwtune.core.searchers import (
    TPE,
    Grid,
    History,
    Listed,
    ParetoPrior,
    Random,
    Searcher,
    Sobol,
    searcher_from_settings,
)
from lightning_hwtune.core.searchers.earlier_studies import EarlierTask
from lightning_hwtune.core.searchers.new_configs import next_of
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.testing import check_searcher

OBJECTIVES = Objectives([Metric("error", "min"), TrainSeconds()])
INFINITE = SearchSpace(lr=Float(1e-4, 1e-1, log=True), batch_size=Choice([63, 64]), devices=NumDevices(1, 2))
FINITE = SearchSpace(width=Int(1, 7, log=True), kind=Choice(["a", "b", "c"]), devices=NumDevices(1, 2, 3))
CONDITIONAL = SearchSpace(
    lr=Float(1e-4, 1e-1, log=True, when={"optimizer": ["sgd", "rmsprop"]}),
    optimizer=Choice(["adam", "sgd", "rmsprop"]),
    nesterov=Choice([True, False], when={"optimizer": "sgd"}),
    batch_size=Choice([63, 64], when={"nesterov": True}),
    devices=NumDevices(1, 2),
)
FINITE_CONDITIONAL = SearchSpace(
    last=Choice(["x", "y"], when={"depth": 2}),
    width=Int(1, 4, log=True),
    kind=Choice(["a", "b", "c"]),
    depth=Int(1, 2, when={"kind": ["a", "c"]}),
    devices=NumDevices(1, 2),
)
LISTED = [INFINITE.decode([share, 0.75, 0.25]) for share in (0.1, 0.4, 0.5, 0.9)]

TASKS = [
    EarlierTask(
        name,
        {
            "lr": [10 ** (-4 + i / 4) for i in range(13)],
            "batch_size": [63, 64] * 6 + [32],
            "devices": [1 + i % 2 for i in range(13)],
            "width": [1 + i % 7 for i in range(13)],
        },
        [[abs(i - 6 - shift), float(i)] for i in range(13)],
    )
    for name, shift in (("first", 0), ("second", 1))
]
SEARCHERS = [
    Random(),
    Sobol(),
    Grid(points_per_float=3),
    TPE(min_points=2),
    TPE(random=0, candidates=5, min_points=1),
    ParetoPrior(TASKS, OBJECTIVES, candidates=32),
    ParetoPrior(TASKS[:1], OBJECTIVES, uniform=0, batch=1, guarded=False),
]
every_searcher = pytest.mark.parametrize("searcher", SEARCHERS, ids=repr)
every_space = pytest.mark.parametrize(
    "space",
    [INFINITE, FINITE, CONDITIONAL, FINITE_CONDITIONAL],
    ids=["infinite", "finite", "conditional", "finite conditional"],
)
finite_spaces = pytest.mark.parametrize("space", [FINITE, FINITE_CONDITIONAL], ids=["finite", "finite conditional"])


def history_of(space: SearchSpace, n: int, first: int = 0) -> History:
    """Trials that random draws would have made, the best where the first parameter is small."""
    trials = []
    for draw in range(n):
        config = Random().propose(space, draw, 3, History([], OBJECTIVES))
        assert config is not None
        trial = TrialRecord(first + draw, config, 0, 0, 3, 0.0)
        values = {"error": float(space.encode(config)[0]), "train_s": 1.0 + draw}
        trial.measurements, trial.decided, trial.draw = [Measurement(1, values, 1.0, 1.0)], {1: "pause"}, draw
        trials.append(trial)
    return History(trials, OBJECTIVES)


@pytest.mark.slow
@every_searcher
@pytest.mark.parametrize("space", [INFINITE, FINITE], ids=["infinite", "finite"])
def test_the_shipped_suite_holds(searcher: Searcher, space: SearchSpace) -> None:
    check_searcher(searcher, space, OBJECTIVES)


@pytest.mark.slow
@pytest.mark.parametrize("searcher", SEARCHERS[:6], ids=lambda s: s.name)
def test_the_shipped_suite_holds_with_conditions(searcher: Searcher) -> None:
    check_searcher(searcher, CONDITIONAL, OBJECTIVES)


@every_searcher
@every_space
class TestOneDraw:
    def test_depends_on_space_number_seed_and_history_alone(self, searcher: Searcher, space: SearchSpace) -> None:
        again = SearchSpace.from_dict(space.to_dict())
        for n_trials in (0, 9):
            history = history_of(space, n_trials)
            forward = [searcher.propose(space, draw, 7, history) for draw in range(12)]
            backward = [searcher.propose(again, draw, 7, history_of(space, n_trials)) for draw in reversed(range(12))]
            assert backward[::-1] == forward
            assert [searcher.propose(space, draw, 8, history) for draw in range(12)] != forward

    def test_is_a_configuration_that_the_batch_rule_allows(self, searcher: Searcher, space: SearchSpace) -> None:
        searcher.check(space)
        searcher.check_objectives(OBJECTIVES)
        for draw in range(10):
            config = searcher.propose(space, draw, 0, history_of(space, 8))
            assert config is None or json.dumps(space.validate(config)) == json.dumps(config)

    def test_changes_nothing(self, searcher: Searcher, space: SearchSpace) -> None:
        history, settings = history_of(space, 8), searcher.settings()
        before = repr(history.trials)
        config = searcher.propose(space, 3, 0, history)
        assert config is not None
        config.clear()
        assert searcher.propose(space, 3, 0, history)
        assert repr(history.trials) == before
        assert searcher.settings() == settings

    def test_is_the_same_for_the_searcher_that_its_settings_rebuild(
        self, searcher: Searcher, space: SearchSpace
    ) -> None:
        again = searcher_from_settings(json.loads(json.dumps(searcher.settings())))
        assert again == searcher
        assert again.settings() == searcher.settings()
        for draw in range(6):
            assert again.propose(space, draw, 0, history_of(space, 8)) == searcher.propose(
                space, draw, 0, history_of(space, 8)
            )

    def test_bears_a_history_of_diverged_trials(self, searcher: Searcher, space: SearchSpace) -> None:
        history = history_of(space, 8)
        for trial in history.trials:
            values = {"error": float("nan"), "train_s": 1.0}
            trial.measurements = [Measurement(1, values, 1.0, 1.0)]
        assert searcher.propose(space, 8, 0, history)


@every_searcher
@finite_spaces
def test_a_finite_space_is_gone_through_once_and_then_ends(searcher: Searcher, space: SearchSpace) -> None:
    history, seen = History([], OBJECTIVES), []
    for draw in range((space.size or 0) + 2):
        config = searcher.propose(space, draw, 5, history)
        if config is None:
            break
        seen.append(json.dumps(config))
        trial = TrialRecord(draw, config, 0, 0, 1, 0.0)
        values = {"error": config["width"] / 7, "train_s": 1.0}
        trial.measurements, trial.decided, trial.draw = [Measurement(1, values, 1.0, 1.0)], {1: "pause"}, draw
        history = History([*history.trials, trial], OBJECTIVES)
    assert sorted(seen) == sorted(json.dumps(config) for config in space.grid())


@every_searcher
def test_no_configuration_of_a_conditional_space_is_drawn_twice(searcher: Searcher) -> None:
    history, seen = History([], OBJECTIVES), []
    for draw in range(16):  # adam alone has two configurations, one for each device count
        config = searcher.propose(CONDITIONAL, draw, 1, history)
        assert config is not None
        seen.append(json.dumps(config))
        trial = TrialRecord(draw, config, 0, 0, 1, 0.0)
        trial.measurements = [Measurement(1, {"error": config.get("lr", 0.05), "train_s": 1.0}, 1.0, 1.0)]
        trial.decided, trial.draw = {1: "pause"}, draw
        history = History([*history.trials, trial], OBJECTIVES)
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("searcher", SEARCHERS[:4], ids=lambda s: s.name)
def test_an_enqueued_configuration_of_a_conditional_space_is_not_drawn(searcher: Searcher) -> None:
    enqueued = [{"optimizer": "adam", "devices": count} for count in (1, 2)]
    trials = [TrialRecord(i, config, 0, 0, 1, 0.0) for i, config in enumerate(enqueued)]
    for draw in range(8):
        config = searcher.propose(CONDITIONAL, draw, 2, History(trials, OBJECTIVES))
        assert config is not None
        assert config["optimizer"] != "adam"
        trials.append(TrialRecord(len(trials), config, 0, 0, 1, 0.0, draw=draw))


@every_searcher
@pytest.mark.parametrize("after", [2, 6, 9])
def test_a_killed_and_replayed_study_draws_as_the_unkilled_one(searcher: Searcher, after: int) -> None:
    space = SearchSpace(lr=Float(1e-4, 1e-1, log=True), batch_size=Choice([32, 64]))
    study = spec(searcher=searcher, space=space, objectives=OBJECTIVES, devices=1)
    unkilled = Driver(study, Limits(max_trials=14))
    unkilled.run()
    ends = [place for place, event in enumerate(unkilled.log) if isinstance(event, ev.SegmentEnded)]
    resumed = Driver(study, Limits(max_trials=14), log=list(unkilled.log[: ends[after] + 1]))
    resumed.run()
    assert [trial.config for trial in resumed.state.trials] == [trial.config for trial in unkilled.state.trials]
    assert [trial.draw for trial in resumed.state.trials] == list(range(len(resumed.state.trials)))


@pytest.mark.parametrize("searcher", [*SEARCHERS, Listed(list(FINITE.grid()))], ids=lambda s: s.name)
def test_what_was_enqueued_is_not_drawn_again(searcher: Searcher) -> None:
    study = spec(searcher=searcher, space=FINITE, objectives=OBJECTIVES, scheduler=RunToEnd(2), devices=3)
    log: list[ev.Event] = []
    for max_trials, n_enqueued in ((20, 3), (40, 3), (None, 0)):
        driver = Driver(study, Limits(max_trials=max_trials), curve=lambda config, _: config["width"], log=log)
        tried = [trial.config for trial in driver.state.trials]
        new = [config for config in FINITE.grid() if config not in tried]
        for config in new[:: max(len(new) // 3, 1)][:n_enqueued]:
            driver.controller.enqueue(config, driver.now)
        driver.run()
    trials = driver.state.trials
    assert sum(trial.draw is None for trial in trials) == 6
    draws = [trial.draw for trial in trials if trial.draw is not None]
    assert draws != sorted(draws), "no draw was overtaken"
    assert sorted(json.dumps(t.config) for t in trials) == sorted(json.dumps(config) for config in FINITE.grid())


def test_a_draw_that_was_overtaken_keeps_its_place() -> None:
    listed = [{"x": x} for x in range(8)]

    def history(*trials: tuple[int, int | None]) -> History:
        records = [TrialRecord(i, listed[x], 0, 0, 1, 0.0, draw=draw) for i, (x, draw) in enumerate(trials)]
        return History(records, OBJECTIVES)

    def following(known: History, *draws: int) -> list[int | None]:
        found = [next_of(listed, range(8), draw, known) for draw in draws]
        return [None if config is None else config["x"] for config in found]

    assert following(history(), 0, 7, 8) == [0, 7, None]
    assert following(history((1, None)), 0, 1, 6, 7) == [0, 2, 7, None]
    assert following(history((0, 0), (1, None)), 1, 2) == [2, 3]
    assert following(history((1, None), (2, 1)), 0, 2) == [0, 3]  # draw 0 is still to come
    assert following(history((0, 0), (0, None)), 1, 2) == [1, 2]


def test_a_list_is_gone_through_once() -> None:
    for searcher in (Listed(LISTED), TPE(configs=LISTED, min_points=1), ParetoPrior(TASKS, OBJECTIVES, configs=LISTED)):
        history, drawn = History([], OBJECTIVES), []
        while (config := searcher.propose(INFINITE, len(drawn), 0, history)) is not None:
            drawn.append(config)
            trials = [TrialRecord(i, c, 0, 0, 1, 0.0, draw=i) for i, c in enumerate(drawn)]
            history = History(trials, OBJECTIVES)
        assert sorted(map(json.dumps, drawn)) == sorted(map(json.dumps, LISTED))


def test_the_log_tells_which_draw_made_a_trial() -> None:
    driver = Driver(spec(), Limits(max_trials=3))
    driver.controller.enqueue({"lr": 0.01, "batch_size": 32, "devices": 1}, 0.0)
    driver.run()
    assert [trial.draw for trial in driver.state.trials] == [None, 0, 1]
