"""Which sizes a profile measures, and how steps become seconds."""

from __future__ import annotations

import math
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.engine.profile_sizes import profile_sizes
from lightning_hwtune.engine.profiling import step_s
from lightning_hwtune.errors import ArgumentError

LR = hwt.Float(1e-4, 1e-1)
BATCH = hwt.Choice([64, 128])


def spec(pool: int = 4, **space: Any) -> StudySpec:
    batch = space.pop("batch", "global")
    made = hwt.SearchSpace(lr=LR, **space)
    objectives = Objectives([Metric("error", "min")])
    return StudySpec("s", made, objectives, ASHA(9), Random(), Pool("cpu", pool), batch=batch)


def sizes(study: StudySpec, config: dict[str, Any], counts: Any = None, batch: int | None = None) -> list[Any]:
    found = profile_sizes(study, {"lr": 0.01, **config}, counts, batch)
    return [(size.devices, size.config.get("batch_size"), size.is_whole) for size in found]


@pytest.mark.parametrize(
    ("study", "config", "counts", "batch", "expected"),
    [
        (spec(batch_size=BATCH), {"batch_size": 64}, None, None,
         [(1, 64, True), (1, 16, False), (1, 32, False), (2, 64, True), (4, 64, True)]),
        (spec(2, batch_size=BATCH, devices=hwt.NumDevices(1, 2)), {"batch_size": 64, "devices": 2}, None, None,
         [(1, 64, True), (1, 16, False), (1, 32, False), (2, 64, True)]),
        (spec(batch_size=BATCH), {"batch_size": 64}, [4], None,
         [(1, 64, True), (1, 16, False), (1, 32, False), (4, 64, True)]),
        (spec(batch_size=BATCH), {"batch_size": 64}, [2, 1], 8,
         [(1, 8, True), (1, 2, False), (1, 4, False), (2, 8, True)]),
        (spec(batch_size=BATCH, devices=hwt.NumDevices(3, 4)), {"batch_size": 64, "devices": 4}, None, 96,
         [(1, 96, True), (1, 24, False), (1, 32, False), (1, 48, False), (3, 96, True), (4, 96, True)]),
        (spec(6, batch_size=hwt.Int(1, 99)), {"batch_size": 6}, None, None,
         [(1, 6, True), (1, 3, False), (2, 6, True)]),
        (spec(batch_size=BATCH, batch="per_device"), {"batch_size": 64}, None, None,
         [(1, 64, True), (1, 16, False), (1, 32, False), (2, 32, True), (4, 16, True)]),
        (spec(), {}, None, None, [(1, None, True), (2, None, True), (4, None, True)]),
        (spec(1, batch_size=BATCH), {"batch_size": 64}, None, None, [(1, 64, True), (1, 16, False), (1, 32, False)]),
    ],
)  # fmt: skip
def test_the_sizes_of_a_profile(
    study: StudySpec, config: dict[str, Any], counts: Any, batch: int | None, expected: list[Any]
) -> None:
    assert sorted(sizes(study, config, counts, batch), key=str) == sorted(expected, key=str)


def test_the_number_of_devices_is_in_the_configuration() -> None:
    study = spec(batch_size=BATCH, devices=hwt.NumDevices(1, 4))
    found = profile_sizes(study, {"lr": 0.01, "batch_size": 64, "devices": 4}, None, None)
    assert all(size.config["devices"] == size.devices for size in found)


@pytest.mark.parametrize(
    ("study", "config", "counts", "batch", "text"),
    [
        (spec(2), {}, [4], None, "at most 2"),
        (spec(), {}, None, 64, "no parameter called batch_size"),
        (spec(batch_size=BATCH), {"batch_size": 64}, [3], None, "multiple of 3"),
        (spec(batch_size=BATCH), {"batch_size": 64}, [1, 4], 10, "multiple of 4"),
        (spec(batch_size=BATCH), {"batch_size": 64}, [4], 2, "multiple of 4"),
        (spec(a__batch_size=BATCH, batch_size=BATCH), {"batch_size": 64}, [4], 65, "multiple of 4"),
    ],
)
def test_sizes_that_cannot_be_measured_are_refused(
    study: StudySpec, config: dict[str, Any], counts: Any, batch: int | None, text: str
) -> None:
    with pytest.raises(ArgumentError, match=text):
        sizes(study, config, counts, batch)


def test_several_batch_sizes_change_by_the_same_factor_or_not_at_all() -> None:
    space = hwt.SearchSpace({"a.batch_size": BATCH, "b.batch_size": hwt.Choice([6, 9])})
    study = StudySpec("s", space, Objectives([Metric("error", "min")]), ASHA(9), Random(), Pool("cpu", 2))
    found = profile_sizes(study, {"a.batch_size": 64, "b.batch_size": 6}, [1, 2], 128)
    assert {tuple(size.config.values()) for size in found} == {(128, 12), (64, 6), (32, 3)}
    with pytest.raises(ArgumentError, match="same factor"):
        profile_sizes(study, {"a.batch_size": 64, "b.batch_size": 9}, [1, 2], None)


@pytest.mark.parametrize(
    ("batches", "accumulate", "expected"),
    [
        ([9.0] * 5 + [1.0, 2.0, 3.0, 2.0, 2.0], 1, (2.0, 5)),
        ([9.0, 9.0, 1.0, 2.0], 1, (1.5, 2)),  # a short training: half of it is dropped
        ([7.0], 1, (7.0, 1)),
        ([9.0] * 5 + [1.0, 1.0, 4.0, 1.0, 1.0, 9.0, 5.0], 3, (8.5, 6)),
        ([9.0] * 5 + [1.0, 100.0, 1.0, 1.0, 1.0], 1, (1.0, 5)),
    ],
)
def test_a_step_is_the_median_without_the_first_batches(
    batches: list[float], accumulate: int, expected: tuple[float, int]
) -> None:
    assert step_s(batches, accumulate) == expected


@pytest.mark.parametrize(("batches", "accumulate"), [([], 1), ([1.0, 1.0], 2), ([], 4)])
def test_too_few_batches_have_no_step(batches: list[float], accumulate: int) -> None:
    seconds, n_batches = step_s(batches, accumulate)
    assert math.isnan(seconds)
    assert n_batches == 0
