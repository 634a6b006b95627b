"""The way to run a study with a deadline, chosen by simulations before it begins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core.objectives import Objectives
from lightning_hwtune.core.searchers import Random
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.planning.deadline_choice import PLAIN, WAYS, WIDER, AtSpeeds, LikelyStudy, best_way
from lightning_hwtune.simulation.curves import Curves, SyntheticCurves

SPACE = hwt.SearchSpace(x=hwt.Float(0, 1), y=hwt.Float(0, 1))
SPEEDS = {1: 2.0, 2: 3.8, 4: 7.0}


class LateBloomers:
    """All trials are equally bad until the last epoch of their full training, which takes 27 seconds."""

    metrics, max_resource = ("error",), 27

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        return {"error": 0.1 + 0.01 * config["x"] if resource == 27 else 0.9 - 0.001 * resource}

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        return float(resource)

    def usd_per_s(self, config: Mapping[str, Any], num_devices: int) -> float:
        return 0.0


def likely(curves: Curves, deadline_s: float, seed: int, mode: str = "min") -> LikelyStudy:
    objectives, scheduler = Objectives([hwt.Metric("error", mode)]), hwt.ASHA(27, first_rung=3)
    spec = StudySpec("s", SPACE, objectives, scheduler, Random(), hwt.Pool("cpu", 4), seed=seed)
    return LikelyStudy(spec, AtSpeeds(curves, SPEEDS), deadline_s, start_s=2.0)


def test_devices_are_chosen_for_the_deadline_where_only_a_full_training_counts() -> None:
    found = best_way([likely(LateBloomers(), 22.0, seed) for seed in range(2)])
    assert found.way.name == "deadline"
    assert found.gains["deadline"][0] == pytest.approx(1.0, abs=0.05), "it has a full training, and plain training none"
    assert found.gains["fixed"][0] < 0.1, "one device is too slow for a full training"


def test_plain_training_is_chosen_where_nothing_is_better() -> None:
    early = [likely(SyntheticCurves(SPACE, 27, seed=seed, unit_s=1.0), 40.0, seed) for seed in range(2)]
    assert best_way(early, WAYS[:1]).gains.keys() == {"fixed"}
    equal = [likely(Equal(), 24.0, seed) for seed in range(2)]
    found = best_way(equal)
    assert found.way == PLAIN
    assert found.gains == {"fixed": (0.0, 0.0), "deadline": (0.0, 0.0)}


class Equal(LateBloomers):
    """Every report has the same value."""

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        return {"error": 0.5}


def test_reports_after_the_deadline_do_not_count_and_maximised_values_are_turned_around() -> None:
    study = likely(LateBloomers(), 22.0, 0)
    assert min(study.losses(PLAIN)) > 0.8
    assert min(study.losses(WAYS[1])) < 0.2
    assert max(likely(LateBloomers(), 22.0, 0, mode="max").losses(PLAIN)) < 0.0
    assert likely(LateBloomers(), 2.0, 0).losses(PLAIN) == []


def test_a_wider_pool_has_the_same_money() -> None:
    study = likely(LateBloomers(), 22.0, 0)
    plain, wide = study.losses(WAYS[0]), study.losses(WIDER[-1])
    assert len(wide) > 0.5 * len(plain)
    assert [way.width for way in WIDER] == [1.25, 1.5, 2.0]
    assert likely(LateBloomers(), 3.0, 0).losses(WIDER[-1]) == [], "each of twice as many devices has half of the time"
    assert likely(LateBloomers(), 6.5, 0).losses(WIDER[-1]) != []


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"studies.*at least two"):
        best_way([likely(LateBloomers(), 22.0, 0)])
    for wrong in ({2: 1.0}, {1: 0.0}, {1: math.nan}):
        with pytest.raises(ArgumentError, match="speeds"):
            AtSpeeds(LateBloomers(), wrong)
    with pytest.raises(ArgumentError, match=r"3.*one with a speed, \[1, 2, 4\]"):
        AtSpeeds(LateBloomers(), SPEEDS).elapsed_s({}, 1, 3)
