"""A real study that runs by SEER-style plans: it ends within its limits, and a trial continues on two ranks."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("sklearn")

from doubling_training import train

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.views.ledger import ledger_entry


@pytest.mark.training
@pytest.mark.slow
def test_a_study_with_a_deadline_and_a_budget_ends_inside_both_and_changes_ranks(tmp_path: Path) -> None:
    machine = hwt.InstanceType("two-cores", 3.6, vcpus=2)  # a tenth of a cent per second
    study = hwt.Study(
        "seer",
        hwt.SearchSpace(lr=hwt.Float(1e-3, 1e-2, log=True)),
        [hwt.Metric("val_error", "min")],
        scheduler=hwt.SuccessiveHalving(max_epochs=2),
        pool=hwt.Pool(instance=machine),
        allocation=hwt.SeerAllocation(unit_s=0.05, speeds={1: 1, 2: 1.9}, start_s=1.0),
        dir=tmp_path,
    )
    study.run(train, max_time=90.0, max_cost=0.08, max_trials=3, check=False, progress=False)
    state = study.state()
    assert state.wall_s(state.last_at) <= 90.0
    entry = ledger_entry(state, state.last_at)
    assert entry["total_usd"] <= 0.08
    assert entry["total_usd"] == pytest.approx(sum(node["billed_usd"] for node in entry["nodes"]))
    stages = [event for event in study.events() if isinstance(event, ev.StagePlanned)]
    assert [stage.reached for stage in stages][:2] == [0, 1]
    assert stages[0].trials == 3
    assert stages[1].devices == 2  # the machine is paid as a whole, so the fastest plan is the cheapest one
    [moved] = [segment for segment in state.segments if segment.promoted_from is not None]
    assert (moved.world_size, moved.resource, moved.reached) == (2, 1, 2)
    assert state.full == {moved.trial_id}
    assert "1 trial continues on 2 devices" in stages[1].reason
