"""The search space: parameters, the unit cube, the batch rule, study-file form."""

from __future__ import annotations

import itertools
import json
import math
import pickle
from enum import StrEnum
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lightning_hwtune.core.combinations import Combinations
from lightning_hwtune.core.parameters.options import option_key
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, Parameter, SearchSpace
from lightning_hwtune.errors import ArgumentError, UnknownArgumentError

SPACE = SearchSpace(
    lr=Float(1e-4, 1e-1, log=True),
    width=Int(8, 128, log=True),
    dropout=Float(0.0, 0.5),
    optimizer=Choice(["adam", "sgd", None]),
    batch_size=Choice([64, 100, 129]),
    devices=NumDevices(1, 2, 4),
)

finite = st.floats(-1e12, 1e12, allow_nan=False)
texts = st.text(st.characters(categories=("L", "N", "P", "S")), max_size=5)
scalars = st.one_of(texts, st.integers(-100, 100), finite, st.booleans(), st.none())
options_of_choices = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=2), max_leaves=4
)


@st.composite
def floats(draw: st.DrawFn) -> Float:
    if draw(st.booleans()):
        low, factor = draw(st.floats(1e-12, 1e6)), draw(st.floats(1.001, 1e9))
        return Float(low, low * factor, log=True)
    low, width = draw(finite), draw(st.floats(1e-3, 1e12))
    return Float(low, low + width)


@st.composite
def ints(draw: st.DrawFn) -> Int:
    if draw(st.booleans()):
        low = draw(st.integers(1, 2**39))
        return Int(low, low + draw(st.integers(1, 2**39)), log=True)
    step = draw(st.integers(1, 1000))
    low = draw(st.integers(-(2**30), 2**30))
    return Int(low, low + step * draw(st.integers(1, 2**28)), step=step)


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    # unique by what counts as one option: 1 and 1.0 do, 1 and True do not
    options = draw(st.lists(options_of_choices, min_size=1, max_size=6, unique_by=option_key))
    return Choice(options, ordered=draw(st.sampled_from([None, True, False])))


devices = st.sets(st.integers(1, 16), min_size=1, max_size=4).map(lambda counts: NumDevices(*counts))


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    names = st.text("abc._", min_size=1, max_size=8)
    params: dict[str, Parameter] = draw(
        st.dictionaries(names, st.one_of(floats(), ints(), choices()), min_size=1, max_size=5)
    )
    if draw(st.booleans()):
        params["devices"] = draw(devices)
        params["data.batch_size"] = Choice(sorted(draw(st.sets(st.integers(1, 300), max_size=4)) | {720720}))
    return SearchSpace(params)


def is_same(space: SearchSpace, config: dict[str, Any], other: dict[str, Any]) -> bool:
    """Exactly equal, types included; floats within what their parameter promises."""
    for name, parameter in space.items():
        a, b = config[name], other[name]
        if isinstance(parameter, Float):
            scale = abs(a) if parameter.log else parameter.high - parameter.low
            if not math.isclose(a, b, rel_tol=0.0, abs_tol=1e-9 * scale):
                return False
        elif a != b or type(a) is not type(b):
            return False
    return list(config) == list(other) == list(space)


# ---- properties


@given(spaces(), st.integers(0, 2**32))
@settings(max_examples=150)
def test_samples_are_valid_plain_and_survive_the_cube_and_json(space: SearchSpace, seed: int) -> None:
    config = space.sample(np.random.default_rng(seed))
    assert space.validate(config) == config
    assert space.allows(config)
    assert {type(value) for value in config.values()} <= {int, float, str, bool, type(None), list, dict}
    vector = space.encode(config)
    assert vector.shape == (space.n_dims,)
    assert (vector >= 0).all()
    assert (vector <= 1).all()
    assert is_same(space, config, space.decode(vector))
    assert is_same(space, config, json.loads(json.dumps(config, allow_nan=False)))


@given(spaces())
@settings(max_examples=100)
def test_study_file_form_gives_the_same_space(space: SearchSpace) -> None:
    again = SearchSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert again == space
    assert hash(again) == hash(space)
    assert again.to_dict() == space.to_dict()
    assert space.differences(again) == {}
    assert pickle.loads(pickle.dumps(space)) == space
    assert eval(repr(space)) == space


