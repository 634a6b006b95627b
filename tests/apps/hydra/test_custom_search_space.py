"""Functions that suggest parameters, as the Optuna sweeper takes them."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from lightning_hwtune.apps.hydra.custom_search_space import custom_overrides
from lightning_hwtune.apps.hydra.search import read_search
from lightning_hwtune.core.parameters import Choice, Float, Int
from lightning_hwtune.errors import ArgumentError

CONFIG = OmegaConf.create({"width": 4})
SEARCH = read_search({}, ["x=interval(0,1)", "+y=choice(1,2)", "optimizer=choice(adam,sgd,rms,lion)"])


def every_form(config: Any, trial: Any) -> None:
    assert trial.params["x"] == {1: 0.0, 2: 1.0}.get(trial.params["+y"], 0.5) or trial.params["x"] == 0.5
    trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    trial.suggest_float("dropout", 0.0, 0.5, step=0.25)
    trial.suggest_int("+depth", 1, config.width)
    trial.suggest_int("width", 8, 64, log=True)
    trial.suggest_int("heads", 2, 8, step=2)
    chosen = trial.suggest_categorical("activation", ["relu", "it's", None, True, 2.5])
    assert chosen == trial.params["activation"] == trial.suggest_categorical("activation", [
        "relu", "it's", None, True, 2.5,
    ])  # fmt: skip


def following(config: Any, trial: Any) -> None:
    trial.suggest_float("z", trial.params["x"] - 1, trial.params["x"] + 1)


def for_one_option(config: Any, trial: Any) -> None:
    if trial.params["optimizer"] == "sgd":
        trial.suggest_float("momentum", 0.0, 1.0)


def for_one_option_of_its_own(config: Any, trial: Any) -> None:
    if trial.suggest_categorical("+schedule", ["none", "step", "cosine", "linear"]) == "step":
        trial.suggest_int("step_size", 1, 10)


def failing(config: Any, trial: Any) -> None:
    raise KeyError("optimizer")


def test_each_suggestion_is_a_parameter() -> None:
    search = read_search({}, custom_overrides(f"{__name__}.every_form", CONFIG, SEARCH))
    assert search.parameters == {
        "lr": Float(1e-5, 1e-1, log=True),
        "dropout": Choice([0.0, 0.25, 0.5]),
        "depth": Int(1, 4),
        "width": Int(8, 64, log=True),
        "heads": Int(2, 8, step=2),
        "activation": Choice(["relu", "it's", None, True, 2.5]),
    }
    assert search.keys["depth"].override(3) == "+depth=3"


def test_without_a_function_there_is_nothing_to_add() -> None:
    assert custom_overrides(None, CONFIG, SEARCH) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("for_one_option", "momentum"),
        ("for_one_option_of_its_own", "step_size"),
        ("following", "the same suggestions each time"),
        ("failing", "KeyError: 'optimizer'"),
        ("missing", "missing"),
        ("CONFIG", "function"),
    ],
)
def test_what_cannot_be_a_space_is_told(name: str, words: str) -> None:
    with pytest.raises(ArgumentError, match=words) as caught:
        custom_overrides(f"{__name__}.{name}", CONFIG, SEARCH)
    assert "custom_search_space" in str(caught.value)
