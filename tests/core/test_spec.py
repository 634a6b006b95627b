"""The stored form of a study: what comes back from the log, what a stored study may not change."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from study_driver import Driver, spec

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import ASHA, MedianStopping, Race, RunToEnd
from lightning_hwtune.core.schedulers.ladder import Ladder
from lightning_hwtune.core.searchers import ParetoPrior, Random, Searcher
from lightning_hwtune.core.searchers.earlier_studies import EarlierTask
from lightning_hwtune.core.space import Choice, Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.errors import ArgumentError

SPACE = SearchSpace(x=Float(0, 1), bs=Choice([3, 4]), batch_size=Choice([8, 9]), devices=NumDevices(1, 2))


def stored(study: StudySpec, **changes: Any) -> StudySpec:
    """Returns what the log gives back, with some of its keys changed."""
    return StudySpec.from_dict(json.loads(json.dumps(study.to_dict() | changes)))


@pytest.mark.parametrize("space", [SPACE, SPACE.constrained("bs"), SPACE.constrained(None)])
@pytest.mark.parametrize("batch", ["global", "per_device"])
def test_the_rule_of_batch_sizes_comes_back_from_the_log(space: SearchSpace, batch: str) -> None:
    study = spec(space=space, batch=batch)
    assert stored(study).space == space
    assert stored(study).differences(study) == {}


@pytest.mark.parametrize(("batch", "space"), [("global", SPACE), ("per_device", SPACE.constrained(None))])
def test_logs_without_the_rule_tell_of_it_by_batch(batch: str, space: SearchSpace) -> None:
    form = spec(space=SPACE, batch=batch).to_dict()
    del form["global_batch_sizes"]
    assert StudySpec.from_dict(form).space == space


PRIOR = ParetoPrior([EarlierTask("first", {"x": [0.1, 0.6]}, [[1.0], [2.0]])], Objectives([Metric("error", "min")]))


def of_one_error(searcher: Searcher, *, keep_front: bool = False) -> StudySpec:
    scheduler = ASHA(9, type="stopping", keep_front=keep_front)
    return spec(space=SPACE, objectives=Objectives([Metric("error", "min")]), scheduler=scheduler, searcher=searcher)


def test_another_searcher_is_no_other_scheduler() -> None:
    first, second = of_one_error(Random()), of_one_error(PRIOR)
    assert stored(first).differences(second) == stored(second).differences(first) == {}
    kept = of_one_error(Random(), keep_front=True)
    assert stored(first).differences(kept) == {"scheduler.keep_front": (False, True)}
    assert stored(kept).differences(second) == {"scheduler.keep_front": (True, False)}


@pytest.mark.parametrize("searcher", [Random(), PRIOR])
def test_older_logs_say_that_a_prior_keeps_the_front_and_go_on(searcher: Searcher) -> None:
    older = stored(of_one_error(PRIOR), scheduler=of_one_error(PRIOR, keep_front=True).to_dict()["scheduler"])
    assert older.differences(of_one_error(searcher)) == {}
    assert older.differences(of_one_error(searcher, keep_front=True)) == {}


@pytest.mark.parametrize(
    ("n_objectives", "max_trials", "eta", "finishers"),
    [
        (1, 1, 3, 1),
        (1, 60, 3, 1),
        (1, None, 3, 1),
        (2, 1, 3, 1),
        (2, 3, 3, 1),
        (2, 4, 3, 2),  # 4 / 3, rounded up
        (2, 5, 2, 3),
        (3, 8, 3, 3),
        (3, 60, 3, 4),
        (2, 10, 10, 1),
        (2, None, 3, 4),
    ],
)
def test_automatic_finishers_follow_the_front_and_the_trials(
    n_objectives: int, max_trials: int | None, eta: int, finishers: int
) -> None:
    objectives = Objectives([Metric("error", "min"), TrainSeconds(), Metric("loss", "min")][:n_objectives])
    study = spec(objectives=objectives, scheduler=ASHA(max_epochs=9, eta=eta))
    assert Limits(max_trials).resolved(study).finishers == finishers
    assert Limits(max_trials, finishers=7).resolved(study).finishers == 7


@pytest.mark.parametrize(
    ("price", "given", "is_timed"),
    [
        (None, {"max_cost_usd": 5.0}, False),
        (0.0, {"max_cost_usd": 5.0}, False),
        (1.0, {"max_cost_usd": 5.0}, True),
        (None, {"max_cost_usd": 5.0, "max_time_s": 60.0}, True),
        (None, {"max_cost_usd": 5.0, "finishers": 2}, False),
        (1.0, {}, False),
    ],
)
def test_a_limit_of_money_is_none_where_nothing_costs_any(
    price: float | None, given: dict[str, Any], is_timed: bool
) -> None:
    objectives, pool = Objectives([Metric("error", "min")]), Pool("cpu", 2, usd_per_device_hour=price)
    study = dataclasses.replace(spec(), objectives=objectives, pool=pool)
    found = Limits(9, **given).resolved(study)
    assert found.is_timed == is_timed
    assert isinstance(found.n_finishers, int)


def test_a_scheduler_without_eta_has_automatic_finishers_too() -> None:
    study = spec(scheduler=MedianStopping(max_epochs=9))
    assert Limits(8).resolved(study).finishers == 3


def test_the_number_of_automatic_finishers_is_in_the_log_and_counts_what_the_session_says() -> None:
    driver = Driver(spec(objectives=Objectives([Metric("error", "min")])), Limits(max_trials=6))
    driver.run()
    opened = [event for event in driver.log if isinstance(event, ev.SessionOpened)]
    assert opened[-1].limits["finishers"] == 1
    assert driver.state.n_full == 1


@pytest.mark.parametrize("value", [-1, True, 1.5, "many", None])
def test_finishers_are_a_number_or_auto(value: object) -> None:
    with pytest.raises(ArgumentError, match="finishers"):
        Limits(finishers=value)  # type: ignore[arg-type]


class OtherLadder(RunToEnd):
    """Its race judges at levels that the scheduler does not list."""

    ladder_of_race = Ladder("epochs", (2, 9))

    def start(self, objectives: Objectives) -> Race:
        race = super().start(objectives)
        race.ladder = self.ladder_of_race
        return race


class OtherUnit(OtherLadder):
    ladder_of_race = Ladder("steps", (9,))


class OtherEnd(OtherLadder):
    ladder_of_race = Ladder("epochs", (27,))


@pytest.mark.parametrize("scheduler", [OtherLadder, OtherUnit, OtherEnd])
def test_a_race_with_another_ladder_than_its_scheduler_is_refused(scheduler: type[OtherLadder]) -> None:
    with pytest.raises(ArgumentError, match=r"`scheduler`.*own ladder.*Pass `self.ladder` to the race"):
        spec(space=SPACE, scheduler=scheduler(9))
    assert spec(space=SPACE, scheduler=RunToEnd(9)).race().ladder == RunToEnd(9).ladder
