from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "simulation"))
from table_files import write_table

from benchmarks import replay, replay_arms, replay_figures
from lightning_hwtune.core.searchers import History, ParetoPrior
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.simulation.executor import simulate
from lightning_hwtune.simulation.tables import Table


def row(task: str, seed: int, arm: str, time_s: float | None, full: float = 1.0) -> dict[str, Any]:
    kept = {"time_s": time_s, "usd": time_s, "full": full, "partial_at": [full / 2, full], "full_at": [0.0, full]}
    return {"task": task, "seed": seed, "arm": arm, **kept}


TASK = "cnn-60000"
ROWS = [
    row(TASK, 0, "random", 10.0), row(TASK, 0, "moasha", 2.0), row(TASK, 0, "prior_other", 1.0, 0.9),
    row(TASK, 1, "random", 12.0), row(TASK, 1, "moasha", None), row(TASK, 1, "prior_other", 2.0, 1.0),
]  # fmt: skip


def test_a_run_that_never_arrives_has_no_speed_up() -> None:
    assert replay_figures.speed_ups(ROWS, "moasha", "time_s")[TASK].tolist() == [5.0, 0.0]
    assert replay_figures.summary(ROWS)["moasha"]["arrived"] == 0.5
    assert replay_figures.summary(ROWS)["random"]["time"] == {"median": 1.0, "low": 1.0, "high": 1.0}


def test_the_interval_brackets_the_median_and_shrinks_to_a_constant() -> None:
    rng = np.random.default_rng(0)
    found = replay_figures.interval({task: rng.lognormal(1.0, 0.3, 30) for task in "abc"})
    assert found["low"] < found["median"] < found["high"]
    assert replay_figures.interval({"a": np.full(5, 3.0), "b": np.full(5, 5.0)}) == {
        "median": 4.0,
        "low": 4.0,
        "high": 4.0,
    }


def test_a_priors_cost_is_relative_to_the_same_seed() -> None:
    assert replay_figures.prior_losses(ROWS) == {"prior_hv_loss_median": 0.05, "prior_hv_loss_p10": 0.09}
    assert replay_figures.figures(ROWS, replay.RESERVED, "moasha", (), 0)["cnn60000_time_other"] == 8.0


def test_ahead_of_a_peer_is_where_the_lower_end_is_above_it() -> None:
    peers = ("optuna_nsga2", "optuna_tpe")
    rows = [row(TASK, seed, "moasha", 1.0, 0.8 + seed / 100) for seed in range(9)]
    rows += [row(TASK, seed, "optuna_nsga2", 1.0, 0.7) for seed in range(9)]
    rows += [row(TASK, seed, "optuna_tpe", 1.0, 0.84) for seed in range(9)]
    rows += [row(TASK, seed, "random", 1.0) for seed in range(9)]
    ratios = replay_figures.against_peers(rows, "moasha", peers, 1)
    assert ratios["optuna_nsga2"]["partial_at"][TASK]["low"] > 1 > ratios["optuna_tpe"]["partial_at"][TASK]["low"]
    assert ratios["optuna_tpe"]["full_at"][TASK]["median"] == 1.0
    found = replay_figures.figures(rows, replay.RESERVED, "moasha", peers, 1)
    assert found["tasks_ahead_of_optuna_nsga2"] == 1
    assert found["tasks_ahead_of_optuna_tpe"] == found["tasks_ahead_of_optuna"] == 0


