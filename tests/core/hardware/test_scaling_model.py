"""A fitted scaling model: what it predicts, what it says about its certainty, and what it refuses."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pytest
from scaling_examples import BATCH, LANGUAGE, LOOKUP, PER_NODE, VISION, plain_seconds, point, profile

from lightning_hwtune.core.hardware.scaling import ScalingModel, ScalingPoint, ScalingShape
from lightning_hwtune.core.hardware.scaling.step_time import StepTime
from lightning_hwtune.errors import ArgumentError, UnknownArgumentError


@functools.cache
def model_of(app: StepTime, **options: Any) -> ScalingModel:
    return ScalingModel.fit(profile(app), PER_NODE, **options)


@pytest.mark.parametrize("app", [VISION, LANGUAGE])
def test_speed_up_is_a_ratio_of_seconds(app: StepTime) -> None:
    model = model_of(app)
    assert model.speed_up(1) == 1.0
    assert model.speed_up(4) == pytest.approx(model.seconds_per_step(1) / model.seconds_per_step(4, 1))
    assert model.speed_up(8, nodes=2, reference=4) == pytest.approx(model.speed_up(8) / model.speed_up(4))
    assert 1.5 < model.speed_up(4) < 4.0


def test_the_nodes_are_as_few_as_possible_where_they_are_not_given() -> None:
    model = model_of(VISION)
    assert model.seconds_per_step(4) == model.seconds_per_step(4, 1)
    assert model.seconds_per_step(8) == model.seconds_per_step(8, 2)
    assert model.seconds_per_step(4, 2) > 1.3 * model.seconds_per_step(4, 1)


@pytest.mark.parametrize(
    ("local", "size", "probe"),
    [
        (True, (8, None), "one probe on 2 full nodes (8 devices)"),
        (True, (2, 2), "one probe on 2 full nodes (8 devices)"),
        (True, (32, 8), "one probe on 2 full nodes (8 devices)"),
        (False, (8, 2), "one probe on 2 full nodes (8 devices)"),
        (False, (2, None), "one probe on one full node (4 devices)"),
        (False, (4, 1), "one probe on one full node (4 devices)"),
    ],
)
def test_a_boundary_that_was_never_measured_is_refused_with_the_probe_to_run(
    local: bool, size: tuple[int, int | None], probe: str
) -> None:
    model = ScalingModel.fit(profile(VISION, local=local, nodes=False), PER_NODE)
    for question in (model.seconds_per_step, model.predict, model.is_extrapolated, model.speed_up):
        with pytest.raises(ArgumentError) as caught:
            question(*size)
        assert probe in str(caught.value)
    assert model.missing_probe(size[0], size[1] or -(-size[0] // PER_NODE)) == probe
    assert not model.allows(*size)
    assert model.seconds_per_step(1) > 0


def test_one_probe_on_two_full_nodes_lifts_the_refusal_of_several_nodes_only() -> None:
    model = ScalingModel.fit([*profile(VISION, local=False, nodes=False), point(VISION, 8, 2, 1024)], PER_NODE)
    assert model.missing_probe(16, 4) is None
    assert model.allows(16, 4)
    assert not model.allows(3, 2)
    assert model.predict(16, 4).is_extrapolated
    assert not model.predict(8, 2).is_extrapolated
    with pytest.raises(ArgumentError, match="one probe on one full node"):
        model.seconds_per_step(2)


def test_nodes_of_one_device_have_no_inside() -> None:
    points = [ScalingPoint(1, 1, 64, 1.0), ScalingPoint(1, 1, 32, 0.55), ScalingPoint(2, 2, 64, 0.7)]
    model = ScalingModel.fit(points, devices_per_node=1)
    assert model.missing_probe(nodes=1) is None
    assert model.seconds_per_step(4) == model.seconds_per_step(4, 4)


@pytest.mark.parametrize(
    ("size", "reasons"),
    [
        ((1,), []),
        ((4,), []),
        ((8, 2), []),
        ((16, 4), ["measured: at most 2 nodes"]),
        ((4, 2), []),
        ((8, 2, 16), ["measured: batches from 64 to 1024 per device, not 2"]),
        ((1, 1, 2048), ["measured: batches from 64 to 1024 per device, not 2048"]),
    ],
)
def test_a_size_outside_of_what_was_measured_is_named(size: tuple[int, ...], reasons: list[str]) -> None:
    model = model_of(VISION)
    assert list(model.predict(*size).extrapolated) == reasons
    assert model.is_extrapolated(*size) == bool(reasons)


def test_more_devices_than_were_measured_together_are_an_extrapolation() -> None:
    points = [point(VISION, 1, 1, 1024), point(VISION, 2, 1, 1024), point(VISION, 2, 2, 1024)]
    model = ScalingModel.fit(points, PER_NODE)
    assert model.predict(4, 1, 2048).extrapolated == ("measured: at most 2 devices of one node",)
    assert model.predict(8, 2, 4096).extrapolated == ("measured: at most 1 device per node on several nodes",)
    uneven = ScalingModel.fit([*points[:2], point(VISION, 3, 2, 1536)], PER_NODE)
    assert uneven.predict(8, 2, 4096).extrapolated == ("measured: at most 1.5 devices per node on several nodes",)
    without = ScalingModel.fit([point(VISION, 2, 1, 1024), point(VISION, 4, 1, 1024)], PER_NODE)
    assert without.predict(1, 1, 512).extrapolated == ("one device alone was not measured",)


@pytest.mark.parametrize("app", [VISION, LANGUAGE, LOOKUP])
def test_the_interval_holds_the_truth_and_is_wider_further_away(app: StepTime) -> None:
    model = model_of(app)
    near, far, further = model.predict(8, 2), model.predict(16, 4), model.predict(64, 16)
    for found, (devices, nodes) in ((near, (8, 2)), (far, (16, 4))):
        assert found.low < plain_seconds(app, devices, nodes, BATCH[app] / devices) < found.high
        assert found.low < found.seconds < found.high
    assert near.high / near.low < far.high / far.low < further.high / further.low
    assert model.predict(8, level=0.5).high < near.high < model.predict(8, level=0.99).high


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, 2.0, float("nan")])
def test_an_impossible_level_is_refused(level: float) -> None:
    with pytest.raises(ArgumentError, match="level"):
        model_of(VISION).predict(1, level=level)


def test_throughput_that_falls_with_devices_is_shown_and_such_counts_are_left_out() -> None:
    across = dataclasses.replace(VISION, node_s=0.4)
    slow = dataclasses.replace(LOOKUP, local_s=0.02)
    slow_points = [point(slow, 2, 1, 8192), point(slow, 4, 1, 8192)]
    model = ScalingModel.fit(profile(LOOKUP, local=False) + slow_points, PER_NODE, global_batch=8192)
    assert model.speed_up(2) < 1
    assert model.useful_counts([1, 2, 4, 8]) == (1,)
    assert ScalingModel.fit(profile(across), PER_NODE).useful_counts([8, 4, 2, 1, 2]) == (1, 2, 4)
    assert model_of(LANGUAGE).useful_counts([1, 2, 3, 4, 8]) == (1, 2, 3, 4, 8)


@pytest.mark.parametrize(("batch", "counts"), [(10, [4, 8]), (3, [2, 4]), (1, [2]), (6, [4])])
def test_a_batch_that_divides_among_no_allowed_count_is_refused(batch: int, counts: list[int]) -> None:
    model = model_of(VISION)
    with pytest.raises(ArgumentError, match="a multiple of one of the device counts"):
        model.useful_counts(counts, batch)
    with pytest.raises(ArgumentError, match=f"a multiple of {counts[0]}"):
        model.seconds_per_step(counts[0], None, batch)


def test_accumulation_fills_a_batch_that_does_not_fit_into_memory() -> None:
    limited, free = model_of(VISION, max_per_device_batch=256), model_of(VISION)
    found = limited.predict(1)
    assert (found.accumulate, found.per_device_batch) == (4, 256)
    assert found.seconds == pytest.approx(4 * free.seconds_per_step(1, 1, 256))
    assert limited.predict(4).accumulate == 1
    assert limited.predict(2, None, 1026).per_device_batch == 171  # 513 = 3 x 171: equal parts
    assert limited.speed_up(4) > free.speed_up(4)


@pytest.mark.parametrize(
    ("size", "name"),
    [
        ((0,), "devices"),
        ((2.5,), "devices"),
        ((True,), "devices"),
        ((2, 3), "nodes"),
        ((2, 0), "nodes"),
        ((8, 1), "devices"),
        ((9, 2), "devices"),
        ((3,), "global_batch"),
        ((4, 1, 2), "global_batch"),
        ((1, 1, 0), "global_batch"),
    ],
)
def test_impossible_sizes_are_refused_by_name(size: tuple[Any, ...], name: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        model_of(VISION).seconds_per_step(*size)
    assert caught.value.argument == name


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: ScalingPoint(1, 1, 64, second=1.0), "seconds"),  # type: ignore[call-arg]
        (lambda: model_of(VISION).predict(1, levels=0.5), "level"),  # type: ignore[call-arg]
        (lambda: model_of(VISION).seconds_per_step(1, node=1), "nodes"),  # type: ignore[call-arg]
        (lambda: ScalingModel.fit([], PER_NODE, max_per_device=3), "max_per_device_batch"),  # type: ignore[call-arg]
    ],
)
def test_a_misspelt_argument_gets_the_right_name(call: Any, name: str) -> None:
    with pytest.raises(UnknownArgumentError, match=name):
        call()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda model: model.useful_counts([]), "counts"),
        (lambda model: model.useful_counts([0, 1]), "counts"),
        (lambda model: model.useful_counts([1.5]), "counts"),
        (lambda model: model.useful_counts("12"), "counts"),
        (lambda model: model.useful_counts(3), "counts"),
        (lambda model: model.missing_probe(nodes=-1), "nodes"),
        (lambda model: model.missing_probe(0.5), "devices"),
        (lambda model: ScalingModel.fit(None, PER_NODE), "points"),
        (lambda model: ScalingModel.fit([{"devices": 1}], PER_NODE), "points"),
        (lambda model: ScalingModel.fit(model.points[0], PER_NODE), "points"),
        (lambda model: ScalingModel.fit(model.points, 0), "devices_per_node"),
        (lambda model: ScalingModel.fit(model.points, PER_NODE, shape=3), "shape"),
        (lambda model: ScalingModel.fit(model.points, PER_NODE, max_per_device_batch=0), "max_per_device_batch"),
        (lambda model: ScalingModel.fit(model.points, PER_NODE, global_batch="64"), "global_batch"),
        (lambda model: ScalingShape.learned([model, model, 3]), "models"),
        (lambda model: ScalingShape.learned(3), "models"),
    ],
)
def test_values_of_a_wrong_kind_are_refused_by_name(call: Any, name: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        call(model_of(VISION))
    assert caught.value.argument == name


def test_the_missing_probe_of_a_number_of_devices_is_that_of_its_nodes() -> None:
    model = ScalingModel.fit(profile(VISION, nodes=False), PER_NODE)
    assert model.missing_probe() is model.missing_probe(4) is None
    assert model.missing_probe(5) == model.missing_probe(nodes=2) == "one probe on 2 full nodes (8 devices)"


@pytest.mark.parametrize(
    ("seconds", "least"), [((1.0, 1.0, 1.0), 0.9), ((1.0, 2.0, 4.0), 0.24), ((1.0, 0.3, 0.1), 3.9)]
)
def test_flat_falling_and_superlinear_throughput(seconds: tuple[float, ...], least: float) -> None:
    points = [ScalingPoint(devices, 1, 64, s) for devices, s in zip((1, 2, 4), seconds, strict=True)]
    assert least < ScalingModel.fit(points, PER_NODE).speed_up(4) < least + 0.2  # at most linear
