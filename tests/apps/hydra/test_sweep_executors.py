"""A sweep whose trials train on agents, and executors that a sweep refuses before it makes a directory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sweeps import LIGHTNING, load, start

from lightning_hwtune.core.record import TrialState

pytestmark = pytest.mark.training
SEARCH = ["lr=interval(0.01,0.2)", "hydra.sweeper.study_name=s", "hydra.sweeper.n_trials=2"]


@pytest.mark.parametrize(
    ("more", "received", "allowed"),
    [
        (["hydra.sweeper.hwtune.executor=inline"], "'inline'", "trains in separate processes"),
        (["hydra.sweeper.hwtune.executor=agents", "hydra/launcher=joblib"], "'agents'", "Leave out hydra/launcher"),
        (["hydra.sweeper.hwtune.executor=slurm"], "'slurm'", "allocation of Slurm"),
    ],
)
def test_executors_that_cannot_work_are_refused_first(
    more: list[str], received: str, allowed: str, tmp_path: Path
) -> None:
    done = start(LIGHTNING, [*SEARCH, *more], tmp_path, environment={"SLURM_JOB_ID": ""})
    assert done.returncode == 1
    assert received in done.stdout
    assert allowed in " ".join(done.stdout.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_sweep_trains_on_an_agent(tmp_path: Path) -> None:
    folder = tmp_path / "hwtune" / "s"
    command = [sys.executable, "-m", "lightning_hwtune", "agent", str(folder), "--name", "node1", "--wait", "120"]
    agents: list[subprocess.Popen[bytes]] = []

    def join() -> None:
        agents.append(subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}))

    timer = threading.Timer(1.0, join)
    timer.start()
    try:
        done = start(
            LIGHTNING,
            [
                *SEARCH,
                "hydra.sweep.dir=out",
                "hydra.sweeper.hwtune.executor=agents",
                "hydra.sweeper.hwtune.pool={accelerator: cpu, devices: 1, nodes: 2}",
                "hydra.sweeper.hwtune.check=false",
            ],
            tmp_path,
        )
        assert done.returncode == 0, done.stdout
        state = load("s", tmp_path).state()
        assert [trial.state for trial in state.trials] == [TrialState.COMPLETED] * 2
        assert [node.has_trained for node in state.nodes] == [True]
        assert (tmp_path / "out" / "trial_000" / "tested.txt").exists()
        assert agents[0].wait(30) == 0
    finally:
        timer.join()
        for agent in agents:
            agent.kill()
            agent.wait()
