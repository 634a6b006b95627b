"""Objectives: names, directions, and the one conversion to minimised losses."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_hwtune.core.objectives import Cost, DeviceSeconds, Metric, Objectives, TrainSeconds
from lightning_hwtune.errors import ArgumentError, MetricError

THREE = Objectives([Metric("val/acc", "max"), Metric("val_loss", "min", unit="nats"), Cost(0)])

metrics = st.builds(
    Metric,
    st.text("ab/_é", min_size=1, max_size=4),
    st.sampled_from(["min", "max"]),
    st.text("s/é ", max_size=2).filter(lambda unit: not unit or bool(unit.strip())),
    st.sampled_from(["mean", "max", "min", "sum", "rank0"]),
    st.booleans(),
    st.sampled_from([0.0, 0.01]),
)
objective_lists = st.lists(
    st.one_of(metrics, st.sampled_from([TrainSeconds(), DeviceSeconds(), Cost()])),
    min_size=1,
    max_size=5,
    unique_by=lambda item: item.name,
)


@given(objective_lists, st.data())
def test_a_loss_is_the_value_or_its_negative_and_directions_are_kept(items: list[Any], data: st.DataObject) -> None:
    objectives = Objectives([dataclasses.replace(item, resolution=0.0) for item in items])
    numbers = st.floats(-1e9, 1e9)
    one, two = ({name: data.draw(numbers) for name in objectives.names} for _ in range(2))
    signs = [1 if item.mode == "min" else -1 for item in objectives]
    assert (signs * objectives.loss(one)).tolist() == list(one.values())
    for item, a, b in zip(objectives, objectives.loss(one), objectives.loss(two), strict=True):
        is_better = one[item.name] < two[item.name] if item.mode == "min" else one[item.name] > two[item.name]
        assert (a < b) == is_better


@given(objective_lists)
def test_the_log_form_gives_the_same_objectives(items: list[Any]) -> None:
    objectives = Objectives(items)
    again = Objectives.from_dict(json.loads(json.dumps(objectives.to_dict())))
    assert again == objectives
    assert hash(again) == hash(objectives)
    assert pickle.loads(pickle.dumps(objectives)) == objectives
    assert eval(repr(objectives)) == objectives


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_becomes_nan_in_its_place_only(bad: float) -> None:
    loss = THREE.loss({"val/acc": bad, "val_loss": 2.0, "cost_usd": 0.5})
    assert np.array_equal(loss, [math.nan, 2.0, 0.5], equal_nan=True)
    matrix = THREE.losses([[0.5, bad, 1.0], [0.25, 1.0, 2.0]])
    assert np.array_equal(matrix, [[-0.5, math.nan, 1.0], [-0.25, 1.0, 2.0]], equal_nan=True)


def test_losses_of_no_points_and_of_a_wrong_width() -> None:
    assert THREE.losses(np.empty((0, 3))).shape == (0, 3)
    for bad in ([[1.0, 2.0]] * 3, [1.0, 2.0, 3.0], []):
        with pytest.raises(ArgumentError, match=r"n_points, 3"):
            THREE.losses(bad)


def test_a_missing_metric_names_those_that_exist() -> None:
    with pytest.raises(MetricError, match=r"'val/acc'.*\[.*'val/acd'.*did you mean 'val/acd'"):
        THREE.loss({"val/acd": 1.0, "val_loss": 2.0, "cost_usd": 0.5})


def test_it_is_a_sequence_that_knows_its_names() -> None:
    assert THREE.names == ("val/acc", "val_loss", "cost_usd")
    assert THREE.metrics == ("val/acc", "val_loss")
    assert (len(THREE), THREE[0], list(THREE)[-1]) == (3, Metric("val/acc", "max"), Cost(0))
    assert Objectives(Metric("a", "min")).names == ("a",)
    assert Objectives(item for item in THREE) == THREE
    assert Objectives(list(THREE)[::-1]) != THREE


def test_long_names_of_directions_are_stored_short() -> None:
    assert Metric("a", "maximize") == Metric("a", "max")
    assert Metric("a", "minimize").mode == "min"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Metric("", "min"), r"Metric\.name"),
        (lambda: Metric(3, "min"), r"Metric\.name"),  # type: ignore[arg-type]
        (lambda: Metric("a", "down"), "'min' or 'max'"),
        (lambda: Metric("a", ["min"]), "'min' or 'max'"),  # type: ignore[arg-type]
        (lambda: Metric("train_s", "min"), r"use TrainSeconds\(\)"),
        (lambda: Metric("cost_usd", "min"), r"use Cost\(\)"),
        (lambda: Objectives("val_acc"), "a list such as"),  # type: ignore[arg-type]
        (lambda: Objectives(None), "a list such as"),  # type: ignore[arg-type]
        (lambda: Objectives(["val_acc"]), r"Metric\('val_acc', 'max'\)"),  # type: ignore[list-item]
        (lambda: Objectives([TrainSeconds]), "An objective needs a direction"),  # type: ignore[list-item]
        (lambda: Objectives([]), "at least one"),
        (lambda: Objectives([Cost(), Cost()]), "'cost_usd' occurs twice"),
        (lambda: Objectives([Metric("a", "min"), Metric("a", "max")]), "'a' occurs twice"),
    ],
)
def test_wrong_objectives_are_refused(make: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        make()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"across_ranks": "average"},
            "`Metric.across_ranks` is 'average'; allowed: 'mean', 'max', 'min', 'sum' or 'rank0'",
        ),
        ({"across_ranks": "means"}, "did you mean 'mean'"),
        ({"across_ranks": None}, "`Metric.across_ranks` is None"),
        ({"across_ranks": 0}, "`Metric.across_ranks` is 0"),
        ({"best": "yes"}, "`Metric.best` is 'yes'; allowed: True or False"),
        ({"best": 1}, "`Metric.best` is 1"),
        ({"best": None}, "`Metric.best` is None"),
    ],
)
def test_wrong_settings_of_a_metric_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        Metric("a", "min", **settings)
    assert told in str(refused.value)


def test_old_logs_have_the_default_settings() -> None:
    (old,) = Objectives.from_dict([{"name": "a", "mode": "min", "unit": ""}])
    assert old == Metric("a", "min", across_ranks="mean", best=False)
    assert Objectives([old]).to_dict() == [{"name": "a", "mode": "min", "unit": ""}]
