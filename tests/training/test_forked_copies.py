"""User code that forks: the copy reports nothing, saves nothing, and never returns into the study."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
from rank_bench import Bench

from lightning_hwtune.errors import TrialError
from lightning_hwtune.training.channel import Report, Saved
from lightning_hwtune.training.context import current_segment
from lightning_hwtune.training.trial import Trial


def _in_copy(act: Callable[[], Any]) -> int:
    """Forks; the copy acts and returns like any user code; the original returns the copy's exit status."""
    copy = os.fork()
    if copy:
        return os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
    act()
    return -1


def _raise() -> None:
    raise ValueError("in the copy")


COPIES = [
    (lambda: None, 0), (lambda: sys.exit(0), 0), (lambda: sys.exit(7), 7), (lambda: sys.exit("text"), 1), (_raise, 1),
]  # fmt: skip


@pytest.mark.parametrize(("act", "status"), COPIES)
def test_a_copy_ends_with_its_own_status_and_the_segment_stays_its_parents(
    bench: Bench, act: Callable[[], Any], status: int
) -> None:
    seen = []

    def train(trial: Trial) -> None:
        trial.report(1, val_error=1.0)
        seen.append(_in_copy(act))
        if seen == [-1]:  # the copy: it returns from the training function
            return
        for epoch in (2, 3, 4):
            trial.report(epoch, val_error=1 / epoch)
        trial.save("whole")

    said = bench.inline(train, {4: "stop"})
    assert (seen, said.ended[0].outcome, said.ended[0].resource) == ([status], "done", 4)
    assert [report.resource for report in said.of(Report)] == [1, 2, 3, 4]


def test_a_copy_has_no_segment_and_cannot_use_the_trial_of_its_parent(bench: Bench) -> None:
    statuses = []

    def refuses(act: Callable[[], Any]) -> int:
        def check() -> None:
            try:
                act()
            except TrialError as error:
                os._exit(11 if "is a fork of the process that trains trial" in str(error) else 12)
            os._exit(13)

        return _in_copy(check)

    def train(trial: Trial) -> None:
        trial.report(1, val_error=1.0)
        statuses.append(refuses(lambda: trial.report(2, val_error=0.5)))
        statuses.append(refuses(lambda: trial.save("the copy's")))
        statuses.append(_in_copy(lambda: os._exit(14 if current_segment() is None else 15)))
        trial.save("the parent's")

    said = bench.inline(train, {1: "pause"})
    assert statuses == [11, 11, 14]
    assert [saved.resource for saved in said.of(Saved)] == [1]


@pytest.mark.training
def test_nothing_of_a_copy_arrives_on_the_channel_of_a_rank(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        trial.report(1, val_error=1.0)
        for _ in range(2):
            _in_copy(lambda: None)
        for epoch in range(2, trial.max_epochs + 1):
            trial.report(epoch, val_error=1 / epoch)
        trial.save(trial.max_epochs)

    said = bench.segment(train, {4: "stop"})
    assert [report.resource for report in said.of(Report)] == [1, 2, 3, 4]
    assert [saved.resource for saved in said.of(Saved)] == [4]
    assert [ended.outcome for ended in said.ended] == ["done"]
