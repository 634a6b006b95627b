"""Parameters with conditions: which exist in a configuration, what is refused, what inactive ones change."""

from __future__ import annotations

import itertools
import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import History, Searcher
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, Parameter, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.streams import stream
from lightning_hwtune.errors import ArgumentError, UnknownArgumentError
from lightning_hwtune.testing.study_driver import Driver

OPTIMIZERS = Choice(["adam", "sgd", "rmsprop"])
NESTED = SearchSpace(
    nesterov=Choice([True, False], when={"momentum": [0.5, 0.9]}),
    lr=Int(1, 3),
    optimizer=OPTIMIZERS,
    momentum=Choice([0.0, 0.5, 0.9], when={"optimizer": ["sgd", "rmsprop"]}),
)


@st.composite
def conditional_spaces(draw: st.DrawFn, uncountable: bool = True) -> SearchSpace:
    """Spaces in which a parameter may depend on up to two earlier ones, in any order of declaration."""
    params: dict[str, Parameter] = {}
    for index in range(draw(st.integers(2, 6))):
        parents = [name for name, parameter in params.items() if not isinstance(parameter, Float)]
        when: dict[str, Any] = {}
        for parent in draw(st.lists(st.sampled_from(parents), max_size=2, unique=True)) if parents else ():
            levels = list(params[parent].levels())  # type: ignore[union-attr, call-arg]
            when[parent] = draw(st.lists(st.sampled_from(levels), min_size=1, max_size=3, unique_by=repr))
        kinds = [
            Int(0, draw(st.integers(1, 3)), when=when or None),
            Choice(["a", "b", None, ["c"]][: draw(st.integers(1, 4))], when=when or None),
            Choice([8, 12, 27], when=when or None),
        ]
        if uncountable:
            kinds.append(Float(0.5, 2.0, log=draw(st.booleans()), when=when or None))  # type: ignore[arg-type]
        params[f"p{index}"] = draw(st.sampled_from(kinds))
        try:
            SearchSpace(params)
        except ArgumentError:  # a condition that can never hold
            del params[f"p{index}"]
    if draw(st.booleans()):
        parent = next((name for name, parameter in params.items() if not isinstance(parameter, Float)), None)
        when = {} if parent is None else {parent: list(params[parent].levels())[:1]}  # type: ignore[union-attr, call-arg]
        params |= {"devices": NumDevices(1, 2, 3), "batch_size": Choice([4, 6, 9], when=when or None)}
    return SearchSpace({name: params[name] for name in draw(st.permutations(list(params)))})


def holds(space: SearchSpace, name: str, values: dict[str, Any]) -> bool:
    """Whether a parameter exists, by the definition: its parents exist and have one of the values."""
    when = space[name].when or {}
    return all(holds(space, parent, values) and values[parent] in when[parent] for parent in when)


def all_values(space: SearchSpace) -> list[dict[str, Any]]:
    levels = [list(parameter.levels()) for parameter in space.values()]  # type: ignore[union-attr, call-arg]
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*levels)]


# ---- properties


