"""The benchmarks of plans: fitted speeds, costs without idle time, and figures from rows that are known."""

from __future__ import annotations

import itertools
import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks import allocation, rubberband
from benchmarks.brute_force_plans import brute_force_usd, small_jobs
from benchmarks.measured_speeds import CHEAP_PROBE, fitted_speeds, measured_apps, measured_speeds
from benchmarks.plan_bounds import least_usd
from lightning_hwtune.planning.job import Job, Stage, halving_stages
from lightning_hwtune.planning.nodes import NodeKind
from lightning_hwtune.planning.rubberband import cheapest_plan

HAS_DATA = (Path(os.environ.get("HWTUNE_DATA", "../shared/data")) / "scaling" / "pollux_placements.parquet").exists()
needs_data = pytest.mark.skipif(not HAS_DATA, reason="the folder scaling is not there: set HWTUNE_DATA")


def test_a_static_plan_without_idle_time_pays_what_trials_occupy() -> None:
    job = Job((Stage(3, 1), Stage(1, 1)), 100.0, {1: 1.0, 2: 1.6})
    kind = NodeKind(2, 2, 7200.0)  # a dollar per device-second
    assert rubberband.no_idle_usd(job, kind, 1000.0) == pytest.approx(400.0)
    assert rubberband.no_idle_usd(job, kind, 170.0) == pytest.approx(300.0 + 2 * 62.5)


def test_no_plan_costs_less_than_the_bound_and_a_simple_one_costs_just_that() -> None:
    kind = NodeKind(2, 4, 7200.0, launch_s=10.0)
    simple = Job((Stage(4, 1), Stage(2, 1)), 100.0, {1: 1.0, 2: 1.5})
    for deadline_s in (210.0, 1000.0):
        planned = cheapest_plan(simple, kind, deadline_s)
        assert least_usd(simple, kind, deadline_s) == pytest.approx(planned.usd)
    assert least_usd(simple, kind, 100.0) == math.inf
    n_found = 0
    for small in small_jobs(60, seed=5):
        job = Job(tuple(itertools.starmap(Stage, small.stages)), small.unit_s, small.speeds, small.start_s)
        kind = NodeKind(small.devices, small.most, small.usd_per_hour, small.launch_s)
        bound, least = least_usd(job, kind, small.deadline_s), brute_force_usd(small)
        assert bound <= least * (1 + 1e-9)
        n_found += least < math.inf
    assert n_found > 20


def test_the_figures_of_elastic_plans_are_those_of_the_rows() -> None:
    row: dict[str, Any] = {"deadline": 1.2, "ratio": 2.0, "ratio_no_idle": 1.1, "ratio_bound": 2.5, "overrun": 0.1}
    row["overrun_with_margin"] = -0.1
    rows = [row, row | {"ratio": 1.0, "overrun": None}, row | {"deadline": 2.0, "ratio": 1.25, "overrun": -0.2}]
    expected = {"ratio_at_1_2": 1.5, "ratio_at_2": 1.25, "ratio_no_idle": 1.1, "missed_share": 0.5}
    expected |= {"bound_at_1_2": 2.5, "bound_at_2": 2.5}
    assert rubberband.figures(rows) == expected
    found = rubberband.summary(rows)
    assert found["overrun"] == {"planned": 2, "missed": 0.5, "late_by": {"median": 0.1, "max": 0.1}}
    assert found["overrun_with_margin"]["late_by"] == {}


def test_the_figures_of_allocations_are_those_of_the_rows() -> None:
    row: dict[str, Any] = {"app": "a", "batch": 1, "pool": 8, "worst_over_best": 2.0}
    row |= {"cheap_probe": {"chosen": "2", "over_best": 0.05}, "8_probe": {"chosen": "4", "over_best": 0.0}}
    far = row | {"batch": 2, "pool": 64, "worst_over_best": 8.0, "cheap_probe": {"chosen": "8", "over_best": 0.06}}
    expected = {
        "worst_over_best_p8": 2.0,
        "worst_over_best_p64": 8.0,
        "within5_cheap_probe": 0.5,
        "within5_8_probe": 1.0,
    }
    assert allocation.figures([row, far]) == expected
    assert allocation.interval([row, far], "cheap_probe") == [0.0, 1.0]
    assert allocation.interval([row, far], "8_probe") == [1.0, 1.0]


@needs_data
@pytest.mark.data
def test_profiled_speeds_are_the_measured_ones_and_others_are_predicted() -> None:
    app = next(app for app in measured_apps() if app.name == "imagenet")
    measured, fitted, cheap = (
        measured_speeds(app, 1600),
        fitted_speeds(app, 1600),
        fitted_speeds(app, 1600, CHEAP_PROBE),
    )
    assert measured.keys() == fitted.keys() == cheap.keys() == {1, 2, 4, 8, 16, 32, 64}
    assert [fitted[count] for count in (1, 2, 4, 8)] == [measured[count] for count in (1, 2, 4, 8)]
    assert [cheap[count] for count in (1, 2, 4)] == [measured[count] for count in (1, 2, 4)]
    assert cheap[8] == pytest.approx(measured[8], rel=0.3)
    assert cheap[8] != measured[8]


@needs_data
@pytest.mark.data
def test_an_elastic_plan_is_cheaper_than_the_static_one_on_measured_speeds() -> None:
    app = next(app for app in measured_apps() if app.name == "imagenet")
    speeds = measured_speeds(app, 1600)
    job = Job(halving_stages(81, 81), 90.0, speeds, 20.0)
    row = rubberband.row_of(rubberband.Instance("imagenet", 1600, job, job, NodeKind(4, 16, 3.912, 60.0)), 1.2)
    assert 1.3 < row["ratio"] < 2.5
    assert 0.7 < row["ratio_no_idle"] < 1.1
    assert -0.3 < row["overrun"] <= 1e-9


@needs_data
@pytest.mark.data
def test_a_choice_by_the_measured_speeds_is_close_to_the_best() -> None:
    app = next(app for app in measured_apps() if app.name == "bert")
    cell = allocation.Cell(pool=8, trials=16, scheduler="asha")
    true = allocation.makespans(cell, measured_speeds(app, 96), (0, 1))
    again = allocation.makespans(cell, measured_speeds(app, 96), (9, 1))
    assert set(true) == {allocation.HALF, 1, 2, 4, 8}
    assert true[min(again, key=lambda count: again[count])] <= 1.2 * min(true.values())
