"""Where rungs fall, against a slow count of single steps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_hwtune.core.report_places import ReportPlaces


@pytest.mark.parametrize(
    ("places", "levels", "pauses", "expected"),
    [
        # 25 steps per epoch, validated at its end
        (ReportPlaces(25, 25), (5, 15, 40), True, (25, 25, 50)),
        (ReportPlaces(25, 25), (5, 15, 40), False, (25, 25, 50)),
        # validated after each fifth step: who pauses waits for the end, the horizon does not
        (ReportPlaces(25, 5), (5, 15, 40), True, (25, 25, 40)),
        (ReportPlaces(25, 5), (5, 15, 40), False, (5, 15, 40)),
        # every second epoch
        (ReportPlaces(10, 10, every=2), (5, 25, 30), True, (20, 40, 40)),
        # counted across epochs
        (ReportPlaces(10, 25, is_across_epochs=True), (5, 30, 60), True, (30, 30, 75)),
        (ReportPlaces(10, 25, is_across_epochs=True), (5, 30, 60), False, (25, 30, 75)),
        (ReportPlaces(10, 4, is_across_epochs=True), (5, 9, 15), False, (8, 10, 16)),
    ],
)
def test_where_rungs_fall(
    places: ReportPlaces, levels: tuple[int, ...], pauses: bool, expected: tuple[int, ...]
) -> None:
    assert places.falls_on(levels, pauses=pauses) == expected


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 3), st.booleans(), st.integers(1, 60), st.booleans())
def test_places_agree_with_a_count_of_steps(
    per_epoch: int, per_validation: int, every: int, is_across: bool, level: int, pauses: bool
) -> None:
    if not is_across:
        per_validation = min(per_validation, per_epoch)
    places = ReportPlaces(per_epoch, per_validation, is_across, every)
    validated, reports = False, []
    for step in range(1, 400):
        epoch, inside = divmod(step - 1, per_epoch)
        counted = step if is_across else inside + 1
        validates = counted % per_validation == 0 and (is_across or (epoch + 1) % every == 0)
        validated, is_end = validated or validates, inside + 1 == per_epoch
        if (validates and not is_end) or (is_end and validated):
            reports.append((step, is_end))
        validated = validated and not is_end
    far = 100
    expected = next(step for step, is_end in reports if step >= level and (is_end or not pauses))
    assert places.falls_on((level, far), pauses=pauses)[0] == expected
    assert places.first == reports[0][0]


def test_an_unknown_rhythm_says_so() -> None:
    assert ReportPlaces(10, 5).is_known
    assert not ReportPlaces(math.nan, 5).is_known
    assert not ReportPlaces(math.inf, math.inf).is_known
    assert not ReportPlaces(10, 0.5).is_known
