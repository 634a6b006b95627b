"""Resolution: a fixed grid whose cells are ties, in losses, in stored objectives and in continued studies."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lightning_hwtune as hwt
from lightning_hwtune.core.continuation import kept_objectives
from lightning_hwtune.core.objectives import RESOLUTION, Cost, DeviceSeconds, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.ranking.fronts import front_ranks, is_dominated
from lightning_hwtune.core.ranking.rung import RungRanking
from lightning_hwtune.core.resolution import rounded
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.errors import ArgumentError, UnknownArgumentError
from lightning_hwtune.settings import StudySettings

VALUE = st.floats(allow_nan=True, allow_infinity=True)
SIZE = st.sampled_from([0.0, 1e-9, 0.01, 0.05, 0.3, 1.0])


@given(VALUE, VALUE, SIZE, st.booleans())
def test_rounding_keeps_the_order_and_is_final(a: float, b: float, resolution: float, is_relative: bool) -> None:
    low, high = (rounded(x, resolution, is_relative=is_relative) for x in sorted([a, b], key=lambda x: (x != x, x)))
    assert not low > high
    assert math.isfinite(low) == math.isfinite(min(a, b)) or math.isnan(a) or math.isnan(b)
    assert rounded(low, resolution, is_relative=is_relative) == low or math.isnan(low)


@given(st.floats(1e-6, 1e9), st.sampled_from([0.01, 0.05, 0.3]))
def test_a_value_moves_by_at_most_half_a_cell(value: float, resolution: float) -> None:
    factor = rounded(value, resolution, is_relative=True) / value
    assert abs(math.log(factor)) <= math.log1p(resolution) / 2 * (1 + 1e-9)
    assert abs(rounded(value, resolution, is_relative=False) - value) <= resolution / 2 * (1 + 1e-6) + 1e-16 * value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, 1.7e308, 5e-324, 0.0])
@pytest.mark.parametrize("resolution", [0.0, 1e-300, 0.05, 1.0, 1e300])
@pytest.mark.parametrize("is_relative", [False, True])
def test_extreme_values_stay_what_they_are(value: float, resolution: float, is_relative: bool) -> None:
    found = rounded(value, resolution, is_relative=is_relative)
    assert math.isfinite(found) == math.isfinite(value)
    assert found >= 0 or not value >= 0


@pytest.mark.parametrize(
    ("objective", "same", "other"),
    [
        (TrainSeconds(resolution=0.05), (97.0, 99.0), 103.0),
        (DeviceSeconds(resolution=0.3), (1.0, 1.1), 1.4),
        (Cost(resolution=0.05), (0.00097, 0.00099), 0.00103),
        (TrainSeconds(), (10.0, 10.0 + 1e-6), 10.3),
        (Metric("e", "min", resolution=0.01), (0.121, 0.123), 0.129),
        (Metric("e", "max", resolution=0.5), (-3.1, -2.9), -2.0),
        (Metric("e", "min"), (0.1, 0.1), 0.1 + 1e-12),
    ],
)
def test_values_in_one_cell_are_ties(objective: Any, same: tuple[float, float], other: float) -> None:
    objectives = Objectives([objective])
    a, b, c = (objectives.loss({objective.name: value})[0] for value in (*same, other))
    assert a == b != c
    assert objectives.losses([[same[0]], [same[1]], [other]])[:, 0].tolist() == [a, b, c]


def test_microseconds_do_not_decide_who_is_on_the_front() -> None:
    values = [{"e": 0.1, "train_s": 10.000003}, {"e": 0.1, "train_s": 10.000001}, {"e": 0.2, "train_s": 9.999999}]
    rounds, exact = (Objectives([Metric("e", "min"), TrainSeconds(size)]) for size in (RESOLUTION, 0.0))
    assert front_ranks([rounds.loss(value) for value in values]).tolist() == [0, 0, 1]
    assert front_ranks([exact.loss(value) for value in values]).tolist() == [1, 0, 0]


POINTS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 60)), min_size=1, max_size=20)


@given(POINTS, st.sampled_from(["hypervolume_contribution", "farthest_first", "crowding", "weighted"]), st.randoms())
def test_the_order_with_a_resolution_is_an_order(points: list[tuple[int, int]], within: str, random: Any) -> None:
    """Fronts do not depend on the sequence of arrivals, a dominating trial is first, and ties go to the lower id."""
    objectives = Objectives([Metric("e", "min", resolution=5.0), TrainSeconds(resolution=0.3)])
    losses = [objectives.loss({"e": e, "train_s": s}) for e, s in points]
    arrivals = list(range(len(losses)))
    random.shuffle(arrivals)
    orders = []
    for ids in (range(len(losses)), arrivals):
        rung = RungRanking(2, within)
        for trial_id in ids:
            rung.insert(trial_id, losses[trial_id])
        orders.append(rung.order())
    assert orders[0] == orders[1]
    best = objectives.loss({"e": -50, "train_s": 0.1})
    assert is_dominated(losses[0], [best])
    rung.insert(len(losses), best)
    assert rung.order()[0] == len(losses)


# ---------------------------------------------------------------------- stored and continued studies


@pytest.mark.parametrize("kind", [TrainSeconds, DeviceSeconds, Cost])
def test_stored_objectives_without_a_resolution_have_none(kind: Any) -> None:
    old = Objectives.from_dict([{"name": kind.name, "mode": "min", "unit": kind.unit}])
    assert old[0].resolution == 0
    assert old.to_dict() == [{"name": kind.name, "mode": "min", "unit": kind.unit}]
    new = Objectives([kind(), Metric("e", "min", resolution=0.1)])
    assert Objectives.from_dict(new.to_dict()) == new
    assert kept_objectives(_stored(old), Objectives([kind()]), is_constrained=False) == old
    given = Objectives([kind(resolution=RESOLUTION)])
    assert kept_objectives(_stored(old), given, is_constrained=False)[0].resolution == RESOLUTION


def _stored(objectives: Objectives) -> StudySpec:
    pool = hwt.Pool("cpu", 1, usd_per_device_hour=1.0)
    return StudySpec("s", hwt.SearchSpace(x=hwt.Float(0, 1)), objectives, hwt.ASHA(9), hwt.Random(), pool)


def train(trial: Any) -> None:
    for epoch in range(1, trial.max_epochs + 1):
        trial.report(epoch, e=trial["x"] + 1 / epoch)


def test_another_resolution_of_a_stored_study_is_refused(tmp_path: Path) -> None:
    def study(*resolution: float) -> hwt.Study:
        objectives = [Metric("e", "min"), TrainSeconds(*resolution)]
        return hwt.Study("s", {"x": hwt.Float(0, 1)}, objectives, max_epochs=1, dir=tmp_path)

    study(0.05).run(train, max_trials=1, executor="inline", check=False, progress=False)
    assert study().spec.objectives[1].resolution == 0.05
    with pytest.raises(hwt.StudyMismatchError, match=r"objectives.*0\.05"):
        study(0.1)


# ---------------------------------------------------------------------- arguments


@pytest.mark.parametrize("wrong", [-0.1, 1.5, math.nan, "5%", None, True])
@pytest.mark.parametrize("kind", [TrainSeconds, DeviceSeconds, Cost])
def test_a_wrong_relative_resolution_is_refused(kind: Any, wrong: Any) -> None:
    with pytest.raises(ArgumentError, match=rf"`{kind.__name__}.resolution` is .*from 0 to 1"):
        kind(resolution=wrong)


@pytest.mark.parametrize("wrong", [-1e-9, math.inf, "fine", None])
def test_a_wrong_resolution_of_a_metric_is_refused(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match=r"`Metric\.resolution` is .*at least 0"):
        Metric("e", "min", resolution=wrong)


def settings(*objectives: Any) -> StudySettings:
    space = {"x": {"type": "float", "low": 0, "high": 1}}
    data = {"study": "s", "train": "m:f", "space": space, "objectives": list(objectives), "max_epochs": 9}
    return StudySettings.from_dict(data)


def test_a_study_file_has_resolutions() -> None:
    listed = [{"measured": "device_s", "resolution": 0.1}, {"metric": "e", "mode": "min", "resolution": 1e-3}]
    found = settings(*listed).study_kwargs()["objectives"]
    assert list(found) == [DeviceSeconds(0.1), Metric("e", "min", resolution=1e-3)]
    for word in ("train_s", {"measured": "train_s", "resolution": None}):
        assert list(settings(word).study_kwargs()["objectives"]) == [TrainSeconds()]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"measured": "train"}, r"`objectives\.measured` is 'train'.*did you mean 'train_s'"),
        ({"measured": "train_s", "resolution": 2}, r"`objectives\.TrainSeconds\.resolution` is 2|resolution` is 2"),
        ({"measured": "train_s", "mode": "min"}, r"mode"),
    ],
)
def test_a_wrong_measured_objective_in_a_study_file_is_refused(wrong: Any, text: str) -> None:
    with pytest.raises((ArgumentError, UnknownArgumentError), match=text):
        settings(wrong).study_kwargs()


def test_both_ways_to_losses_agree_at_the_edges_of_cells() -> None:
    objectives = Objectives([TrainSeconds(resolution=0.05)])
    edges = np.exp((np.arange(-200, 200) + 0.5) * math.log1p(0.05))
    assert objectives.losses(edges[:, None])[:, 0].tolist() == [objectives.loss({"train_s": x})[0] for x in edges]
