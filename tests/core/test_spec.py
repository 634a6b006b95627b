"""The stored form of a study: what comes back from the log, what a stored study may not change."""

from __future__ import annotations

import json
from typing import Any

import pytest
from study_driver import spec

from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import ParetoPrior, Random, Searcher
from lightning_hwtune.core.searchers.earlier import EarlierTask
from lightning_hwtune.core.space import Choice, Float, NumDevices, SearchSpace
from lightning_hwtune.core.spec import StudySpec

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
    assert stored(first).differences(kept) == {"scheduler.keep_front": (None, True)}
    assert stored(kept).differences(second) == {"scheduler.keep_front": (True, None)}


@pytest.mark.parametrize("searcher", [Random(), PRIOR])
def test_older_logs_say_that_a_prior_keeps_the_front_and_go_on(searcher: Searcher) -> None:
    older = stored(of_one_error(PRIOR), scheduler=of_one_error(PRIOR, keep_front=True).to_dict()["scheduler"])
    assert older.differences(of_one_error(searcher)) == {}
    assert older.differences(of_one_error(searcher, keep_front=True)) == {}
