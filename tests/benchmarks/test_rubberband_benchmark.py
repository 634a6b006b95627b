"""The benchmark of elastic plans: measured speeds, costs without idle time, and figures from rows that are known."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.measured_speeds import APPS, Measured, measured_speeds, scaling_folder
from benchmarks.rubberband import figures, fitted_speeds, instances, no_idle_usd, row_of, summary
from lightning_hwtune.planning.job import Job, Stage
from lightning_hwtune.planning.nodes import NodeKind

needs_data = pytest.mark.skipif(scaling_folder() is None, reason="the folder scaling is not there: set HWTUNE_DATA")


@pytest.mark.parametrize(
    ("batch", "seconds"), [(4, 1.0), (6, 1.5), (8, 2.0), (16, 3.5), (12, 2.5), (2, None), (24, 5.0)]
)
def test_large_batches_are_accumulated_and_small_ones_are_left_out(batch: float, seconds: float | None) -> None:
    seen = Measured(local_batch=[4, 8], step_s=[1.0, 2.0], sync_s=[0.5, 0.5])
    assert seen.seconds(batch) == seconds


def test_a_static_plan_without_idle_time_pays_what_trials_occupy() -> None:
    job = Job((Stage(3, 1), Stage(1, 1)), 100.0, {1: 1.0, 2: 1.6})
    kind = NodeKind(2, 2, 7200.0)  # a dollar per device-second
    assert no_idle_usd(job, kind, 1000.0) == pytest.approx(400.0)
    assert no_idle_usd(job, kind, 170.0) == pytest.approx(300.0 + 2 * 62.5)


def test_the_figures_are_those_of_the_rows() -> None:
    row: dict[str, Any] = {
        "deadline": 1.2,
        "ratio": 2.0,
        "ratio_no_idle": 1.1,
        "overrun": 0.1,
        "overrun_with_margin": -0.1,
    }
    rows = [row, row | {"ratio": 1.0, "overrun": None}, row | {"deadline": 2.0, "ratio": 1.25, "overrun": -0.2}]
    assert figures(rows) == {"ratio_at_1_2": 1.5, "ratio_at_2": 1.25, "ratio_no_idle": 1.1, "missed_share": 0.5}
    found = summary(rows)
    assert found["overrun"] == {"planned": 2, "missed": 0.5, "late_by": {"median": 0.1, "max": 0.1}}
    assert found["overrun_with_margin"]["late_by"] == {}


@needs_data
@pytest.mark.data
@pytest.mark.parametrize("app", APPS)
def test_fitted_speeds_are_the_measured_ones_where_they_were_measured(app: str) -> None:
    batch = {"bert": 192, "cifar10": 16384, "deepspeech2": 1280, "imagenet": 3200, "ncf": 524288, "yolov3": 256}[app]
    measured, fitted = measured_speeds(app, batch), fitted_speeds(app, batch)
    assert measured.keys() == fitted.keys() >= {1, 2, 4, 8, 16}
    assert {count: fitted[count] for count in (1, 2, 4)} == {count: measured[count] for count in (1, 2, 4)}
    assert fitted[8] == pytest.approx(measured[8], rel=0.3)


@needs_data
@pytest.mark.data
def test_an_elastic_plan_is_cheaper_than_the_static_one_on_measured_speeds() -> None:
    item = next(item for item in instances(is_quick=True) if (item.app, item.multiple) == ("imagenet", 4))
    row = row_of(item, 1.2)
    assert 1.3 < row["ratio"] < 2.5
    assert 0.7 < row["ratio_no_idle"] < 1.1
    assert abs(row["overrun"]) < 0.5
