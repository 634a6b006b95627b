from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
from table_files import write_table

from benchmarks import replay
from lightning_hwtune.core.searchers import History, ParetoPrior
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.engine.simulated import simulate
from lightning_hwtune.store.tables import Table


def row(task: str, seed: int, arm: str, time_s: float | None, full: float = 1.0) -> dict[str, Any]:
    return {"task": task, "seed": seed, "arm": arm, "time_s": time_s, "usd": time_s, "full": full}


TASK = "cnn-60000"
ROWS = [
    row(TASK, 0, "random", 10.0), row(TASK, 0, "moasha", 2.0), row(TASK, 0, "prior_other", 1.0, 0.9),
    row(TASK, 1, "random", 12.0), row(TASK, 1, "moasha", None), row(TASK, 1, "prior_other", 2.0, 1.0),
]  # fmt: skip


def test_a_run_that_never_arrives_has_no_speed_up() -> None:
    assert replay.speed_ups(ROWS, "moasha", "time_s")[TASK].tolist() == [5.0, 0.0]
    assert replay.summary(ROWS)["moasha"]["arrived"] == 0.5
    assert replay.summary(ROWS)["random"]["time"] == {"median": 1.0, "low": 1.0, "high": 1.0}


def test_the_interval_brackets_the_median_and_shrinks_to_a_constant() -> None:
    rng = np.random.default_rng(0)
    found = replay.interval({task: rng.lognormal(1.0, 0.3, 30) for task in "abc"})
    assert found["low"] < found["median"] < found["high"]
    assert replay.interval({"a": np.full(5, 3.0), "b": np.full(5, 5.0)}) == {"median": 4.0, "low": 4.0, "high": 4.0}


def test_a_priors_cost_is_relative_to_the_same_seed() -> None:
    assert replay.prior_losses(ROWS) == {"prior_hv_loss_median": 0.05, "prior_hv_loss_p10": 0.09}
    assert replay.figures(ROWS)["cnn60000_time_other"] == 8.0


def test_a_cross_fitted_prior_never_knows_what_it_draws(tmp_path: Path) -> None:
    table = Table.load(write_table(tmp_path / "t"))
    halves = ([0, 3], [1, 2])
    priors = tuple(
        ParetoPrior.from_table(table, ["b"], rows=known, configs=[table.configs[row] for row in drawn])
        for drawn, known in (halves, halves[::-1])
    )
    searcher = replay.CrossFitted(priors)
    problem = replay.from_table(table, "a")
    spec = replay.spec_of(problem, {"scheduler": {"name": "run_to_end"}}, seed=3)
    state = simulate(dataclasses.replace(spec, searcher=searcher), problem.curves, Limits(max_trials=10))
    drawn = [table.configs.index(dict(trial.config)) for trial in state.trials]
    assert sorted(drawn) == [0, 1, 2, 3]
    assert set(drawn[::2]) == {0, 3}
    assert searcher.propose(table.space, 4, 3, History(state.trials, table.objectives)) is None


def test_the_settings_name_the_arms_of_the_figures() -> None:
    arms = json.loads(Path(replay.__file__).with_name("replay_settings.json").read_text())["arms"]
    assert {"random", "asha_error", "moasha", "prior_other", "prior_same"} <= set(arms)


@pytest.mark.parametrize("arm", ["random", "asha_error", "moasha"])
def test_made_up_tasks_run_every_arm_without_a_prior(arm: str) -> None:
    problem = dataclasses.replace(replay.synthetic(0), configs=replay.synthetic(0).configs[:9])
    [found] = replay.run([problem], range(1), {arm: replay.SETTINGS["arms"][arm]})
    assert 0 < found["partial"] <= 1
    assert found["time_s"] is None or found["time_s"] <= found["total_s"]
