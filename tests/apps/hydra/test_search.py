"""Overrides as a search: every form of Hydra's grammar, and the way back to a command line."""

from __future__ import annotations

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from lightning_hwtune.apps.hydra.search import quoted, read_search
from lightning_hwtune.apps.trainer_settings import as_devices
from lightning_hwtune.core.parameters import Choice, Float, Int, NumDevices
from lightning_hwtune.core.space import SearchSpace
from lightning_hwtune.errors import ArgumentError

PARSER = OverridesParser.create()


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("interval(0, 1)", Float(0.0, 1.0)),
        ("interval(1e-4,1e-1)", Float(1e-4, 1e-1)),
        ("tag(log, interval(1e-4, 1e-1))", Float(1e-4, 1e-1, log=True)),
        ("int(interval(0, 8))", Int(0, 8)),
        ("int(tag(log, interval(8, 64)))", Int(8, 64, log=True)),
        ("tag(log, int(interval(8, 64)))", Int(8, 64, log=True)),
        ("range(1, 4)", Int(1, 3)),
        ("range(0, 10, 3)", Int(0, 9, step=3)),
        ("range(10, 0, -5)", Int(5, 10, step=5)),
        ("range(5, 6)", Choice([5])),
        ("range(0.0, 0.3, 0.1)", Choice([0.0, 0.1, 0.2])),
        ("choice(1, 2)", Choice([1, 2])),
        ("1,2", Choice([1, 2])),
        ("choice(adam, sgd)", Choice(["adam", "sgd"])),
        ("true,null,3", Choice([True, None, 3])),
        ("shuffle(choice(1, 2, 3))", Choice([1, 2, 3], ordered=False)),
        ("shuffle(range(1, 4))", Choice([1, 2, 3], ordered=False)),
        ("sort(choice(3, 1, 2))", Choice([1, 2, 3])),
        ("choice([1,2],{a:1})", Choice(["[1,2]", "{a:1}"])),
    ],
)
def test_a_form_of_the_grammar_is_a_parameter(text: str, parameter: Any) -> None:
    search = read_search({"model.x": text}, [])
    assert search.parameters == {"model.x": parameter}
    assert not search.fixed


def test_the_command_line_wins_over_the_configuration() -> None:
    search = read_search({"a": "interval(0,1)", "b": 3, "c": [1, 2], "d": "choice(1,2)"}, ["a=0.5", "b=choice(1,2)"])
    assert search.fixed == {"c": "c=[1,2]", "a": "a=0.5"}
    assert search.parameters == {"d": Choice([1, 2]), "b": Choice([1, 2])}


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_a_key_keeps_its_prefix_on_the_command_line_only(prefix: str) -> None:
    search = read_search({}, [f"{prefix}x=interval(0,1)", f"{prefix}y=2"])
    assert list(search.parameters) == ["x"]
    assert search.overrides({"x": 0.25}) == [f"{prefix}y=2", f"{prefix}x=0.25"]


def test_a_removal_stays_a_removal() -> None:
    assert read_search({}, ["~logger", "x=1,2"]).overrides({"x": 2}) == ["~logger", "x=2"]


@pytest.mark.parametrize(
    ("texts", "overrides"),
    [
        (["~m", "+m={a:1}"], ["~m", "+m={a:1}"]),
        (["~m", "+m=1", "m=2"], ["~m", "+m=2"]),
        (["~db=mysql"], ["~db=mysql"]),
        (["~db=mysql", "+db=sqlite,postgres"], ["~db=mysql", "+db=postgres"]),
        (["+x=1", "x=2"], ["+x=2"]),
        (["++x=1", "x=2"], ["++x=2"]),
        (["+x=1", "++x=2"], ["++x=2"]),
        (["x=1", "x=2"], ["x=2"]),
        (["+x=1", "x=1,2"], ["+x=2"]),
        (["+x=1,2", "x=3"], ["+x=3"]),
        (["+x=1,2", "x=3,4"], ["+x=4"]),
        (["+x=1", "~x"], []),
        (["x=1", "~x"], ["~x"]),
    ],
)
def test_a_later_override_replaces_the_value_and_not_what_made_the_key(texts: list[str], overrides: list[str]) -> None:
    search = read_search({}, texts)
    assert search.overrides({name: item.quantile(1.0) for name, item in search.parameters.items()}) == overrides


def test_options_go_back_as_they_came() -> None:
    search = read_search({}, ["x='a b',true,'true',null,[1,2],1.5,\"it's\""])
    options = search.parameters["x"].levels()
    texts = [search.keys["x"].override(option) for option in options]
    assert [PARSER.parse_override(text).value() for text in texts] == [
        "a b", True, "true", None, [1, 2], 1.5, "it's",
    ]  # fmt: skip


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_drawn_float_comes_to_the_app_as_it_was_drawn(value: float) -> None:
    text = read_search({}, ["x=interval(0,1)"]).keys["x"].override(value)
    assert PARSER.parse_override(text).value() == value


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1).filter(lambda t: "$" not in t)
)
def test_a_quoted_text_comes_to_the_app_as_it_is(text: str) -> None:
    assert PARSER.parse_override(f"x={quoted(text)}").value() == text


