"""When a segment without progress is ended. Pure: every time is given."""

from __future__ import annotations

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.engine.hang import HangLimit
from lightning_hwtune.forms import FORMS
from lightning_hwtune.settings.run_rules import check_run

HALF_AN_HOUR_S = 1800.0


def test_the_default_waits_for_ever_for_the_first_batch() -> None:
    assert HangLimit().limit_s(0, has_trained=False) is None


@pytest.mark.parametrize(
    ("stretches", "limit_s"),
    [
        ([], HALF_AN_HOUR_S),
        ([1.0, 2.0], HALF_AN_HOUR_S),
        ([180.0], HALF_AN_HOUR_S),
        ([181.0, 3.0], 1810.0),
        ([2400.0], 24_000.0),  # a first batch that compiles for 40 minutes
    ],
)
def test_the_default_is_ten_times_the_slowest_stretch_and_at_least_half_an_hour(
    stretches: list[float], limit_s: float
) -> None:
    limit = HangLimit()
    for stretch_s in stretches:
        limit.progressed(7, stretch_s)
    assert limit.limit_s(7, has_trained=True) == limit_s
    assert limit.limit_s(8, has_trained=True) == HALF_AN_HOUR_S  # each trial by its own measure


@pytest.mark.parametrize("has_trained", [False, True])
def test_a_number_holds_from_the_start_and_none_never(has_trained: bool) -> None:
    fixed, off = HangLimit(5.0), HangLimit(None)
    for limit in (fixed, off):
        limit.progressed(0, 1000.0)
    assert fixed.limit_s(0, has_trained) == 5.0
    assert off.limit_s(0, has_trained) is None


def test_the_reason_has_what_was_measured() -> None:
    limit = HangLimit()
    limit.progressed(0, 300.0)
    text = limit.text(0, 1, 3001.0)
    assert text.startswith("rank 1 made no progress for 50 min")
    assert "its longest earlier period without progress was 5 min" in text
    assert "`hang_timeout` is 2 s" in HangLimit(2.0).text(0, 0, 2.1)


@pytest.mark.parametrize("value", [0, -1, True, "soon", float("nan"), "10 parsecs", []])
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(hwt.ArgumentError, match="hang_timeout"):
        HangLimit(FORMS["Study.run"]["hang_timeout"].read("hang_timeout", value))  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "expected"), [("auto", "auto"), (None, None), ("10min", 600.0), (90, 90.0)])
def test_the_forms_of_the_setting(value: object, expected: object) -> None:
    assert FORMS["Study.run"]["hang_timeout"].read("hang_timeout", value) == expected  # type: ignore[arg-type]


def test_a_number_needs_processes_that_can_be_ended() -> None:
    study = hwt.Study(
        "s",
        hwt.SearchSpace(x=hwt.Float(0, 1)),
        [hwt.Metric("error", "min")],
        scheduler=hwt.ASHA(3, first_rung=1),
        pool=hwt.Pool("cpu", 1),
    )
    limits = Limits(max_trials=1)
    check_run(study.spec, limits, executor="inline", hang_timeout="auto")
    check_run(study.spec, limits, executor="inline", hang_timeout=None)
    with pytest.raises(hwt.ArgumentError, match="Only an executor such as 'local' can end a segment"):
        check_run(study.spec, limits, executor="inline", hang_timeout=60.0)