def test_arms_that_did_not_run_keep_their_earlier_figures() -> None:
    arms = {"random": {"seeds": 30}, "moasha": {"seeds": 30}, "removed": {}, "as_it_comes": {"seeds": 30}}
    part = {"all": arms, TASK: arms}
    earlier = {"arms": arms, "tasks": part, "curves": part, "peers": {"moasha": {"neps": {}}}, "seeds": 30}
    earlier |= {
        "figures": {"time_low": 4.0, "time_low_as_it_comes": 1.0},
        "choice": {"median": 1},
        "synthetic": {"a": 1},
    }
    own = {"random": {"seeds": 5}, "as_it_comes": {"seeds": 5}}
    new = {
        "arms": own,
        "tasks": {TASK: own},
        "curves": {"all": own},
        "peers": {"moasha": {}, "as_it_comes": {"neps": {}}},
    }
    new |= {"figures": {"time_low_as_it_comes": 8.0}, "choice": {}, "synthetic": {}, "seeds": 5}
    found = replay.onto(earlier, new)
    assert found["older"] == ["moasha"]
    assert found["arms"] == found["tasks"][TASK] == {"moasha": {"seeds": 30}, **own}
    assert found["curves"][TASK] == {"moasha": {"seeds": 30}}
    assert found["figures"] == {"time_low": 4.0, "time_low_as_it_comes": 8.0}
    assert found["peers"] == {"moasha": {"neps": {}}, "as_it_comes": {"neps": {}}}
    assert (found["seeds"], found["older_seeds"], found["choice"]) == (5, 30, {"median": 1})
    assert replay.onto(found, {**new, "seeds": 20})["older_seeds"] == 30  # the same arms are still the older ones


def test_a_hypervolume_of_nothing_has_a_ratio_too() -> None:
    rows = [row(TASK, 0, "moasha", 1.0), row(TASK, 0, "neps", 1.0)]
    ratios = replay_figures.against_peers(rows, "moasha", ["neps"], 0)["neps"]
    assert ratios["full_at"][TASK]["median"] == 1.0
    assert replay_figures.against_peers(rows, "absent", ["neps"], 0) == {}


def test_a_cross_fitted_prior_never_knows_what_it_draws(tmp_path: Path) -> None:
    table = Table.load(write_table(tmp_path / "t"))
    halves = ([0, 3], [1, 2])
    priors = tuple(
        ParetoPrior.from_table(table, ["b"], rows=known, configs=[table.configs[row] for row in drawn])
        for drawn, known in (halves, halves[::-1])
    )
    searcher = replay_arms.CrossFitted(priors)
    problem = replay_arms.from_table(table, "a")
    spec = replay_arms.spec_of(problem, {"scheduler": {"name": "run_to_end"}}, seed=3)
    state = simulate(dataclasses.replace(spec, searcher=searcher), problem.curves, Limits(max_trials=10))
    drawn = [table.configs.index(dict(trial.config)) for trial in state.trials]
    assert sorted(drawn) == [0, 1, 2, 3]
    assert set(drawn[::2]) == {0, 3}
    assert searcher.propose(table.space, 4, 3, History(state.trials, table.objectives)) is None


def test_the_settings_name_the_arms_of_the_figures() -> None:
    arms = json.loads(Path(replay.__file__).with_name("replay_settings.json").read_text())["arms"]
    assert {"random", "asha_error", "moasha", "prior_other", "prior_same"} <= set(arms)


@pytest.mark.parametrize("arm", ["random", "asha_error", "moasha", "moasha_tpe"])
def test_made_up_tasks_run_every_arm_without_a_prior(arm: str) -> None:
    [found] = replay.run(small(), range(1), {arm: replay.SETTINGS["arms"][arm]})
    assert 0 < found["partial"] <= 1
    assert found["time_s"] is None or found["time_s"] <= found["total_s"]
    assert found["partial_at"] == sorted(found["partial_at"])


def test_rows_that_are_kept_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = {"random": replay.SETTINGS["arms"]["random"]}
    first = replay.run(small(), range(1), arms, tmp_path)
    assert replay.run(small(), range(2), arms, tmp_path)[:1] == first
    monkeypatch.setattr(replay, "replayed", None)
    assert replay.run(small(), range(1), arms, tmp_path) == first
    with pytest.raises(TypeError):  # another arm under the same name is run
        replay.run(small(), range(1), {"random": replay.SETTINGS["arms"]["moasha"]}, tmp_path)


def small() -> replay_arms.Problem:
    problem = replay_arms.synthetic(0)
    return dataclasses.replace(problem, configs=problem.configs[:9])