@pytest.mark.parametrize("text", ["intervall(0, 1)", "interval(0)", "choice(", "range(1,2,3,4)"])
def test_what_is_no_search_grammar_is_told_with_what_is(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"interval\(a,b\)") as caught:
        read_search({"model.lr": text}, [])
    assert "model.lr" in str(caught.value)


@pytest.mark.parametrize("text", ["tag(log, interval(0, 1))", "interval(1, 0)", "choice(1,1)", "interval(2, 2)"])
def test_a_range_that_cannot_be_searched_is_told_with_its_key(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"model\.lr"):
        read_search({"model.lr": text}, [])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("tag(lgo, interval(1e-4, 1e-1))", ["'lgo'", "did you mean 'log'?"]),
        ("tag(LOG, interval(1e-4, 1e-1))", ["'LOG'", "did you mean 'log'?"]),
        ("tag(loguniform, interval(1e-4, 1e-1))", ["did you mean 'log'?"]),
        ("tag(log, integr, interval(1, 8))", ["'integr'", "did you mean 'int'?"]),
        ("tag(log, mine, interval(1e-4, 1e-1))", ["'mine'", "log, int, float"]),
        ("tag(opt:sgd, interval(0, 1))", ["'opt:sgd'", '"opt=sgd"']),
        ("tag(log, choice(1, 2))", ["equally likely", "leave `log` out"]),
        ("shuffle(tag(log, range(1, 9)))", ["equally likely"]),
        ("tag(int, range(1, 9))", ["`int` with interval", "write int(...) around"]),
        ("tag(int, interval(0.5, 9))", ["two integers"]),
        ("tag(int, float, interval(1, 9))", ["only one of int and float"]),
        ("interval(1e-1, 1e-4)", ["swapped"]),
        ("intreval(1e-4, 1e-1)", ["no function 'intreval'", "did you mean 'interval'?"]),
        ("Interval(1e-4, 1e-1)", ["did you mean 'interval'?"]),
        ("tga(log, interval(1, 2))", ["did you mean 'tag'?"]),
        ("loguniform(1e-4, 1e-1)", ["use tag(log, interval(a,b))"]),
        ("randint(1, 8)", ["use int(interval(a,b))"]),
        ("choice()", ["at least one option"]),
        ("[1, choice(1, 2)]", ["must be the whole value"]),
        ("choice(interval(1, 2), 3)", ["must be the whole value"]),
        ("interval(1, 2), interval(3, 4)", ["must be the whole value"]),
    ],
)
def test_a_slip_in_a_sweep_is_refused_by_name_with_what_was_meant(text: str, parts: list[str]) -> None:
    for params, arguments in (({"model.lr": text}, []), ({}, [f"model.lr={text}"])):
        with pytest.raises(ArgumentError) as caught:
            read_search(params, arguments)
        message = str(caught.value)
        assert "model.lr" in message
        assert [part for part in parts if part.lower() not in message.lower()] == []


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("tag(int, interval(1, 8))", Int(1, 8)),
        ("tag(log, int, interval(1, 8))", Int(1, 8, log=True)),
        ("int(tag(float, log, interval(1, 8)))", Int(1, 8, log=True)),
        ("tag(float, interval(1, 8))", Float(1.0, 8.0)),
    ],
)
def test_a_tag_may_name_the_kind_of_number(text: str, parameter: Any) -> None:
    assert read_search({}, [f"x={text}"]).parameters == {"x": parameter}


@pytest.mark.parametrize("parameter", [Choice([1, 2]), Int(1, 2), NumDevices(2, 1)])
def test_whole_numbers_are_device_counts(parameter: Any) -> None:
    assert as_devices("trainer.devices", parameter) == NumDevices(1, 2)


@pytest.mark.parametrize("parameter", [Choice(["auto", 1]), Float(1.0, 2.0), Choice([True])])
def test_other_values_are_no_device_counts(parameter: Any) -> None:
    with pytest.raises(ArgumentError, match=r"trainer\.devices"):
        as_devices("trainer.devices", parameter)


