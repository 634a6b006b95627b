"""The pace that a check measures, in the unit in which a study counts."""

from __future__ import annotations

import math

import pytest

from lightning_hwtune.core.report_places import ReportPlaces
from lightning_hwtune.engine.check import _unit_s
from lightning_hwtune.engine.check_segment import CheckSegment
from lightning_hwtune.training.channel import Probe, Report


def trained(*reports: Report) -> CheckSegment:
    found = CheckSegment(plan=lambda report: False)
    found.reports.extend(reports)
    return found


def probed(resource: int, train_s: float, epoch_s: float, per_epoch: float) -> Report:
    places = None if math.isnan(per_epoch) else ReportPlaces(per_epoch, per_epoch)
    return Report(resource, {"error": 0.5}, train_s, probe=Probe(("error",), epoch_s, 0, places))


@pytest.mark.parametrize(
    ("unit", "per_epoch", "unit_s"),
    [("epochs", math.nan, 6.0), ("steps", 30.0, 0.2), ("samples", 3000.0, 0.002), ("steps", math.nan, math.nan)],
)
def test_a_lightning_epoch_is_divided_by_what_it_has_of_the_unit(unit: str, per_epoch: float, unit_s: float) -> None:
    found = trained(probed(1, 1.0, 8.0, per_epoch), probed(2, 2.0, 6.0, per_epoch))
    assert _unit_s(found, unit) == pytest.approx(unit_s, nan_ok=True)


@pytest.mark.parametrize(("unit", "resources", "unit_s"), [("epochs", (1, 2), 3.0), ("steps", (50, 100), 0.06)])
def test_a_loop_of_the_users_own_is_measured_between_its_reports(
    unit: str, resources: tuple[int, int], unit_s: float
) -> None:
    found = trained(*(Report(at, {"error": 0.5}, train_s) for at, train_s in zip(resources, (5.0, 8.0), strict=True)))
    assert _unit_s(found, unit) == pytest.approx(unit_s)