@given(spaces(), spaces())
def test_equality_and_differences_agree(one: SearchSpace, two: SearchSpace) -> None:
    assert (one == two) == (one.differences(two) == {})


@given(st.one_of(floats(), ints(), devices, choices()), st.floats(0, 1), st.floats(0, 1))
def test_quantile_ascends_and_reaches_both_ends(parameter: Parameter, a: float, b: float) -> None:
    if isinstance(parameter, Choice):
        parameter = Choice(range(len(parameter.options)))
    low, high = sorted((a, b))
    assert parameter.quantile(low) <= parameter.quantile(high)  # type: ignore[operator]
    values = parameter.levels(2) if isinstance(parameter, Float) else parameter.levels()
    assert parameter.quantile(0.0) == values[0]
    assert parameter.quantile(1.0) == values[-1]


@given(ints())
@settings(max_examples=200)
def test_every_tried_int_comes_back_exactly(parameter: Int) -> None:
    span = range(parameter.low, parameter.high + 1, parameter.step)
    for value in {span[0], span[1], span[len(span) // 2], span[-2], span[-1]}:
        assert parameter.decode(parameter.encode(value)) == value


@given(st.lists(st.integers(1, 64), min_size=1, max_size=6, unique=True), st.sets(st.integers(1, 9), min_size=1))
def test_the_batch_rule_is_what_counting_gives(batch_sizes: list[int], counts: set[int]) -> None:
    space = SearchSpace(batch_size=Choice(batch_sizes), devices=NumDevices(*counts))
    pairs = [(b, n) for b, n in itertools.product(sorted(batch_sizes), sorted(counts))]
    dividing = [(b, n) for b, n in pairs if b % n == 0]
    if not dividing:
        for use in (lambda: space.rejected_share, lambda: space.size, space.grid):
            with pytest.raises(ArgumentError, match="No batch size is divisible"):
                use()
        with pytest.raises(ArgumentError, match="per_device"):
            space.sample(np.random.default_rng(0))
        assert space.constrained(None).size == len(pairs)
        return
    assert space.size == len(dividing)
    assert space.rejected_share == pytest.approx(1 - len(dividing) / len(pairs), abs=1e-12)
    assert [(c["batch_size"], c["devices"]) for c in space.grid()] == dividing
    for pair in pairs:
        config = {"batch_size": pair[0], "devices": pair[1]}
        assert space.allows(config) == (pair in dividing)


def test_minus_zero_is_zero() -> None:
    one, two = SearchSpace(x=Float(-0.0, 1), y=Choice([-0.0, 2.5])), SearchSpace(x=Float(0, 1), y=Choice([0.0, 2.5]))
    assert one == two
    assert json.dumps(one.to_dict()) == json.dumps(two.to_dict())


# ---- distributions


def test_log_sampling_is_uniform_in_the_logarithm() -> None:
    space, rng = SearchSpace(lr=Float(1e-4, 1e-1, log=True)), np.random.default_rng(0)
    logs = np.log10([space.sample(rng)["lr"] for _ in range(4000)])
    assert stats.kstest(logs, stats.uniform(-4, 3).cdf).pvalue > 0.01


def test_plain_sampling_is_uniform_in_the_value() -> None:
    space, rng = SearchSpace(x=Float(-2, 6)), np.random.default_rng(0)
    values = [space.sample(rng)["x"] for _ in range(4000)]
    assert stats.kstest(values, stats.uniform(-2, 8).cdf).pvalue > 0.01


@pytest.mark.parametrize(
    "parameter", [Int(1, 9, log=True), Int(-3, 9, step=4), Choice(["a", "b", "c"]), NumDevices(1, 2, 4)]
)
def test_sampling_has_the_stated_probabilities(parameter: Int | Choice | NumDevices) -> None:
    space, rng = SearchSpace(x=parameter), np.random.default_rng(0)
    draws = [space.sample(rng)["x"] for _ in range(4000)]
    observed = [draws.count(value) for value in parameter.levels()]
    assert parameter.masses().sum() == pytest.approx(1)
    assert stats.chisquare(observed, 4000 * parameter.masses()).pvalue > 0.01


def test_rejected_share_weighs_a_log_range_by_its_probabilities() -> None:
    space = SearchSpace(batch_size=Int(1, 100, log=True), devices=NumDevices(1, 3))
    rng, lifted = np.random.default_rng(0), space.constrained(None)
    n_rejected = sum(not space.allows(lifted.sample(rng)) for _ in range(4000))
    assert stats.binomtest(n_rejected, 4000, space.rejected_share).pvalue > 0.01


# ---- parameters


def test_a_number_choice_is_sorted_and_ordered_unless_told_otherwise() -> None:
    assert Choice([256, 64, 128]).options == (64, 128, 256)
    assert SearchSpace(b=Choice([256, 64, 128])).encode({"b": 128}).tolist() == [0.5]
    assert SearchSpace(b=Choice([256, 64], ordered=False)).encode({"b": 64}).tolist() == [0, 1]
    assert Choice([3, 1, 2], ordered=True).options == (3, 1, 2)
    assert SearchSpace(o=Choice(["s", "m", "l"], ordered=True)).encode({"o": "l"}).tolist() == [pytest.approx(5 / 6)]
    assert not Choice([True, False]).ordered
    assert not Choice([1, None]).ordered


def test_one_true_and_1_are_told_apart() -> None:
    both = Choice([1, True])
    assert both.check("x", True) is True
    assert type(both.check("x", 1)) is int
    assert Choice([1, 0], ordered=False) != Choice([True, False])
    assert Choice([1, 2]) != Choice([1.0, 2.0])
    assert type(Choice([64, 128]).check("x", 64.0)) is int


def test_values_of_numpy_and_subclasses_become_plain() -> None:
    class Kind(StrEnum):
        SGD = "sgd"

    options = Choice([np.int64(3), np.float32(0.5), np.str_("x"), Kind.SGD, np.bool_(True)]).options
    assert options == (3, 0.5, "x", "sgd", True)
    assert [type(option) for option in options] == [int, float, str, str, bool]
    assert Choice(np.array([1, 2])) == Choice([1, 2])
    assert type(Float(0, 1).check("x", np.float32(0.5))) is float
    assert type(Float(0, 1).check("x", 1)) is float
    assert type(Int(1, 9).check("x", np.int32(4))) is int
    assert type(Int(1, 9).check("x", 4.0)) is int
    assert type(Float(np.float64(0), np.int64(1)).low) is float


def test_levels_of_a_float_are_readable_and_include_the_ends() -> None:
    assert Float(1e-4, 1e-1, log=True).levels(4) == [1e-4, 1e-3, 1e-2, 1e-1]
    assert Float(0.0, 0.3).levels(4) == [0.0, 0.1, 0.2, 0.3]
    assert Float(0, 1).levels(2) == [0, 1]


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: Float(1, 1), "Float.high"),
        (lambda: Float(2, 1), "Float.high"),
        (lambda: Float(0, 1, log=True), "Float.low"),
        (lambda: Float(math.nan, 1), "Float.low"),
        (lambda: Float(0, math.inf), "Float.high"),
        (lambda: Float(-1.7e308, 1.7e308), "Float.high"),
        (lambda: Float(False, 1), "Float.low"),
        (lambda: Float("0", 1), "Float.low"),  # type: ignore[arg-type]
        (lambda: Float(0, 1, log="yes"), "Float.log"),  # type: ignore[arg-type]
        (lambda: Int(1, 1), "Int.high"),
        (lambda: Int(5, 1), "Int.high"),
        (lambda: Int(0, 8, log=True), "Int.low"),
        (lambda: Int(1, 8, log=True, step=2), "Int.step"),
        (lambda: Int(1, 8, step=0), "Int.step"),
        (lambda: Int(8, 100, step=16), "Int.high"),
        (lambda: Int(1, 2.5), "Int.high"),  # type: ignore[arg-type]
        (lambda: Int(1, True), "Int.high"),
        (lambda: Int(1, 2**41), "Int.high"),
        (lambda: Choice([]), "Choice.options"),
        (lambda: Choice("abc"), "Choice.options"),
        (lambda: Choice(64), "Choice.options"),  # type: ignore[arg-type]
        (lambda: Choice({"a", "b"}), "Choice.options"),
        (lambda: Choice([1, 1.0]), "Choice.options"),
        (lambda: Choice([math.nan]), "Choice.options"),
        (lambda: Choice([(0.9, {1, 2})]), "Choice.options"),  # type: ignore[list-item]
        (lambda: Choice([1, 2], ordered=1), "Choice.ordered"),  # type: ignore[arg-type]
        (lambda: NumDevices(), "NumDevices"),
        (lambda: NumDevices([1, 2]), "NumDevices"),  # type: ignore[arg-type]
        (lambda: NumDevices(0, 1), "NumDevices"),
        (lambda: NumDevices(1, 1), "NumDevices"),
        (lambda: NumDevices(True), "NumDevices"),
    ],
)
def test_a_wrong_parameter_is_refused_when_it_is_made(make: Any, argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert caught.value.argument == argument


def test_an_unreached_end_names_the_nearest_that_are() -> None:
    with pytest.raises(ArgumentError, match="88 and 104"):
        Int(8, 100, step=16)


# ---- the space


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: SearchSpace(), "at least one parameter"),
        (lambda: SearchSpace({}), "at least one parameter"),
        (lambda: SearchSpace([("lr", Float(0, 1))]), "a mapping"),
        (lambda: SearchSpace(lr=[0.1, 0.2]), r"Use Choice\(\[0.1, 0.2\]\)"),
        (lambda: SearchSpace(lr=(0.1, 0.2)), r"Float\(low, high\)"),
        (lambda: SearchSpace(lr=0.1), r"Use Choice\(\[0.1\]\)"),
        (lambda: SearchSpace({"model": {"lr": Float(0, 1)}}), "dots"),
        (lambda: SearchSpace({" lr": Float(0, 1)}), "names"),
        (lambda: SearchSpace({1: Float(0, 1)}), "names"),
        (lambda: SearchSpace({"lr": Float(0, 1)}, lr=Float(0, 2)), "each name once"),
        (lambda: SearchSpace(a=NumDevices(1), b=NumDevices(2)), "'a' is already one"),
    ],
)
def test_a_wrong_space_is_refused(make: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        make()


def test_it_reads_like_a_mapping_and_knows_its_hardware() -> None:
    space = SearchSpace({"model.optimizer.lr": Float(0, 1)}, devices=NumDevices(2, 1))
    assert space.names == tuple(space) == ("model.optimizer.lr", "devices")
    assert (len(space), space["devices"]) == (2, NumDevices(1, 2))
    assert (space.devices_key, space.device_counts) == ("devices", (1, 2))
    assert (SearchSpace(a=Int(1, 2)).devices_key, SearchSpace(a=Int(1, 2)).device_counts) == (None, ())


CONFIG = {"lr": 0.01, "width": 16, "dropout": 0.1, "optimizer": "sgd", "batch_size": 64, "devices": 2}


def test_validate_gives_a_plain_copy_in_the_order_of_the_space() -> None:
    given_config = dict(reversed(CONFIG.items())) | {"dropout": 0, "width": np.int64(16)}
    checked = SPACE.validate(given_config)
    assert list(checked) == list(SPACE)
    assert checked == CONFIG | {"dropout": 0.0}
    assert [type(value) for value in checked.values()] == [float, int, float, str, int, int]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"lrr": 1}, "'lrr'.*Did you mean 'lr'"),
        ({"lr": 2}, "`lr` is 2.*from 0.0001 to 0.1"),
        ({"lr": True}, "`lr` is True"),
        ({"lr": math.nan}, "`lr` is nan"),
        ({"lr": "0.01"}, "`lr` is '0.01'"),
        ({"width": 16.5}, "`width` is 16.5.*integer from 8 to 128"),
        ({"optimizer": "rmsprop"}, r"one of \['adam', 'sgd', None\]"),
        ({"optimizer": [1]}, r"one of \['adam', 'sgd', None\]"),
        ({"devices": 3}, r"one of the device counts \[1, 2, 4\]"),
        ({"batch_size": 129}, "`batch_size` is 129.*multiple of the 2 devices"),
    ],
)
def test_validate_names_what_is_wrong(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        SPACE.validate(CONFIG | change)


def test_validate_names_what_is_missing() -> None:
    with pytest.raises(ArgumentError, match="missing: width, devices"):
        SPACE.validate({name: value for name, value in CONFIG.items() if name not in ("width", "devices")})
    with pytest.raises(ArgumentError, match="a mapping"):
        SPACE.validate([("lr", 1)])  # type: ignore[arg-type]


def test_the_batch_rule_can_be_lifted_and_moved() -> None:
    assert SPACE.batch_size_keys == ("batch_size",)
    assert SPACE.rejected_share == pytest.approx(2 / 9)  # 129 over 2, 129 over 4; 100 divides by all
    lifted = SPACE.constrained(None)
    assert (lifted.batch_size_keys, lifted.rejected_share) == ((), 0.0)
    assert lifted.validate(CONFIG | {"batch_size": 129})["batch_size"] == 129
    assert lifted != SPACE
    assert SPACE.differences(lifted) == {"global batch sizes": (["batch_size"], [])}
    moved = SPACE.constrained("width")
    assert moved.batch_size_keys == ("width",)
    assert not moved.allows(CONFIG | {"width": 17})
    with pytest.raises(ArgumentError, match=r"'widht'.*did you mean 'width'"):
        SPACE.constrained("widht")
    with pytest.raises(ArgumentError, match="Choice of integers"):
        SPACE.constrained("dropout")
    assert SearchSpace(batch_size=Choice([3])).constrained("batch_size").batch_size_keys == ()


def test_two_batch_sizes_must_both_divide_and_a_batch_never_has_less_than_one_sample_a_device() -> None:
    space = SearchSpace(
        {"train.batch_size": Choice([4, 6]), "val.batch_size": Int(0, 4, step=2), "devices": NumDevices(1, 4)}
    )
    kept = [(c["train.batch_size"], c["val.batch_size"], c["devices"]) for c in space.grid()]
    assert kept == [(4, 2, 1), (4, 4, 1), (4, 4, 4), (6, 2, 1), (6, 4, 1)]
    assert space.size == 5
    assert space.rejected_share == pytest.approx(7 / 12)


def test_decode_takes_the_nearest_and_refuses_another_shape() -> None:
    space = SearchSpace(x=Float(0, 1), o=Choice(["a", "b"]), n=Int(1, 4))
    assert space.decode([1.7, 0.2, 0.1, -3]) == {"x": 1.0, "o": "a", "n": 1}
    assert space.decode([-math.inf, 0.2, 0.3, math.inf]) == {"x": 0.0, "o": "b", "n": 4}
    assert space.decode([0.5, 0.3, 0.3, 1.0]) == {"x": 0.5, "o": "a", "n": 4}
    for bad in ([0.5] * 3, [[0.5] * 4], [0.5, math.nan, 0, 0]):
        with pytest.raises(ArgumentError, match="4 numbers from 0 to 1"):
            space.decode(bad)


def test_encode_many_stacks() -> None:
    configs = [CONFIG, CONFIG | {"lr": 0.1}]
    assert SPACE.encode_many(configs).tolist() == [SPACE.encode(config).tolist() for config in configs]
    assert SPACE.encode_many([]).shape == (0, SPACE.n_dims)


def test_size_and_grid() -> None:
    assert SPACE.size is None
    assert SearchSpace(a=Int(1, 10, step=3), b=Choice(["x", "y", "z"])).size == 12
    grid = SearchSpace(x=Float(0, 1), b=Choice(["p", "q"])).grid(3)
    assert list(grid) == [{"x": x, "b": b} for x in (0.0, 0.5, 1.0) for b in "pq"]
    assert list(grid[4:]) == list(grid)[4:]
    assert grid[-1] == {"x": 1.0, "b": "q"}
    with pytest.raises(IndexError):
        grid[6]


def test_a_grid_that_is_too_large_says_how_large() -> None:
    with pytest.raises(ArgumentError, match=r"1002000 combinations .x 1002 x y 1000."):
        SearchSpace(x=Int(1, 1002), y=Int(1, 1000)).grid()
    for points in (1, 2.5, True):
        with pytest.raises(ArgumentError, match="points_per_float"):
            SearchSpace(x=Float(0, 1)).grid(points)  # type: ignore[arg-type]


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 5).map(range), min_size=1, max_size=5))
def test_combinations_are_the_product(levels: dict[str, range]) -> None:
    product = [dict(zip(levels, values, strict=True)) for values in itertools.product(*levels.values())]
    combinations = Combinations(levels)
    assert list(combinations) == product
    for name, values in levels.items():
        assert combinations.column(name, values).tolist() == [config[name] for config in product]


