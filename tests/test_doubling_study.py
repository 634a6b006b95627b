"""A real study whose trial continues on two ranks: the same global batch, and every sample once per epoch."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn")

from doubling_training import GLOBAL_BATCH, N_SAMPLES, train

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev


@pytest.mark.training
@pytest.mark.slow
def test_a_trial_that_doubles_its_ranks_resumes_with_the_same_global_batch_and_samples(tmp_path: Path) -> None:
    scheduler = hwt.ASHA(max_epochs=2, first_rung=1, eta=2, type="stopping")
    policy, pool = hwt.DoublingAllocation(max_devices=2), hwt.Pool("cpu", 2)
    space = hwt.SearchSpace(lr=hwt.Float(1e-3, 1e-2, log=True))
    study = hwt.Study(
        "doubling",
        space,
        [hwt.Metric("val_error", "min")],
        scheduler=scheduler,
        pool=pool,
        allocation=policy,
        dir=tmp_path,
    )
    study.run(train, max_trials=1, check=False, progress=False)
    first, second = study.state().segments
    assert (first.num_devices, second.num_devices) == (1, 2)
    assert (first.world_size, second.world_size) == (1, 2)
    assert (second.rule, second.resource, second.reached) == ("devices", 1, 2)
    steps = rows(tmp_path / "doubling" / "steps")
    assert {row["ranks"] for row in steps if row["epoch"] == 0} == {1}
    assert {row["ranks"] for row in steps if row["epoch"] == 1} == {2}
    assert {row["rank"] for row in steps if row["epoch"] == 1} == {0, 1}
    batches: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in steps:
        batches[row["epoch"], row["step"]] += row["numbers"]
    n_steps = N_SAMPLES // GLOBAL_BATCH
    assert [step for _, step in sorted(batches)] == list(range(2 * n_steps))  # as many optimiser steps on two ranks
    assert {len(numbers) for numbers in batches.values()} == {GLOBAL_BATCH}
    for epoch in (0, 1):
        seen = [number for (at, _), numbers in batches.items() if at == epoch for number in numbers]
        assert sorted(seen) == list(range(N_SAMPLES))
    moved = [event for event in study.events() if isinstance(event, ev.Reported) and event.next_allocation]
    assert [event.next_allocation for event in moved] == [hwt.Allocation(2)]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
