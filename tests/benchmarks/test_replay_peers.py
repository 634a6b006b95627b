from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))

from benchmarks import replay_arms
from lightning_hwtune.core.objectives import Metric, Objectives, TrainSeconds
from lightning_hwtune.core.space import Choice, SearchSpace
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.simulation.accounting import Replay, Yardstick, replay_study
from lightning_hwtune.simulation.curves import SyntheticCurves

SPACE = SearchSpace(width=Choice([8, 16, 32, 64]), depth=Choice([1, 2, 3]), kind=Choice(["a", "b"]))
CONFIGS = [dict(zip(SPACE, values, strict=True)) for values in itertools.product([8, 16, 32, 64], [1, 2, 3], "ab")]
MEASURED = Objectives([Metric("error", "min"), TrainSeconds()])


def replayed(peer: str, seed: int = 0, **limits: Any) -> Replay:
    curves = SyntheticCurves(SPACE, 9)
    yardstick = Yardstick.sampled(MEASURED, curves, SPACE, CONFIGS)
    problem = replay_arms.Problem("t", SPACE, CONFIGS, MEASURED, curves, yardstick, 100.0)
    spec = replay_arms.spec_of(problem, {"peer": peer}, seed)
    return replay_study(spec, curves, Limits(max_trials=len(CONFIGS), finishers=0, **limits), yardstick)


@pytest.mark.parametrize("peer", ["synetune_shipped", "synetune_repaired", "neps", "optuna_nsga2", "optuna_tpe"])
def test_a_peer_tries_every_configuration_and_repeats_itself(peer: str) -> None:
    pytest.importorskip(replay_arms.package_of({"peer": peer}) or "")
    found, again = replayed(peer), replayed(peer)
    assert sorted(str(trial.config) for trial in found.state.trials) == sorted(map(str, CONFIGS))
    assert found.losses.tolist() == again.losses.tolist()
    assert found.state.n_full >= 1
    if not peer.startswith("optuna"):  # these decide, and draw like all peers
        assert found.state.n_full < len(CONFIGS)
        assert [trial.config for trial in found.state.trials] == [trial.config for trial in again.state.trials]


def test_the_repaired_order_is_one_and_the_shipped_one_is_not() -> None:
    pytest.importorskip("syne_tune")
    from syne_tune.optimizer.schedulers.multiobjective.multiobjective_priority import NonDominatedPriority

    from benchmarks.peers.replay_syne_tune import RepairedPriority

    losses = np.random.default_rng(0).random((30, 2))
    losses[-1] = -1.0  # dominates all the others
    assert RepairedPriority()(losses)[-1] == 0
    assert NonDominatedPriority()(losses)[-1] != 0
    chain = np.arange(6.0)[::-1, None] * np.ones(2)
    assert RepairedPriority()(chain).tolist() == [5, 4, 3, 2, 1, 0]


def test_inside_a_front_the_repaired_order_is_farthest_first() -> None:
    pytest.importorskip("syne_tune")
    from benchmarks.peers.replay_syne_tune import RepairedPriority

    x = np.array([0.0, 0.4, 0.5, 1.0])
    assert RepairedPriority()(np.column_stack([x, 1 - x])).tolist() == [0, 3, 2, 1]


def test_neps_promotes_far_more_than_one_in_eta() -> None:
    pytest.importorskip("neps")
    assert replayed("neps").state.n_full > len(CONFIGS) / 2