def test_probabilities_are_those_of_sampling() -> None:
    space = SearchSpace(n=Int(1, 3, log=True), batch_size=Choice([1, 2]), devices=NumDevices(1, 2))
    grid, rng = space.grid(), np.random.default_rng(0)
    weights = space.probabilities(grid)
    draws = [space.sample(rng) for _ in range(4000)]
    observed = [draws.count(config) for config in grid]
    assert stats.chisquare(observed, 4000 * weights / weights.sum()).pvalue > 0.01


# ---- study files


def test_the_form_of_study_files() -> None:
    form = {
        "lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True},
        "width": {"type": "int", "low": 8, "high": 128, "step": 8},
        "batch_size": {"type": "choice", "options": [64, 128]},
        "size": {"type": "choice", "options": ["s", "m"], "ordered": True},
        "devices": {"type": "num_devices", "counts": [1, 2]},
    }
    space = SearchSpace.from_dict(form)
    assert space == SearchSpace(
        lr=Float(1e-4, 0.1, log=True),
        width=Int(8, 128, step=8),
        batch_size=Choice([64, 128]),
        size=Choice(["s", "m"], ordered=True),
        devices=NumDevices(1, 2),
    )
    assert space.to_dict() == form


def test_numbers_that_yaml_reads_as_text_are_numbers() -> None:
    space = SearchSpace.from_dict(
        {"lr": {"type": "float", "low": "1e-4", "high": "1e-1"}, "n": {"type": "int", "low": "1", "high": 9}}
    )
    assert (space["lr"], space["n"]) == (Float(1e-4, 1e-1), Int(1, 9))