# ---- conditions


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ('tag("opt=sgd", interval(0, 1))', Float(0.0, 1.0, when={"opt": "sgd"})),
        ('tag(log, "opt=sgd", interval(1e-4, 1e-1))', Float(1e-4, 1e-1, log=True, when={"opt": "sgd"})),
        ('tag("opt=sgd,adam", int(interval(0, 8)))', Int(0, 8, when={"opt": ["sgd", "adam"]})),
        ('int(tag("opt=sgd", interval(0, 8)))', Int(0, 8, when={"opt": "sgd"})),
        ('tag("opt=choice(sgd)", range(1, 4))', Int(1, 3, when={"opt": "sgd"})),
        ('tag("opt=sgd", choice(0.8, 0.9))', Choice([0.8, 0.9], when={"opt": "sgd"})),
        ('tag("opt=sgd", choice(0.9))', Choice([0.9], when={"opt": "sgd"})),
        ('tag("n=2,3", "opt=null", choice(a, b))', Choice(["a", "b"], when={"n": [2, 3], "opt": None})),
        ('shuffle(tag("n=range(1,3)", choice(1, 2)))', Choice([1, 2], ordered=False, when={"n": [1, 2]})),
        ("tag('opt=\"sgd\"', interval(0, 1))", Float(0.0, 1.0, when={"opt": "sgd"})),
        ('tag("db@data.opt=sgd", interval(0, 1))', Float(0.0, 1.0, when={"db@data.opt": "sgd"})),
    ],
)
def test_a_tag_that_is_an_override_is_a_condition(text: str, parameter: Any) -> None:
    for search in (read_search({"model.x": text}, []), read_search({}, [f"model.x={text}"])):
        assert search.parameters == {"model.x": parameter}
        assert not search.notes


def test_an_inactive_parameter_has_no_override() -> None:
    search = read_search({}, ["opt=sgd,adam", '++m=tag("opt=sgd", interval(0, 1))', "x=3"])
    space = SearchSpace(search.parameters)
    assert search.overrides(space.at([0.1, 0.5])) == ["x=3", "opt=sgd", "++m=0.5"]
    assert search.overrides(space.at([0.9, 0.5])) == ["x=3", "opt=adam"]
    assert search.always == ["opt"]


def test_a_fixed_key_decides_the_conditions_on_it() -> None:
    params = {
        "opt": "choice(sgd, adam)",
        "m": 'tag("opt=sgd", choice(0, 1))',
        "n": 'tag("m=1", interval(0, 1))',
        "beta": 'tag("opt=adam", "k=2", interval(0, 1))',
        "k": "choice(1, 2)",
    }
    sgd = read_search(params, ["opt=sgd"])
    assert sgd.parameters == {"m": Choice([0, 1]), "n": Float(0.0, 1.0, when={"m": 1}), "k": Choice([1, 2])}
    assert sgd.notes == ["beta is not searched, because opt is sgd"]
    adam = read_search(params, ["opt=adam"])
    assert adam.parameters == {"beta": Float(0.0, 1.0, when={"k": 2}), "k": Choice([1, 2])}
    assert adam.notes == ["m is not searched, because opt is adam", "n is not searched, because opt is adam"]


@pytest.mark.parametrize(
    ("texts", "part"),
    [
        (['m=tag("opt=[", interval(0, 1))'], "a condition such as optimizer=sgd"),
        (['m=tag("+opt=sgd", interval(0, 1))'], "without \\+ or ~"),
        (['m=tag("opt=sgd", "opt=adam", interval(0, 1))'], "Name each parameter once"),
        (['m=tag("opt=sgd,sgd", interval(0, 1))'], "each value of opt once"),
        (["opt=sgd,adam", 'm=tag("opt=sdg", interval(0, 1))'], "did you mean 'sgd'"),
        (["opt=sgd,adam", 'm=tag("optim=sgd", interval(0, 1))'], "other parameters: opt"),
        (["opt=interval(0,1)", 'm=tag("opt=0.5", interval(0, 1))'], "almost never has exactly"),
    ],
)
def test_a_condition_that_cannot_hold_is_refused(texts: list[str], part: str) -> None:
    with pytest.raises(ArgumentError, match=part):
        _ = read_search({}, texts).conditions


def test_a_number_of_devices_has_no_condition() -> None:
    with pytest.raises(ArgumentError, match="every trial trains on some number of devices"):
        as_devices("trainer.devices", Choice([1, 2], when={"opt": "sgd"}))


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ('lr=tag(log, "prior=3e-4", interval(1e-5, 1e-1))', Float(1e-5, 1e-1, log=True, prior=3e-4)),
        ('width=tag("prior=32", range(8, 65, 8))', Int(8, 64, step=8, prior=32)),
        ('opt=tag("prior=sgd", choice(adam, sgd))', Choice(["adam", "sgd"], prior="sgd")),
        ('m=tag("prior=0.9", "opt=sgd", interval(0.5, 1.0))', Float(0.5, 1, prior=0.9, when={"opt": ["sgd"]})),
    ],
)
def test_a_tag_names_the_value_to_try_first(text: str, parameter: Float | Int | Choice) -> None:
    arguments = [text] if text.startswith("opt") else [text, "opt=choice(adam, sgd)"]
    (name,) = {text.partition("=")[0]}
    assert read_search({}, arguments).parameters[name] == parameter


@pytest.mark.parametrize("tags", ['"prior=2"', '"prior=0.1,0.2"', '"prior=0.1", "prior=0.2"'])
def test_a_value_to_try_first_that_cannot_be_is_refused(tags: str) -> None:
    with pytest.raises(ArgumentError, match="prior"):
        read_search({}, [f"lr=tag({tags}, interval(0.0, 1.0))"])
