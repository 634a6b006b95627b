from __future__ import annotations

from benchmarks.crash import decided_twice, missing_and_repeated
from lightning_hwtune.core import events as ev


def reported(trial_id: int, segment: int, resource: int, level: int | None = None) -> ev.Reported:
    return ev.Reported(
        at=0.0, trial_id=trial_id, segment=segment, resource=resource, values={"error": 0.5}, train_s=1.0, device_s=1.0,
        level=level, verdict="continue", target=9, rule="", reason="",
    )  # fmt: skip


LOG = [reported(0, 1, 1, level=1), reported(1, 1, 1, level=1), reported(1, 2, 1), reported(1, 2, 2)]


def test_a_log_that_has_every_witnessed_report_once_has_lost_nothing() -> None:
    assert missing_and_repeated([(0, 1, 1), (1, 1, 1), (1, 2, 1), (1, 2, 1)], LOG) == (0, 0)


def test_a_report_of_another_segment_is_another_report() -> None:
    assert missing_and_repeated([(0, 2, 1), (0, 1, 2), (1, 2, 2)], LOG) == (2, 0)


def test_a_report_that_the_log_has_twice_is_told() -> None:
    assert missing_and_repeated([(1, 2, 2)], [*LOG, reported(1, 2, 2)]) == (0, 1)


def test_a_rung_is_decided_once_however_often_it_is_reached() -> None:
    assert decided_twice([*LOG, reported(0, 2, 1)]) == 0
    assert decided_twice([*LOG, reported(0, 2, 3, level=3)]) == 0
    assert decided_twice([*LOG, reported(0, 2, 1, level=1)]) == 1
