"""Overrides behind a study file."""

from __future__ import annotations

import copy
import shlex
from typing import Any

import pytest

from lightning_hwtune.errors import ArgumentError, UnknownArgumentError
from lightning_hwtune.settings.overrides import apply_overrides, parse_overrides

KNOWN = (
    "study",
    "space",
    "objectives",
    "scheduler",
    "searcher",
    "allocation",
    "pool",
    "seed",
    "max_trials",
    "max_time",
)
DATA: dict[str, Any] = {
    "study": "digits",
    "space": {"lr": {"type": "float", "low": 1e-4, "high": 1e-1}, "model.lr": {"type": "float", "low": 1, "high": 2}},
    "objectives": [{"metric": "error", "mode": "min"}, "train_s"],
    "scheduler": {"name": "asha", "max_epochs": 27},
    "searcher": "random",
    "max_trials": 60,
}


def overridden(*texts: str) -> dict[str, Any]:
    data = copy.deepcopy(DATA)
    apply_overrides(data, parse_overrides(texts), KNOWN)
    return data


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("max_trials=20", ["max_trials"], 20),
        ("max_time=8h", ["max_time"], "8h"),
        ("seed=3", ["seed"], 3),
        ("max_trials=null", ["max_trials"], None),
        ("scheduler.max_epochs=9", ["scheduler", "max_epochs"], 9),
        ("scheduler.eta=4", ["scheduler", "eta"], 4),
        ("pool.devices=2", ["pool", "devices"], 2),
        ("space.lr.low=1e-5", ["space", "lr", "low"], 1e-5),
        ("space.lr.log=true", ["space", "lr", "log"], True),
        ("space.model.lr.low=0.5", ["space", "model.lr", "low"], 0.5),
        ("+space.width={type: int, low: 8, high: 16}", ["space", "width"], {"type": "int", "low": 8, "high": 16}),
        ("+space.data.size={type: int, low: 1, high: 2}", ["space", "data.size", "low"], 1),
        ("++space.lr.low=2", ["space", "lr", "low"], 2),
        ("++space.b.c={type: int, low: 1, high: 2}", ["space", "b.c", "high"], 2),
        ("objectives.0.mode=max", ["objectives", 0, "mode"], "max"),
        ("objectives.1=cost_usd", ["objectives", 1], "cost_usd"),
        ("objectives=[train_s,cost_usd]", ["objectives"], ["train_s", "cost_usd"]),
        ("searcher={name: grid}", ["searcher"], {"name": "grid"}),
        ("searcher.name=grid", ["searcher"], {"name": "grid"}),
        ("searcher.seed=3", ["searcher"], {"name": "random", "seed": 3}),
        ("study='a b'", ["study"], "a b"),
    ],
)
def test_sets(text: str, path: list[Any], value: object):
    found: Any = overridden(text)
    for step in path:
        found = found[step]
    assert found == value


def test_a_name_may_get_settings_after_it():
    found = overridden("scheduler=run_to_end", "scheduler.max_epochs=6", "allocation=deadline", "allocation.most=2")
    assert found["scheduler"] == {"name": "run_to_end", "max_epochs": 6}
    assert found["allocation"] == {"name": "deadline", "most": 2}


def test_touches_nothing_else():
    data = overridden("space.lr.low=1e-5")
    data["space"]["lr"]["low"] = DATA["space"]["lr"]["low"]
    assert data == DATA


@pytest.mark.parametrize("text", ["~searcher", "~searcher=random"])
def test_removes_a_key(text: str):
    assert overridden(text) == {key: value for key, value in DATA.items() if key != "searcher"}


def test_removes_within():
    assert list(overridden("~space.lr")["space"]) == ["model.lr"]
    assert list(overridden("~space.model.lr")["space"]) == ["lr"]
    assert overridden("~objectives.0")["objectives"] == ["train_s"]


