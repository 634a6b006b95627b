"""The rank that a verdict carries as numbers: the one that its words tell, and the true one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from asha_run import Run

from lightning_hwtune.core.schedulers import ASHA, PASHA, Hyperband, MedianStopping, Scheduler, SuccessiveHalving

RANKING = [
    ASHA(max_epochs=9),
    ASHA(max_epochs=9, strict=True),
    ASHA(max_epochs=9, type="stopping"),
    PASHA(max_epochs=9),
]


@pytest.mark.parametrize("scheduler", RANKING, ids=str)
def test_it_is_one_more_than_the_number_of_better_trials(scheduler: Scheduler) -> None:
    run, losses = Run(scheduler, 1), np.random.default_rng(0).permutation(12).astype(float)
    for number, loss in enumerate(losses, start=1):
        reason = run.arrive(run.start(0), scheduler.levels[0], [loss]).reason
        assert reason.standing == (1 + int((losses[:number] < loss).sum()), number)
        assert f"rank {reason.standing[0]} of {number} " in reason.text


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (1, "(not dominated)"), (2, "(dominated, 2nd front)"), (3, "(dominated, 3rd front)"),
        (4, "(dominated, 4th front)"), (11, "(dominated, 11th front)"), (12, "(dominated, 12th front)"),
        (21, "(dominated, 21st front)"), (23, "(dominated, 23rd front)"),
    ],
)  # fmt: skip
def test_fronts_count_from_one(place: int, words: str) -> None:
    run = Run(ASHA(max_epochs=9), 2)
    for number in range(1, place + 1):
        reason = run.arrive(run.start(0), 1, [float(number), float(number)]).reason
    assert f"at rung 1 {words};" in reason.text


@pytest.mark.parametrize("scheduler", RANKING, ids=str)
def test_a_loss_that_is_not_finite_is_last(scheduler: Scheduler) -> None:
    run = Run(scheduler, 2)
    for loss in ([1.0, 2.0], [2.0, 1.0]):
        run.arrive(run.start(0), scheduler.levels[0], loss)
    assert run.arrive(run.start(0), scheduler.levels[0], [0.0, np.nan]).reason.standing == (3, 3)


@pytest.mark.parametrize("scheduler", [SuccessiveHalving(max_epochs=9), Hyperband(max_epochs=9)], ids=str)
def test_a_bracket_tells_it_when_its_rung_is_complete(scheduler: Scheduler) -> None:
    run = Run(scheduler, 1)
    trials = [run.start(0) for _ in range(9)]
    for trial in trials:
        run.write("joined", trial, 0)
    standings = [run.arrive(trial, 1, [float(-trial)]).reason.standing for trial in trials]
    assert standings == [None] * 8 + [(1, 9)]


def test_a_rule_without_an_order_tells_none() -> None:
    scheduler = MedianStopping(max_epochs=9)
    run = Run(scheduler, 1)
    verdicts = [run.arrive(run.start(0), scheduler.levels[0], [float(loss)]) for loss in range(9)]
    assert {verdict.reason.standing for verdict in verdicts} == {None}
