"""Configurations that were written for the Optuna sweeper: which lines must go, and what becomes of the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from sweeps import PLAIN, load, start_command

pytestmark = pytest.mark.training
OPTUNA = """
defaults:
  - _self_
  - override hydra/sweeper: optuna

x: 0
y: 0
hydra:
  mode: MULTIRUN
  sweeper:
    _target_: hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper
    sampler:
      _target_: optuna.samplers.TPESampler
      seed: 123
      n_startup_trials: 10
    direction: minimize
    study_name: sphere
    storage: sqlite:///sphere.db
    n_trials: 2
    n_jobs: 1
    max_failure_rate: 0.0
    search_space: null
    params:
      x: range(-5.5, 5.5, step=0.5)
      y: choice(-5, 0, 5)
"""
POOL = "hydra.sweeper.hwtune.pool={accelerator: cpu, devices: 2}"
FLAGS = ["--config-dir", ".", "--config-name", "sphere"]


def without(*words: str) -> str:
    return "\n".join(line for line in OPTUNA.splitlines() if not any(word in line for word in words))


def test_a_pinned_target_beats_the_sweeper_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "sphere.yaml").write_text(OPTUNA)
    done = start_command([str(PLAIN), *FLAGS, "hydra/sweeper=hwtune"], tmp_path)
    assert done.returncode == 1
    assert "hydra_plugins.hydra_optuna_sweeper" in done.stdout


@pytest.mark.parametrize(
    ("gone", "overrides"),
    [
        (["OptunaSweeper", "override hydra/sweeper"], ["hydra/sweeper=hwtune"]),
        ([], ["hydra/sweeper=hwtune", "hydra.sweeper._target_=hydra_plugins.hwtune_sweeper.HwtuneSweeper"]),
    ],
    ids=["two lines deleted", "nothing deleted"],
)
def test_the_other_keys_keep_their_meaning(gone: list[str], overrides: list[str], tmp_path: Path) -> None:
    """Also where the configuration pins MULTIRUN: a trial does not start another sweep."""
    (tmp_path / "sphere.yaml").write_text(without(*gone) if gone else OPTUNA)
    done = start_command([str(PLAIN), *FLAGS, *overrides, POOL, "hydra.sweep.dir=out"], tmp_path)
    assert done.returncode == 0, done.stdout
    assert "0 of 2 trials begun, 2 to go" in done.stdout
    assert "n_jobs=1 leaves 1 of 2 devices idle" in done.stdout
    assert "hydra.sweeper.sampler has no effect here: set hydra.sweeper.hwtune.searcher instead" in done.stdout
    assert "search_space" not in done.stdout
    trials = load("sphere", tmp_path, f"sqlite:///{tmp_path}/sphere.db").state().trials
    assert len(trials) == 2
    best = min((trial.config["x"] ** 2 + trial.config["y"], trial.trial_id) for trial in trials)
    results = OmegaConf.load(tmp_path / "out" / "optimization_results.yaml")
    found = {"name": "hwtune", "best_params": trials[best[1]].config, "best_value": best[0]}
    assert results == {**found, "best_trial": best[1], "best_devices": 1, "best_checkpoint": None}
