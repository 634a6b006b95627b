"""A pause changes nothing: weights, optimiser, schedules, averages, random streams and logged metrics, bit for bit."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from digits_training import train_saving_too_early, train_with_averaging
from rank_bench import Bench, Said, Train, differences

from lightning_hwtune.training.channel import Report

pytestmark = pytest.mark.training


def _whole(bench: Bench, train: Train, **changes: Any) -> Said:
    return bench.segment(train, {4: "stop"}, **changes)


def _paused_everywhere(bench: Bench, train: Train, **changes: Any) -> list[Said]:
    segments = [bench.segment(train, {1: "pause"}, **changes)]
    for number, verdict in ((2, "pause"), (3, "pause"), (4, "stop")):
        resume = bench.resume(segments[-1], number)
        segments.append(bench.segment(train, {number: verdict}, **changes, **resume))
    return segments


def _elsewhere(bench: Bench, folder: str) -> Bench:
    path = Path(bench.order.trial_dir) / folder
    path.mkdir()
    return Bench(replace(bench.order, trial_dir=str(path)))


def _compare(bench: Bench, train: Train, **changes: Any) -> list[str]:
    """Returns the differences between a whole run and one paused after every epoch."""
    a, b = _elsewhere(bench, "whole"), _elsewhere(bench, "paused")
    whole, segments = _whole(a, train, **changes), _paused_everywhere(b, train, **changes)
    reported = [report for said in segments for report in said.of(Report)]
    assert [report.resource for report in reported] == [1, 2, 3, 4]
    final, resumed = (torch.load(said.saved.path, weights_only=False) for said in (whole, segments[-1]))
    return [
        *differences([r.metrics for r in whole.of(Report)], [r.metrics for r in reported], "reports"),
        *differences(_rows(a), _rows(b), "metrics.csv"),
        *differences(final, resumed, "checkpoint"),
    ]


def _rows(bench: Bench) -> list[dict[str, str]]:
    """Returns all that was logged but the verdicts, which are what is different."""
    with (Path(bench.order.trial_dir) / "metrics.csv").open(newline="") as file:
        return [{name: row[name] for name in row if name != "hwtune/goes_on"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("num_devices", [1, 2])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_pause_after_every_epoch_is_bit_equal(bench: Bench, num_devices: int, num_workers: int) -> None:
    config = {"num_workers": num_workers}
    assert _compare(bench, train_with_averaging, num_devices=num_devices, config=config) == []


def test_the_comparison_sees_a_checkpoint_that_is_saved_too_early(bench: Bench) -> None:
    found = _compare(bench, train_saving_too_early)
    assert any("state_dict" in place for place in found)
    assert any("lr_schedulers" in place for place in found)
