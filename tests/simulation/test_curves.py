from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_hwtune.core.space import Choice, Float, NumDevices, SearchSpace
from lightning_hwtune.core.streams import stream
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.simulation.curves import SyntheticCurves

SPACE = SearchSpace(lr=Float(1e-4, 1e-1, log=True), kind=Choice(["a", "b"]), devices=NumDevices(1, 2, 4))


def configs(n: int) -> list[dict[str, Any]]:
    return [SPACE.sample(stream(0, "test", i)) for i in range(n)]


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), resource=st.integers(1, 27), index=st.integers(0, 30))
def test_a_value_depends_on_seed_configuration_and_resource_alone(seed: int, resource: int, index: int) -> None:
    config = configs(31)[index]
    fresh, used = SyntheticCurves(SPACE, 27, seed), SyntheticCurves(SPACE, 27, seed)
    for other in configs(5):
        used.values(other, 27)
    assert fresh.values(config, resource) == used.values(config, resource)
    assert fresh.values({**config, "devices": 4}, resource) == fresh.values(config, resource)
    assert 0.0 <= fresh.values(config, resource)["error"] <= 1.0


def test_without_noise_errors_fall_toward_the_floor() -> None:
    curves = SyntheticCurves(SPACE, 81, noise=0.0)
    for config in configs(20):
        errors = [curves.values(config, r)["error"] for r in range(1, 82)]
        floor = curves.traits(config)[0]
        assert all(a > b > floor for a, b in itertools.pairwise(errors))
        assert 0.05 <= floor <= 0.45


def rank_agreement(crossing: float) -> float:
    """Mean rank correlation between the first and the last resource."""
    found = []
    for seed in range(5):
        curves = SyntheticCurves(SPACE, 81, seed, crossing=crossing, noise=0.0)
        first, last = ([curves.values(c, r)["error"] for c in configs(60)] for r in (1, 81))
        ranks = [np.argsort(np.argsort(values)) for values in (first, last)]
        found.append(np.corrcoef(*ranks)[0, 1])
    return float(np.mean(found))


def test_more_crossing_means_less_agreement_between_first_and_last() -> None:
    assert rank_agreement(0.0) > rank_agreement(0.5) > rank_agreement(1.0)


def test_devices_speed_up_less_than_linearly_and_cost_linearly() -> None:
    curves = SyntheticCurves(SPACE, 27, scaling=0.8, usd_per_device_hour=3.6)
    config = configs(1)[0]
    one, two = curves.elapsed_s(config, 27, 1), curves.elapsed_s(config, 27, 2)
    assert one / two == pytest.approx(2**0.8)
    assert curves.usd_per_s(config, 2) == pytest.approx(0.002)
    assert curves.elapsed_s(config, 9, 1) == pytest.approx(one / 3)
    assert curves.elapsed_s(config, 0, 1) == 0.0


def test_noise_has_the_deviation_asked_for() -> None:
    noisy, smooth = (SyntheticCurves(SPACE, 27, noise=noise) for noise in (0.02, 0.0))
    gaps = [noisy.values(c, r)["error"] - smooth.values(c, r)["error"] for c in configs(60) for r in (1, 5, 9)]
    assert np.std(gaps) == pytest.approx(0.02 * 0.85, rel=0.2)
    assert len(set(gaps)) == len(gaps)


@pytest.mark.parametrize(
    "wrong",
    [{"max_resource": 0}, {"crossing": 1.5}, {"noise": -1.0}, {"unit_s": 0.0}, {"best": 0.6, "spread": 0.5},
     {"usd_per_device_hour": float("inf")}],
)  # fmt: skip
def test_bad_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(reversed(wrong))):
        SyntheticCurves(**{"space": SPACE, "max_resource": 27, **wrong})


def test_options_may_be_lists_and_dicts() -> None:
    space = SearchSpace(layers=Choice([None, [1, 2], {"a": 1}, [[3], {"b": [4]}]]))
    curves = SyntheticCurves(space, 9)
    errors = {curves.values({"layers": option}, 9)["error"] for option in space["layers"].options}
    assert len(errors) == 4
    assert curves.values({"layers": [1, 2]}, 9) == curves.values({"layers": [1, 2]}, 9)