def test_later_ones_win():
    assert overridden("seed=1", "seed=2")["seed"] == 2
    assert overridden("+space.a={type: int, low: 1, high: 2}", "space.a.low=2")["space"]["a"]["low"] == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_trials", "a key and its value"),
        ("a=[1", "a value such as"),
        ("a b", "a key and its value"),
        ("=3", "`override` is '=3'; allowed: 'key=value'"),
        ("seed=1,2", "one value per key"),
        ("seed=range(1,3)", "one value per key"),
        ("+max_trials=3", "'max_trials=3', because the key exists already"),
        ("max_trails=3", "override max_trails.*Did you mean 'max_trials'"),
        ("++max_trails=3", "override max_trails.*Did you mean 'max_trials'"),
        ("space.lrr={type: float}", r"the keys lr, model.lr\. Did you mean 'lr'\? To add a parameter, write \+space"),
        ("space.lrr.low=3", r"To add a parameter, write \+space"),
        ("spce.lr.low=3", "Did you mean 'space'"),
        ("objectives.2.mode=max", "an index of that list, from 0 to 1"),
        ("objectives.first=max", "an index of that list"),
        ("study.name=x", "a key of a mapping"),
        ("~seed", "the keys study, space"),
        ("~space.lrr", "Did you mean 'lr'"),
        ("~max_trials=3", "or its value 60"),
    ],
)
def test_refuses(text: str, says: str):
    with pytest.raises(ArgumentError, match=says):
        overridden(text)


def test_answers_a_habit():
    with pytest.raises(UnknownArgumentError, match=r"override n_trials.*use `max_trials`"):
        overridden("n_trials=3")


def test_none_needs_no_parser():
    assert parse_overrides([]) == []


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("space.lr.when={optimizer: adam}", {"optimizer": "adam"}),
        ("space.lr.when={model.kind: [a, b]}", {"model.kind": ["a", "b"]}),
        ("space.lr.when.optimizer=[sgd,adam]", {"optimizer": ["sgd", "adam"], "model.kind": "a"}),
        ("space.lr.when.model.kind=b", {"optimizer": "sgd", "model.kind": "b"}),
        ("+space.lr.when.depth=2", {"optimizer": "sgd", "model.kind": "a", "depth": 2}),
        ("~space.lr.when.model.kind", {"optimizer": "sgd"}),
        ("space.lr.when=null", None),
    ],
)
def test_a_condition_is_changed_as_a_whole_or_in_part(text: str, when: Any) -> None:
    data: dict[str, Any] = copy.deepcopy(DATA)
    data["space"]["lr"]["when"] = {"optimizer": "sgd", "model.kind": "a"}
    apply_overrides(data, parse_overrides([text]), KNOWN)
    assert data["space"]["lr"]["when"] == when


@pytest.mark.parametrize(
    ("texts", "advice"),
    [
        (["lr"], "Write lr=VALUE."),
        (["max_trials=3", "scheduler.eta"], "Write scheduler.eta=VALUE."),
        (["lr", "0.01"], "Write lr=0.01, without a space."),
        (["lr", "max_trials=3"], "Write lr=VALUE."),
        (["lr:0.01"], "Write lr=0.01."),
        (["lr: 0.01"], "Write lr=0.01."),
        (["lr=[1"], """To give this value as text, write 'lr="[1"'."""),
    ],
)
def test_an_override_that_cannot_be_read_is_answered_with_what_to_write(texts: list[str], advice: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        parse_overrides(texts)
    assert str(refused.value).endswith(advice)
    assert "EQUAL" not in str(refused.value)


@pytest.mark.parametrize("value", ["[1", "it's(", 'say "no', "back\\slash{", "[end\\", '[\\"'])
def test_the_advice_for_a_value_gives_that_value(value: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        parse_overrides([f"study={value}"])
    words = shlex.split(refused.value.hint.removeprefix("To give this value as text, write ").removesuffix("."))
    assert [item.value for item in parse_overrides(words)] == [value]
