"""The fit of a scaling model: it finds known applications, and refuses points that cannot determine one."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scaling_examples import BATCH, LANGUAGE, LOOKUP, PER_NODE, VISION, plain_seconds, point, profile

from lightning_hwtune.core.hardware.scaling import ScalingModel, ScalingPoint, ScalingShape
from lightning_hwtune.core.hardware.scaling.step_time import FITTED, StepTime
from lightning_hwtune.errors import ArgumentError

APPS = [VISION, LANGUAGE, LOOKUP]


def error(model: ScalingModel, app: StepTime, devices: int, nodes: int) -> float:
    true = plain_seconds(app, devices, nodes, model.global_batch / devices)
    return abs(model.seconds_per_step(devices, nodes) / true - 1)


@given(
    st.sampled_from(APPS), st.integers(1, 64), st.integers(1, 16), st.floats(1, 1e4), st.integers(1, 8),
    st.floats(1, 10), st.floats(0, 1),
)  # fmt: skip
def test_the_formula_is_that_of_its_second_form(
    app: StepTime, devices: int, nodes: int, batch: float, steps: int, overlap: float, crowding: float
) -> None:
    nodes = min(devices, nodes)
    app = dataclasses.replace(app, overlap=overlap, crowding=crowding)
    expected = plain_seconds(app, devices, nodes, batch, steps)
    assert float(app.seconds(devices, nodes, batch, steps)) == pytest.approx(expected, rel=1e-9)


def test_seconds_of_many_sizes_are_those_of_each() -> None:
    sizes = np.array([(1, 1, 8, 1), (2, 1, 64, 2), (8, 2, 32, 1), (12, 3, 16, 4)]).T
    assert LANGUAGE.seconds(*sizes).tolist() == [float(LANGUAGE.seconds(*size)) for size in sizes.T]


@pytest.mark.parametrize("app", APPS)
def test_exact_points_are_met_and_larger_sizes_of_the_same_kind_predicted(app: StepTime) -> None:
    model = ScalingModel.fit(profile(app), PER_NODE)
    assert max(error(model, app, *size) for size in ((1, 1), (2, 1), (4, 1), (8, 2))) < 0.02
    assert max(error(model, app, *size) for size in ((16, 4), (32, 8))) < 0.25


@pytest.mark.parametrize("app", APPS)
def test_a_batch_that_does_not_fill_a_device_is_found_only_where_it_is(app: StepTime) -> None:
    points = [point(app, 1, 1, 2**power) for power in range(6, 14)] + [point(app, 2, 1, 256)]
    assert ScalingModel.fit(points, PER_NODE).step_time.full_batch == app.full_batch


def test_measured_growth_outweighs_what_was_assumed() -> None:
    app = dataclasses.replace(VISION, third_node=0.6, per_node=0.1)
    points = profile(VISION, nodes=False) + [point(app, 4 * nodes, nodes, 1920) for nodes in (2, 3, 4, 6, 8, 12)]
    found = ScalingModel.fit(points, PER_NODE).step_time
    assert found.third_node == pytest.approx(0.6, abs=0.08)
    assert found.per_node == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("factor", [4.0, 0.25])
def test_one_disturbed_point_changes_the_others_little(app: StepTime, factor: float) -> None:
    points = profile(app) + [point(app, 4 * nodes, nodes, 2 * BATCH[app]) for nodes in (2, 4, 8)]
    points += [point(app, devices, 1, BATCH[app] // 2) for devices in (2, 4)]
    points[2] = dataclasses.replace(points[2], seconds=points[2].seconds * factor)
    model = ScalingModel.fit(points, PER_NODE)
    assert max(error(model, app, *size) for size in ((1, 1), (2, 1), (4, 1), (8, 2))) < 0.12


@given(st.lists(st.floats(1e-3, 1e3), min_size=8, max_size=8), st.permutations(range(8)))
@settings(max_examples=5, deadline=None)
def test_whatever_was_measured_no_number_is_negative_and_the_sequence_is_irrelevant(
    seconds: list[float], places: list[int]
) -> None:
    points = [dataclasses.replace(item, seconds=s) for item, s in zip(profile(VISION), seconds, strict=True)]
    model, again = ScalingModel.fit(points, PER_NODE), ScalingModel.fit([points[place] for place in places], PER_NODE)
    assert model == again
    assert all(getattr(model.step_time, name) >= 0 for name in FITTED)
    assert math.isfinite(model.predict(16, 4).high)


@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_the_unit_of_time_does_not_matter(unit: float) -> None:
    model = ScalingModel.fit(profile(LANGUAGE), PER_NODE)
    other = ScalingModel.fit(
        [dataclasses.replace(item, seconds=unit * item.seconds) for item in model.points], PER_NODE
    )
    assert other.seconds_per_step(16, 4) == pytest.approx(unit * model.seconds_per_step(16, 4), rel=0.01)
    assert other.predict(16, 4).high == pytest.approx(unit * model.predict(16, 4).high, rel=0.02)


@pytest.mark.parametrize(
    ("points", "text"),
    [
        ([], "at least two points"),
        ([ScalingPoint(1, 1, 64, 1.0)], "how time scales"),
        ([ScalingPoint(2, 1, 64, 1.0)], "how time scales"),
        ([ScalingPoint(1, 1, 64, 1.0), ScalingPoint(1, 1, 64, 1.1)], "median of repeated"),
        ([ScalingPoint(2, 1, 64, 1.0), ScalingPoint(1, 1, 64, 2.0), ScalingPoint(2, 1, 64, 1.0)], "median of repeated"),
        ([ScalingPoint(1, 1, 64, 1.0), ScalingPoint(2, 1, 128, 1.1)], "different batches per device"),
        ([ScalingPoint(1, 1, 64, 1.0), ScalingPoint(8, 1, 64, 0.2)], "devices_per_node is 4"),
        ([ScalingPoint(1, 1, 64, 1.0), ScalingPoint(9, 2, 72, 0.2)], "at most 8 for 2 nodes"),
    ],
)
def test_points_that_cannot_determine_a_model_are_refused(points: list[ScalingPoint], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        ScalingModel.fit(points, PER_NODE)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ((0, 1, 64, 1.0), "devices"),
        ((-1, 1, 64, 1.0), "devices"),
        ((2, 0, 64, 1.0), "nodes"),
        ((2, 3, 64, 1.0), "nodes"),
        ((2, 1, 0, 1.0), "global_batch"),
        ((3, 1, 64, 1.0), "global_batch"),
        ((4, 1, 2, 1.0), "global_batch"),
        ((1, 1, 64, 1.0, 3), "global_batch"),
        ((1, 1, 64, 0.0), "seconds"),
        ((1, 1, 64, -1.0), "seconds"),
        ((1, 1, 64, math.nan), "seconds"),
        ((1, 1, 64, math.inf), "seconds"),
        ((1, 1, 64, 1e300), "seconds"),
        ((1, 1, 64, 1e-300), "seconds"),
        ((True, 1, 64, 1.0), "devices"),
        ((1, 1, 64, "fast"), "seconds"),
        ((1, 1, 64, 1.0, 0), "accumulate"),
    ],
)
def test_impossible_points_are_refused_by_name(values: tuple[Any, ...], name: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        ScalingPoint(*values)
    assert caught.value.argument == name


def test_a_point_survives_plain_data_and_a_wrong_form_is_refused() -> None:
    item = ScalingPoint(2, 1, 64, 0.5, 4)
    assert ScalingPoint.from_dict(item.to_dict()) == item
    for wrong in ({}, {"devices": 1}, item.to_dict() | {"batch": 3}, [1, 2, 3, 4]):
        with pytest.raises(ArgumentError):
            ScalingPoint.from_dict(wrong)  # type: ignore[arg-type]


def test_a_shape_is_learned_from_three_applications_and_used_where_nothing_was_measured() -> None:
    grown = [dataclasses.replace(app, third_node=0.7, per_node=0.05) for app in APPS]
    models = []
    for app, batch in zip(grown, (1920, 7680, 7680), strict=True):
        points = [point(app, 1, 1, batch // part) for part in (1, 2, 4, 8)]
        models.append(ScalingModel.fit(points + [point(app, 4 * n, n, batch) for n in (2, 3, 4, 6, 8, 16)], PER_NODE))
    with pytest.raises(ArgumentError, match="at least three"):
        ScalingShape.learned(models[:2])
    shape = ScalingShape.learned(models)
    assert shape.third_node[0] == pytest.approx(0.7, abs=0.1)
    app = dataclasses.replace(VISION, fixed_s=0.03, node_s=0.4, third_node=0.7, per_node=0.05)
    true = plain_seconds(app, 32, 8, 1024 / 32)
    profiled = [point(app, 1, 1, 1024), point(app, 1, 1, 256), point(app, 8, 2, 1024)]
    plain, learned = (ScalingModel.fit(profiled, PER_NODE, shape=s).predict(32, 8).seconds for s in (None, shape))
    assert abs(learned / true - 1) < 0.1
    assert abs(learned / true - 1) < abs(plain / true - 1) or abs(plain / true - 1) < 0.05


def test_the_noise_of_points_widens_the_interval_and_is_at_least_as_assumed() -> None:
    calm, noisy = (ScalingModel.fit(profile(VISION), PER_NODE, shape=ScalingShape(noise=n)) for n in (0.02, 0.2))
    assert (calm.fitted.spread, noisy.fitted.spread) == (0.02, 0.2)
    assert noisy.predict(4).high / noisy.predict(4).low > calm.predict(4).high / calm.predict(4).low
    factors = np.exp(0.3 * np.array([1, -1, 1, -1, 1, -1, 1, -1]))
    points = [dataclasses.replace(p, seconds=p.seconds * f) for p, f in zip(profile(VISION), factors, strict=True)]
    assert ScalingModel.fit(points, PER_NODE).fitted.spread > 0.15
    for wrong in (0.0, -0.1, 2.0, math.nan):
        with pytest.raises(ArgumentError, match="noise"):
            ScalingShape(noise=wrong)


@pytest.mark.parametrize("wrong", [1.6, (1.6,), (1.6, 0.0), (0.5, 1.0), (math.nan, 1.0), ("a", 1.0)])
def test_an_impossible_shape_is_refused(wrong: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        ScalingShape(overlap=wrong)
    assert caught.value.argument == "overlap"
