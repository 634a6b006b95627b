"""The answers that a launcher's job gives itself, since nothing reaches it meanwhile."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from typing import Any

import pytest

from lightning_hwtune.apps.hydra.batches import _FileChannel
from lightning_hwtune.core.objectives import Metric
from lightning_hwtune.training.channel import Report, SegmentOrder

ORDER = SegmentOrder(
    study="s", trial_id=0, segment=1, config={}, seed=0, num_devices=1, slots=(0,), accelerator="cpu",
    threads_per_device=1, trial_dir="", resource=0, checkpoint=None, unit="epochs", max_resource=9, levels=(1, 3, 9),
    metrics=("loss",),
)  # fmt: skip
NAN, INF = float("nan"), float("inf")


def _saves(values: list[float], best: tuple[Metric, ...], **changes: Any) -> list[bool]:
    file = io.BytesIO()
    channel = _FileChannel(replace(ORDER, levels=(9,), **changes), file, best)
    reports = [Report(n, {"loss": value, "other": -value}, 0.0) for n, value in enumerate(values, 1)]
    answers = [channel.report(report) for report in reports]
    file.seek(0)
    assert repr([pickle.load(file) for _ in reports]) == repr(reports)
    return [answer.save for answer in answers]


LOSS = Metric("loss", "min", best=True)
CASES: list[tuple[list[float], tuple[Metric, ...], list[bool]]] = [
    ([3, 1, 2, 0.5], (LOSS,), [True, True, False, True]),
    ([3, 1, 2, 0.5], (Metric("loss", "max", best=True),), [True, False, False, False]),
    ([NAN, 4, 4, NAN, 3], (LOSS,), [False, True, False, False, True]),
    ([INF, INF, 2], (LOSS,), [False, False, True]),
    ([3, 1, 2, 0.5], (), [False] * 4),
]


@pytest.mark.parametrize(("values", "best", "saves"), CASES)
def test_a_job_saves_the_best_report_of_its_segment(
    values: list[float], best: tuple[Metric, ...], saves: list[bool]
) -> None:
    assert _saves(values, best) == saves


def test_a_job_pauses_at_its_next_rung_but_not_inside_an_epoch() -> None:
    channel = _FileChannel(replace(ORDER, resource=1), io.BytesIO())
    kinds = [channel.report(Report(n, {"loss": 1.0}, 0.0, is_inside=n == 3)).kind for n in (2, 3, 4, 9)]
    assert kinds == ["continue", "continue", "pause", "stop"]
