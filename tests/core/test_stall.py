"""`stop_when="stalled"`: no further trial begins once the front has stopped growing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.searchers import History, Searcher
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.stall import Stall
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.forms.run_options import stalled_after
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.text import counted


class Falling:
    """Trial x has the error 1/2 ** min(x, best): it falls with every trial until trial `best`."""

    def __init__(self, best: float, max_resource: int = 1, nan_from: float = math.inf) -> None:
        self.best, self.max_resource, self.nan_from, self.metrics = best, max_resource, nan_from, ("e",)

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        x = config["x"]
        return {"e": math.nan if x >= self.nan_from else 0.5 ** min(x, self.best) + 1 / resource}

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        return float(resource)

    def usd_per_s(self, config: Mapping[str, Any], num_devices: int) -> float:
        return 0.0


class InOrder(Searcher):
    """Draw x is trial x."""

    name = "in_order"

    def propose(self, space: hwt.SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any] | None:
        return {"x": draw} if draw < len(space["x"].options) else None


def study(
    curves: Falling,
    stop_when: str | None,
    *,
    n: int = 100,
    max_trials: int | None = None,
    devices: int = 1,
    **parts: Any,
) -> tuple[StudyState, list[ev.Event]]:
    log: list[ev.Event] = []
    space = hwt.SearchSpace(x=hwt.Choice(list(range(n))))
    known = {"objectives": Objectives([Metric("e", "min")]), "scheduler": hwt.RunToEnd(curves.max_resource)}
    spec = StudySpec("s", space, **(known | parts), searcher=InOrder(), pool=hwt.Pool("cpu", devices))
    return simulate(spec, curves, Limits(max_trials, stop_when=stop_when), sink=log.extend), log


@pytest.mark.parametrize("window", [1, 5, 20])
@pytest.mark.parametrize("best", [0, 2])
def test_it_stops_after_so_many_trials_without_growth(window: int, best: int) -> None:
    """Trial `best` is complete when `best + 1` trials have begun, and is the last one that adds anything."""
    state, log = study(Falling(best), f"stalled:{window}")
    assert len(state.trials) == best + 1 + window
    assert isinstance(log[-1], ev.SessionClosed)
    assert f"less than 0.01 of it over the last {counted(window, 'trials')}" in log[-1].reason


def test_it_is_off_by_default_and_a_growing_front_never_stalls() -> None:
    assert len(study(Falling(0), None, n=40)[0].trials) == 40
    assert len(study(Falling(5), "stalled:5,0.01", n=5)[0].trials) == 5  # it grows with each of these
    assert len(study(Falling(0), "stalled:30", n=20)[0].trials) == 20  # too few trials to say so


def test_small_growth_counts_as_none() -> None:
    """The first errors are 2, 1.5, 1.25, ..., so that every trial adds half as much as the one before."""
    lengths = [len(study(Falling(math.inf), f"stalled:3,{share}", n=60)[0].trials) for share in (0.5, 0.1, 0.01, 1e-4)]
    assert lengths == sorted(lengths)
    assert lengths[0] < 8 < lengths[-1] < 30


def test_diverging_trials_do_not_grow_the_front() -> None:
    state, _ = study(Falling(1, nan_from=2), "stalled:6")
    assert len(state.trials) == 8
    assert len(study(Falling(1, nan_from=0), "stalled:6", n=30)[0].trials) == 30  # no front at all


def test_trials_that_have_begun_are_still_promoted_and_finished() -> None:
    state, _ = study(Falling(0, max_resource=9), "stalled:9", scheduler=hwt.ASHA(9, first_rung=1), devices=2)
    plain, _ = study(
        Falling(0, max_resource=9), None, scheduler=hwt.ASHA(9, first_rung=1), devices=2, max_trials=len(state.trials)
    )
    assert 9 < len(state.trials) < 60
    assert not state.running
    assert [trial.resource for trial in state.trials] == [trial.resource for trial in plain.trials]


def test_a_restart_decides_the_same() -> None:
    state, log = study(Falling(1), "stalled:4", objectives=Objectives([Metric("e", "min"), TrainSeconds()]))
    again = StudyState(state.spec)
    for event in log:
        if isinstance(event, ev.TrialCreated):
            assert not Stall(again).text()
        again.apply(event)
    assert Stall(again).text()


@pytest.mark.parametrize(
    ("text", "found"),
    [("stalled", (30, 0.01)), ("stalled:50", (50, 0.01)), ("stalled:5,0", (5, 0.0)), ("stalled:7,.5", (7, 0.5)),
     ("stalled:1,1e-3", (1, 1e-3))],
)  # fmt: skip
def test_the_numbers_of_the_limit(text: str, found: tuple[int, float]) -> None:
    assert Limits(stop_when=text).stop_when == text
    assert stalled_after(text) == found


@pytest.mark.parametrize(
    "wrong", ["stale", "stalled:0", "stalled:", "stalled:5,", "stalled:5,2", "stalled: 5", 5, True, ""]
)
def test_other_texts_are_refused(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match=r"`stop_when` is .*'stalled:TRIALS,SHARE'"):
        Limits(stop_when=wrong)