@given(conditional_spaces(), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_a_configuration_has_exactly_the_parameters_whose_conditions_hold(space: SearchSpace, seed: int) -> None:
    shares = np.random.default_rng(seed).random(len(space)).tolist()
    drawn = {name: space[name].quantile(share) for name, share in zip(space, shares, strict=True)}
    config = space.at(shares)
    assert config == {name: value for name, value in drawn.items() if holds(space, name, drawn)}
    assert list(config) == list(space.active(config))
    assert set(space.absent(config)) == set(space) - set(config)


@given(conditional_spaces(), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_what_an_inactive_parameter_draws_changes_nothing(space: SearchSpace, seed: int) -> None:
    space = space.constrained(None)  # otherwise not every configuration can be encoded
    rng = np.random.default_rng(seed)
    shares = rng.random(len(space))
    config = space.at(shares.tolist())
    is_inactive = np.array([name not in config for name in space])
    other = np.where(is_inactive, rng.random(len(space)), shares)
    assert space.at(other.tolist()) == config
    cells = space.encode(config)
    widths = [space[name].n_dims for name in space]
    noise = np.where(np.repeat(is_inactive, widths), rng.random(space.n_dims), cells)
    assert space.decode(noise) == space.decode(cells)


@given(conditional_spaces(), st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_configurations_are_valid_and_survive_the_cube_and_json(space: SearchSpace, seed: int) -> None:
    config = space.sample(np.random.default_rng(seed))
    assert space.validate(config) == config
    again = space.decode(space.encode(config))
    assert list(again) == list(config)
    assert all(again[name] == pytest.approx(config[name]) for name in config if isinstance(space[name], Float))
    assert all(again[name] == config[name] for name in config if not isinstance(space[name], Float))
    assert json.loads(json.dumps(config)) == config


@given(conditional_spaces())
@settings(max_examples=60, deadline=None)
def test_the_study_file_form_and_a_copy_are_the_same_space(space: SearchSpace) -> None:
    for again in (SearchSpace.from_dict(json.loads(json.dumps(space.to_dict()))), pickle.loads(pickle.dumps(space))):
        assert again == space
        assert hash(again) == hash(space)
        assert space.differences(again) == {}
        shares = [0.3] * len(space)
        assert again.at(shares) == space.at(shares)
    assert eval(repr(space)) == space


@given(conditional_spaces(uncountable=False))
@settings(max_examples=80, deadline=None)
def test_the_grid_has_every_configuration_once(space: SearchSpace) -> None:
    kept = [space.kept(values) for values in all_values(space)]
    expected = {json.dumps(config) for config in kept if space.allows(config)}
    listed = [json.dumps(config) for config in space.grid()]
    assert sorted(listed) == sorted(expected)
    assert space.size == len(expected)
    assert space.n_combinations == len({json.dumps(config) for config in kept})


@given(conditional_spaces(uncountable=False))
@settings(max_examples=60, deadline=None)
def test_probabilities_and_the_rejected_share_are_exact(space: SearchSpace) -> None:
    levels = {name: list(parameter.levels()) for name, parameter in space.items()}  # type: ignore[union-attr, call-arg]
    mass = 1 / np.prod([len(values) for values in levels.values()])  # no log range here: all values equally likely
    shares: dict[str, float] = {}
    for values in all_values(space):
        config = space.kept(values)
        if space.allows(config):
            shares[json.dumps(config)] = shares.get(json.dumps(config), 0.0) + mass
    assert space.rejected_share == pytest.approx(1 - sum(shares.values()))
    grid = space.grid()
    weights = space.probabilities(grid)
    expected = np.array([shares[json.dumps(config)] for config in grid])
    assert weights / weights.sum() == pytest.approx(expected / expected.sum())


def test_draws_have_the_probabilities_of_the_grid() -> None:
    grid, rng = NESTED.grid(), np.random.default_rng(0)
    weights = NESTED.probabilities(grid)
    draws = [NESTED.sample(rng) for _ in range(4000)]
    observed = [draws.count(config) for config in grid]
    assert stats.chisquare(observed, 4000 * weights / weights.sum()).pvalue > 0.01


# ---- values of conditions


@pytest.mark.parametrize(
    ("parent", "when", "active"),
    [
        (OPTIMIZERS, "sgd", ["sgd"]),
        (OPTIMIZERS, ["sgd", "adam"], ["adam", "sgd"]),
        (OPTIMIZERS, ("sgd",), ["sgd"]),
        (OPTIMIZERS, np.array(["sgd", "adam"]), ["adam", "sgd"]),
        (Choice([True, False]), True, [True]),
        (Choice([1, True], ordered=False), 1, [1]),
        (Choice([None, "cosine"]), None, [None]),
        (Choice([None, "cosine"]), [None, "cosine"], [None, "cosine"]),
        (Choice([[1, 2], [3]]), [[1, 2]], [[1, 2]]),
        (Choice([{"name": "sgd"}, {"name": "adam"}]), {"name": "sgd"}, [{"name": "sgd"}]),
        (Choice([0.1, 0.5]), 0.5, [0.5]),
        (Int(1, 4), [2, 3.0], [2, 3]),
        (Int(0, 100, step=50), np.int64(50), [50]),
    ],
)
def test_a_condition_has_one_value_or_a_list(parent: Any, when: Any, active: list[Any]) -> None:
    space = SearchSpace(parent=parent, child=Int(1, 2, when={"parent": when}))
    for value in parent.levels():
        config = {"parent": value} | (
            {"child": 1} if any(value == v and type(value) is type(v) for v in active) else {}
        )
        assert space.validate(config) == config
    again = SearchSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert again == space


def test_equal_conditions_make_equal_spaces() -> None:
    one = Float(0, 1, when={"a": ["x", "y"], "b": 1})
    assert one == Float(0, 1, when={"b": [1.0], "a": ["y", "x"]})
    assert hash(one) == hash(Float(0, 1, when={"b": [1.0], "a": ["y", "x"]}))
    assert one != Float(0, 1, when={"a": "x", "b": 1})
    assert one != Float(0, 1)
    assert Float(0, 1, when=None) == Float(0, 1)
    base = {"optimizer": OPTIMIZERS, "x": Float(0, 1)}
    conditional = SearchSpace({**base, "x": Float(0, 1, when={"optimizer": "sgd"})})
    assert list(SearchSpace(base).differences(conditional)) == ["x"]


def test_an_inactive_coordinate_is_neutral() -> None:
    space = SearchSpace(
        optimizer=OPTIMIZERS,
        momentum=Float(0.5, 0.99, when={"optimizer": "sgd"}),
        kind=Choice(["a", "b"], when={"optimizer": "sgd"}),
        steps=Choice([1, 2, 4], when={"optimizer": "sgd"}),
    )
    assert space.encode({"optimizer": "adam"}).tolist() == [1, 0, 0, 0.5, 0.5, 0.5, 0.5]


# ---- what is refused

FORMS: list[tuple[dict[str, Parameter], str, str]] = [
    ({"a": Int(0, 1, when={"a": 1})}, "a.when", "a depends on itself"),
    ({"a": Int(0, 1, when={"b": 1}), "b": Int(0, 1, when={"a": 1})}, "a.when", "a depends on b, and b depends on a"),
    (
        {"x": Int(0, 1, when={"a": 1}), "a": Int(0, 1, when={"b": 1}), "b": Int(0, 1, when={"a": 0})},
        "a.when",
        "a depends on b, and b depends on a",
    ),
    ({"a": Float(0, 1, when={"optimiser": "sgd"}), "optimizer": OPTIMIZERS}, "a.when", "did you mean 'optimizer'"),
    ({"a": Float(0, 1, when={"b": 1})}, "a.when", "there are none"),
    ({"a": Float(0, 1, when={"optimizer": "sdg"}), "optimizer": OPTIMIZERS}, "a.when", "did you mean 'sgd'"),
    ({"a": Float(0, 1, when={"optimizer": ["sgd", 1]}), "optimizer": OPTIMIZERS}, "a.when", "one of"),
    ({"a": Float(0, 1, when={"b": 5}), "b": Int(1, 4)}, "a.when", "an integer from 1 to 4"),
    ({"a": Float(0, 1, when={"b": 3}), "b": Int(2, 8, step=2)}, "a.when", "in steps of 2"),
    ({"a": Float(0, 1, when={"b": True}), "b": Int(0, 1)}, "a.when", "an integer from 0 to 1"),
    ({"a": Float(0, 1, when={"b": 0.5}), "b": Float(0, 1)}, "a.when", "almost never has exactly"),
    ({"a": Float(0, 1, when={"d": 2}), "d": NumDevices(1, 2)}, "a.when", "may change while a trial trains"),
    ({"a": Float(0, 1, when={"b": 1}), "b": Int(1, 10**6)}, "a.when", "at most 100000 values"),
    (
        {"a": Int(0, 1, when={"b": 1, "c": 1}), "b": Int(0, 1, when={"c": 0}), "c": Int(0, 1)},
        "a.when",
        "a never exists",
    ),
]


@pytest.mark.parametrize(("params", "argument", "text"), FORMS, ids=[text for *_, text in FORMS])
def test_a_condition_that_cannot_hold_is_refused_by_the_space(
    params: dict[str, Parameter], argument: str, text: str
) -> None:
    with pytest.raises(ArgumentError, match=text) as caught:
        SearchSpace(params)
    assert caught.value.argument == argument
    with pytest.raises(ArgumentError, match=text):
        SearchSpace.from_dict({name: parameter.to_dict() for name, parameter in params.items()})


@pytest.mark.parametrize(
    "when", [{}, [], "optimizer", {"a": []}, {1: 2}, {"a": [1, 1.0]}, {"a": {1, 2}}, {"a": object()}]
)
@pytest.mark.parametrize(
    "make", [lambda w: Float(0, 1, when=w), lambda w: Int(0, 1, when=w), lambda w: Choice([1], when=w)]
)
def test_a_condition_of_another_form_is_refused_by_the_parameter(make: Any, when: Any) -> None:
    with pytest.raises(ArgumentError, match="when"):
        make(when)


def test_a_number_of_devices_has_no_condition() -> None:
    reason = "every trial trains on some number of devices"
    with pytest.raises(ArgumentError, match=reason):
        NumDevices(1, 2, when={"a": 1})  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=reason):
        SearchSpace.from_dict({"devices": {"type": "num_devices", "counts": [1, 2], "when": {"a": 1}}})


def test_another_tools_names_of_conditions_have_the_name_here() -> None:
    with pytest.raises(UnknownArgumentError, match="use `when`"):
        Float(0, 1, parent_name="optimizer")  # type: ignore[call-arg]


def test_too_many_cases_are_refused_and_independent_ones_are_not() -> None:
    switches: dict[str, Parameter] = {f"use_{i}": Choice([True, False]) for i in range(20)}
    children: dict[str, Parameter] = {f"x_{i}": Int(1, 3, when={f"use_{i}": True}) for i in range(20)}
    assert SearchSpace({**switches, **children}).size == 4**20
    with pytest.raises(ArgumentError, match="at most 20000 cases"):
        SearchSpace({**switches, "x": Int(1, 3, when=dict.fromkeys(switches, True))})


@pytest.mark.parametrize(
    ("config", "argument", "text"),
    [
        ({"lr": 1, "optimizer": "adam", "momentum": 0.5}, "momentum", "here optimizer is 'adam'. Leave it out"),
        ({"lr": 1, "optimizer": "adam", "momentum": 0.5, "nesterov": True}, "nesterov", "momentum exists only when"),
        ({"lr": 1, "optimizer": "adam", "nesterov": True}, "nesterov", "here optimizer is 'adam'. Leave it out"),
        ({"lr": 1, "optimizer": "sgd"}, "config", "missing: momentum, which exists when optimizer is one of"),
        ({"lr": 1, "optimizer": "sgd", "momentum": 0.5}, "config", "missing: nesterov"),
        ({"lr": 1, "optimizer": "sgd", "momentum": 0.0, "nesterov": True}, "nesterov", "here momentum is 0.0"),
        ({"lr": 1, "optimizer": "sgd", "momentum": None, "nesterov": True}, "momentum", "one of"),
        ({"lr": 1, "momentum": 0.5}, "config", "missing: optimizer"),
    ],
)
def test_validate_says_which_parameter_should_be_there_or_not(config: dict[str, Any], argument: str, text: str) -> None:
    with pytest.raises(ArgumentError, match=text) as caught:
        NESTED.validate(config)
    assert caught.value.argument == argument


def test_a_batch_size_with_a_condition_is_divisible_where_it_exists() -> None:
    space = SearchSpace(
        loader=Choice(["own", "app"]),
        batch_size=Choice([4, 9], when={"loader": "own"}),
        devices=NumDevices(1, 2),
    )
    assert space.rejected_share == pytest.approx(0.5 * 0.5 * 0.5)
    assert space.size == 2 + 3
    assert space.allows({"loader": "app", "devices": 2})
    with pytest.raises(ArgumentError, match="multiple of the 2 devices"):
        space.validate({"loader": "own", "batch_size": 9, "devices": 2})
    with pytest.raises(ArgumentError, match="multiple of one of the device counts"):
        SearchSpace(a=Int(0, 1), batch_size=Choice([3, 9], when={"a": [0, 1]}), devices=NumDevices(2)).sample(
            np.random.default_rng(0)
        )


def test_a_grid_counts_only_what_is_active() -> None:
    kinds = [f"k{index}" for index in range(8)]
    children = {f"x_{kind}": Int(1, 10, when={"kind": kind}) for kind in kinds}
    space = SearchSpace(kind=Choice(kinds), **children)
    assert (space.size, len(space.grid())) == (80, 80)  # the product of all values is 8 * 10**8
    floats = SearchSpace(kind=Choice(["a", "b"]), x=Float(0, 1, when={"kind": "a"}))
    assert list(floats.grid(2)) == [{"kind": "a", "x": 0.0}, {"kind": "a", "x": 1.0}, {"kind": "b"}]
    assert floats.size is None
    deep = {f"x_{index}": Int(1, 100, when={"kind": "a"}) for index in range(12)}
    with pytest.raises(ArgumentError, match="less those with inactive values"):
        SearchSpace(kind=Choice(["a", "b"]), **deep).grid()


# ---- whole studies


class Drawn(Searcher):
    """Random draws, in which the shares of inactive parameters come from another stream."""

    name = "drawn"

    def __init__(self, others: int) -> None:
        self.others = others

    def propose(self, space: SearchSpace, draw: int, seed: int, history: History) -> dict[str, Any]:
        shares = stream(seed, "own", draw).random(len(space))
        config = space.at(shares.tolist())
        others = stream(self.others, "others", draw).random(len(space))
        return space.at([a if name in config else b for name, a, b in zip(space, shares, others, strict=True)])


@given(conditional_spaces(), st.integers(0, 100))
@settings(max_examples=10, deadline=None)
def test_two_studies_that_differ_only_in_what_inactive_parameters_draw_are_the_same(
    space: SearchSpace, seed: int
) -> None:
    logs = []
    if space.rejected_share:  # this searcher does not repeat draws
        space = space.constrained(None)
    for others in (1, 2):
        study = StudySpec(
            "two", space, Objectives([Metric("error", "min"), TrainSeconds()]), ASHA(max_epochs=9), Drawn(others),
            Pool("cpu", 3), seed=seed,
        )  # fmt: skip
        driver = Driver(
            study, Limits(max_trials=8), lambda config, epoch: float(space.encode(config).sum()) + 1 / epoch
        )
        driver.run()
        logs.append(driver.log[1:])  # the first event has the settings
    assert logs[0] == logs[1]
