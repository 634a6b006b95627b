"""What a check says about reports."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lightning_hwtune.core.report_places import ReportPlaces
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.engine.report_notes import late_objectives, must_train_on, rung_places
from lightning_hwtune.training.channel import Probe, Report


def _report(resource: int, *names: str, places: ReportPlaces | None = None, train_s: float = 1.0) -> Report:
    return Report(resource, dict.fromkeys(names, 1.0), train_s, Probe(names, 1.0, 0, places))


@pytest.mark.parametrize(
    ("scheduler", "places", "told"),
    [
        (
            {"max_steps": 40, "first_rung": 5},
            ReportPlaces(25, 25),
            "an epoch has 25 steps, so some rungs are decided after their levels: 5 at 25, 15 at 25, 40 at 50; the "
            "rungs 5 and 15 coincide: both are decided at 25 steps; a full training has 50 steps, not 40. ",
        ),
        ({"max_steps": 40, "first_rung": 5}, ReportPlaces(25, 5), "5 at 25, 15 at 25, 40 at 40; the rungs 5 and 15"),
        ({"max_steps": 40, "first_rung": 5, "type": "stopping"}, ReportPlaces(25, 5), None),
        ({"max_steps": 50, "first_rung": 25, "eta": 2}, ReportPlaces(25, 25), None),
        ({"max_samples": 1000, "first_rung": 100}, ReportPlaces(150, 150), "100 at 150, 300 at 300, 900 at 900, "),
        ({"max_steps": 40, "first_rung": 5}, ReportPlaces(math.nan, math.nan), None),
        ({"max_steps": 40, "first_rung": 5}, None, None),
        ({"max_epochs": 9}, ReportPlaces(25, 25), None),
    ],
)
def test_where_rungs_fall(scheduler: dict[str, Any], places: ReportPlaces | None, told: str | None) -> None:
    lines = rung_places(_report(2, "loss", places=places), ASHA(**scheduler))
    assert (lines == []) if told is None else (told in lines[0])


def test_objectives_that_come_late() -> None:
    reports = [_report(1, "loss"), _report(2, "loss", "fid")]
    (line,) = late_objectives(reports, ("loss", "fid"), (3, 9), "epochs")
    assert line.startswith("'fid' is first logged in epoch 2. ")
    (line,) = late_objectives(reports[:1], ("loss", "fid"), (3, 9), "epochs")
    assert line == "'fid' was not logged in the first epoch; a trial fails if it is missing at a rung (3, 9)"
    assert late_objectives(reports, ("loss",), (3, 9), "epochs") == []
    (line,) = late_objectives(reports, ("los",), (30, 90), "epochs")
    assert line.endswith("(30, 90); did you mean 'loss'?")


def test_a_check_trains_on_until_a_rung_asks_or_it_has_seen_enough() -> None:
    incomplete, complete = _report(2, "loss"), _report(2, "loss", "fid")
    assert must_train_on(incomplete, ("loss", "fid"), (3, 9), 2)
    assert not must_train_on(complete, ("loss", "fid"), (3, 9), 2)
    assert not must_train_on(incomplete, ("loss", "fid"), (2, 9), 2)
    assert must_train_on(_report(29, "loss"), ("loss", "fid"), (30, 90), 29)
    assert not must_train_on(_report(200, "loss"), ("loss", "fid"), (300, 900), 200)
    assert not must_train_on(_report(2, "loss", train_s=90.0), ("loss", "fid"), (30, 90), 2)
