"""Options that are lists, mappings and None: what is the same, what is handed out, and every searcher on them."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest

from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.record import Measurement, TrialRecord
from lightning_hwtune.core.searchers import TPE, Grid, History, ParetoPrior, Random, Searcher, Sobol
from lightning_hwtune.core.searchers.earlier_studies import EarlierTask
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace
from lightning_hwtune.errors import ArgumentError

OBJECTIVES = Objectives([Metric("loss", "min")])
ODD = [[64, 64], [64], {"name": "adam", "betas": [0.9, 0.99]}, None, True, 1, "1", [True], [1], ["1"], {}, []]


def test_options_of_every_kind_are_kept_as_they_are() -> None:
    choice = Choice(ODD)
    assert list(choice.options) == ODD
    assert [type(a) for a in choice.options] == [type(b) for b in ODD]
    for option in ODD:
        found = choice.check("x", option)
        assert (found, type(found)) == (option, type(option))
        assert choice.decode(choice.encode(option)) == option


@pytest.mark.parametrize(
    "pair",
    [
        [1, 1.0],
        [[1], [1.0]],
        [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
        [(1, 2), [1, 2]],
        [None, None],
        [{"a": [1]}, {"a": (1.0,)}],
        [0.0, -0.0],
    ],
    ids=repr,
)
def test_equal_options_are_refused(pair: list[Any]) -> None:
    with pytest.raises(ArgumentError, match="occurs twice"):
        Choice(pair)


@pytest.mark.parametrize(
    "pair",
    [
        [1, True],
        [0, False],
        [1, "1"],
        [[1], [True]],
        [{"a": 1}, {"a": True}],
        [None, "None"],
        [[], {}],
        ["a", ["a"]],
        [[1, 2], [2, 1]],
    ],
    ids=repr,
)
def test_different_options_stay_apart(pair: list[Any]) -> None:
    choice = Choice(pair)
    for option in pair:
        assert repr(choice.check("x", option)) == repr(option)
    assert Choice(pair[:1]) != Choice(pair[1:])


def test_one_and_its_float_are_one_option_but_not_one_space() -> None:
    assert Choice([1, 2]).check("x", 1.0) == 1
    assert Choice([[1, 2]]).check("x", (1.0, 2)) == [1, 2]
    assert Choice([1]) != Choice([1.0])
    assert Choice([[1]]) != Choice([[1.0]])
    assert Choice([{"a": [1]}]) == Choice([{"a": (1,)}])


@pytest.mark.parametrize(
    "value",
    [{1, 2}, object(), {1: 2}, [float("nan")], {"a": {"b": b"x"}}, [[object()]], 2**63, [10**400], 1j],
)
def test_what_json_cannot_hold_is_no_option(value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"Choice\.options"):
        Choice(["a", value])
    with pytest.raises(ArgumentError, match="`x`"):
        Choice(["a", [1]]).check("x", value)


def test_what_a_trial_does_to_its_options_stays_with_it() -> None:
    space = SearchSpace(layers=Choice([[64, 64]]), opt=Choice([{"betas": [0.9]}]))
    for config in (
        space.sample(np.random.default_rng(0)),
        space.validate({"layers": [64, 64], "opt": {"betas": [0.9]}}),
        space.decode([1.0, 1.0]),
        space.grid()[0],
    ):
        config["layers"].append(8)
        config["opt"]["betas"].clear()
        assert space.to_dict() == {
            "layers": {"type": "choice", "options": [[64, 64]]},
            "opt": {"type": "choice", "options": [{"betas": [0.9]}]},
        }


def test_a_space_comes_back_from_json_and_from_other_processes() -> None:
    space = SearchSpace(x=Choice(ODD), n=Choice([3, 1, 2]), m=Choice(["b", "a"], ordered=True))
    for other in (
        SearchSpace.from_dict(json.loads(json.dumps(space.to_dict()))),
        pickle.loads(pickle.dumps(space)),
        copy.deepcopy(space),
    ):
        assert (other, hash(other)) == (space, hash(space))


SEARCHERS: dict[str, Searcher] = {
    "random": Random(),
    "sobol": Sobol(),
    "grid": Grid(),
    "tpe": TPE(random=0.2, min_points=2),
    "tpe of a list": TPE(configs=[{"x": option, "lr": 0.5} for option in ODD]),
    "prior": ParetoPrior(
        [EarlierTask.of("t", [{"x": option} for option in ODD], np.arange(len(ODD), dtype=float)[:, None])],
        OBJECTIVES,
        uniform=0.1,
    ),
}


@pytest.mark.parametrize("name", SEARCHERS)
def test_every_searcher_draws_all_kinds_of_options(name: str) -> None:
    searcher, space = SEARCHERS[name], SearchSpace(x=Choice(ODD), lr=Float(0, 1))
    searcher.check(space)
    trials: list[TrialRecord] = []
    for draw in range(12):
        config = searcher.propose(space, draw, 0, History(trials, OBJECTIVES))
        assert config is not None
        assert json.dumps(space.validate(config)) == json.dumps(config)
        trial = TrialRecord(draw, config, 0, 0, 9, 0.0, draw=draw, decided={1: "pause"})
        trial.measurements = [Measurement(1, {"loss": (draw * 7 % 11) / 11}, 1.0, 1.0)]
        trials.append(trial)


@pytest.mark.parametrize("searcher", [Random(), Sobol(), Grid()], ids=lambda s: s.name)
def test_a_finite_space_of_odd_options_is_drawn_once_each(searcher: Searcher) -> None:
    space = SearchSpace(x=Choice(ODD))
    drawn = [searcher.propose(space, draw, 3, History([], OBJECTIVES)) for draw in range(len(ODD) + 1)]
    assert drawn[-1] is None
    assert sorted(json.dumps(config) for config in drawn[:-1] if config) == sorted(
        json.dumps({"x": option}) for option in ODD
    )


@pytest.mark.parametrize("options", [range(100_000), [f"option {i}" for i in range(100_000)]], ids=["numbers", "text"])
def test_a_hundred_thousand_options_can_be_searched(options: Any) -> None:
    choice = Choice(options)
    assert choice.check("x", options[77_777]) == options[77_777]
    assert len(repr(choice)) < 400
    with pytest.raises(ArgumentError) as caught:
        choice.check("x", "nowhere")
    assert len(str(caught.value)) < 1000
    for space in (SearchSpace(x=choice), SearchSpace(x=choice, lr=Float(0, 1))):
        trials: list[TrialRecord] = []
        for draw in range(8):
            config = TPE(random=0, min_points=2).propose(space, draw, 0, History(trials, OBJECTIVES))
            assert config is not None
            trial = TrialRecord(draw, config, 0, 0, 9, 0.0, draw=draw, decided={1: "pause"})
            trial.measurements = [Measurement(1, {"loss": draw / 8}, 1.0, 1.0)]
            trials.append(trial)


def test_a_prior_tells_many_options_apart_by_those_it_has_seen() -> None:
    pytest.importorskip("sklearn")
    names = [f"option {i}" for i in range(5000)]
    good, bad = names[:20], names[20:40]
    configs = [{"x": name, "lr": i * 7 % 40 / 40} for i, name in enumerate(good + bad)]
    prior = ParetoPrior(
        [EarlierTask.of("t", configs, np.array([[float(i >= 20)] for i in range(40)]))], OBJECTIVES, guarded=False
    )
    space = SearchSpace(x=Choice(names), lr=Float(0, 1))
    lesson = prior.lesson(space, OBJECTIVES)
    assert lesson.points.shape == (40, 42)  # the options seen, one column for all others, and lr
    seen, _ = lesson.expect(configs)
    assert seen[:20].mean() < seen[20:].mean()
    unseen, _ = lesson.expect([{"x": name, "lr": 0.5} for name in names[40:50]])
    assert np.ptp(unseen) == 0.0


def test_places_of_combinations_are_those_of_their_values() -> None:
    space = SearchSpace(batch_size=Choice([15, 16, 32]), n=Int(1, 4), d=NumDevices(1, 2))
    grid = space.grid()
    for index in range(len(grid)):
        config = grid[index]
        places = {name: np.array([list(space[name].levels()).index(config[name])]) for name in space}  # type: ignore[union-attr, call-arg]
        assert grid.places(places).tolist() == [index]
    broken = {"batch_size": np.array([0]), "n": np.array([0]), "d": np.array([1])}  # 15 over two devices
    assert grid.places(broken).tolist() == [-1]