@pytest.mark.parametrize(
    ("form", "error", "text"),
    [
        ({"type": "float", "low": 1}, ArgumentError, "a mapping with the key 'high'"),
        ({"type": "float", "low": 2, "high": 1}, ArgumentError, "`lr.high` is 1"),
        ({"type": "float", "low": "small", "high": 1}, ArgumentError, "`lr.low` is 'small'"),
        ({"type": "float", "low": 0, "high": 1, "step": 1}, UnknownArgumentError, "a float has no step"),
        ({"type": "floot", "low": 0, "high": 1}, ArgumentError, "`lr.type` is 'floot'"),
        ({"low": 0, "high": 1}, ArgumentError, "`lr.type` is None"),
        ({"type": "num_devices", "counts": 2}, ArgumentError, "`lr.counts` is 2"),
        ({"type": "float", "min": 0, "max": 1}, UnknownArgumentError, "`lr.min`.*use `low`"),
        ({"type": "choice", "values": [1]}, UnknownArgumentError, "use `options`"),
        ({"type": "loguniform", "low": 1, "high": 2}, UnknownArgumentError, "log: true"),
        ([0.1, 0.2], ArgumentError, "a mapping such as"),
    ],
)
def test_a_wrong_form_names_the_parameter_and_the_key(form: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        SearchSpace.from_dict({"lr": form})
    with pytest.raises(ArgumentError, match="a mapping"):
        SearchSpace.from_dict([form])  # type: ignore[arg-type]


def test_differences_show_both_sides() -> None:
    other = SearchSpace({"lr": Float(1e-5, 1e-1, log=True), "new": Int(1, 2)})
    found = SearchSpace(lr=Float(1e-4, 1e-1, log=True), old=Int(1, 2)).differences(other)
    assert found == {
        "lr": (Float(1e-4, 1e-1, log=True), Float(1e-5, 1e-1, log=True)),
        "old": (Int(1, 2), "absent"),
        "new": ("absent", Int(1, 2)),
    }
    swapped = SearchSpace({name: SPACE[name] for name in reversed(SPACE.names)})
    assert SPACE.differences(swapped) == {"order": (list(SPACE), list(swapped))}
    assert swapped != SPACE
