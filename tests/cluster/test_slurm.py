"""Studies as jobs of a real Slurm with two nodes on this host: started, preempted, requeued, and left by a node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm_cluster import SlurmCluster, until

sys.path.insert(0, str(Path(__file__).parent))
from agent_bench import HERE, epochs

from lightning_hwtune import Study
from lightning_hwtune.core import events as ev
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog

pytestmark = [pytest.mark.training, pytest.mark.slow]

CONFIGS = [(0.01, 1), (0.02, 1), (0.03, 2), (0.04, 1), (0.05, 1), (0.06, 1)]
ALONE = CONFIGS[:3]  # what one machine trains, too: a seed follows from the number of the trial
STUDY = """
study: digits
train: cluster_functions:digits
space:
  lr: {type: float, low: 1e-3, high: 1e-1, log: true}
  devices: {type: num_devices, counts: [1, 2]}
objectives: [{metric: error, mode: min}]
scheduler: {name: run_to_end, max_epochs: 3}
searcher: random
max_retries: 0
check: false
"""


def write_study(folder: Path, configs: list[tuple[float, int]], more: str = "") -> None:
    enqueue = [{"lr": lr, "devices": devices} for lr, devices in configs]
    text = f"{STUDY}dir: .\nmax_trials: {len(configs)}\nenqueue: {json.dumps(enqueue)}\n{more}"
    (folder / "study.yaml").write_text(text)


@pytest.fixture
def environ(slurm: SlurmCluster) -> dict[str, str]:
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    more = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HWTUNE_AGENTS_LOST_AFTER": "6"}
    return {**slurm.environ, **more}


def hwtune(folder: Path, environ: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "lightning_hwtune", *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=True).stdout


def errors(folder: Path) -> dict[tuple[float, int], float]:
    """Return the error of each configuration."""
    trials = Study.load("digits", dir=folder).state().trials
    return {(trial.config["lr"], trial.config["devices"]): trial.measurements[-1].values["error"] for trial in trials}


def test_a_job_is_preempted_continues_and_loses_a_node_and_its_values_are_those_of_one_machine(
    slurm: SlurmCluster, tmp_path: Path, environ: dict[str, str]
) -> None:
    """Two trials on one node each are preempted; a trial on both nodes follows; then one node disappears."""
    study, alone = tmp_path / "digits", tmp_path / "alone"
    study.mkdir()
    alone.mkdir()
    write_study(tmp_path, CONFIGS)
    write_study(alone, ALONE, "pool: {accelerator: cpu, devices: 2}\n")
    hold = {trial: study / f"hold_{trial:03d}" for trial in (0, 1, 3, 4)}
    for path in hold.values():
        path.touch()
    job = hwtune(tmp_path, environ, "sbatch", "study.yaml", "--nodes=2", "--time=10", "--parsable").strip()
    output, agents = tmp_path / f"slurm-{job}.out", study / "agents.log"

    def begun(trial: int, segment: int) -> bool:
        return (segment, 2) in {at[:2] for at in epochs(study, trial)}

    try:
        until(lambda: begun(0, 1) and begun(1, 1), "two trials train", 90)
        slurm.call("sbatch", "--partition=high", "--nodes=2", "--output=/dev/null", "--wrap=true")
        until(lambda: "CANCELLED AT" in agents.read_text(), "the agents are warned")
        time.sleep(0.5)  # the warning is on its way to the study
        hold[0].unlink()
        hold[1].unlink()
        slurm.begin_again(job)
        hwtune(alone, environ, "run", "study.yaml")
        until(lambda: begun(3, 1) and begun(4, 1), "a trial on both nodes has ended, and two more train", 90)
        slurm.kill_node("n2")
        hold[3].unlink()
        hold[4].unlink()
        until(lambda: slurm.job(job)["JobState"] != "RUNNING", "the study is finished")
    except BaseException as error:
        error.add_note(output.read_text() + agents.read_text() + str(slurm.job(job)))
        raise
    finally:
        slurm.start_node("n2")

    print(output.read_text())  # shown if something of what follows fails
    log = [event for _, event in EventLog.open(StudyFiles(tmp_path, "digits"), create=False).read()]
    names = {event.node: event.rented_as for event in log if isinstance(event, ev.NodeRequested) and event.rented_as}
    assert set(names.values()) == {"n1", "n2"}
    assert [names[event.node] for event in log if isinstance(event, ev.NodeLost)] == ["n2"]
    state = Study.load("digits", dir=tmp_path).state()
    assert {(str(trial.state), trial.resource, trial.n_retries) for trial in state.trials} == {("completed", 3, 0)}
    begins = [(segment.number, segment.resource) for segment in state.segments if segment.trial_id in (0, 1)]
    assert begins == [(1, 0), (1, 0), (2, 2), (2, 2)]  # the preemption costs no epoch
    assert sorted(segment.outcome for segment in state.segments if segment.trial_id in (3, 4)) == [
        "done", "done", "node-lost"
    ]  # fmt: skip
    here, there = errors(alone), errors(tmp_path)
    assert {config: there[config] for config in ALONE} == here
    assert {(rank, node) for _, _, rank, node, _ in epochs(study, 2)} == {(0, 0), (1, 1)}


def test_a_warned_study_pauses_and_a_killed_one_leaves_nothing_and_the_same_command_continues(
    slurm: SlurmCluster, tmp_path: Path, environ: dict[str, str]
) -> None:
    """The warning is what Slurm sends before the time limit."""
    study = tmp_path / "digits"
    study.mkdir()
    write_study(tmp_path, CONFIGS[:2])
    hold = study / "hold"
    hold.touch()
    command = ("sbatch", "study.yaml", "--nodes=2", "--time=10", "--parsable")
    job = hwtune(tmp_path, environ, *command).strip()

    def begun(segment: int, epoch: int) -> bool:
        return all((segment, epoch) in {at[:2] for at in epochs(study, trial)} for trial in (0, 1))

    def of_study() -> list[int]:
        found = slurm.processes(f"SLURM_JOB_ID={job}")
        return [pid for pid in found if b"study.yaml" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    try:
        until(lambda: begun(1, 2), "two trials train", 90)
        slurm.call("scancel", "--batch", "--signal=TERM", job)
        time.sleep(1)
        hold.unlink()
        until(lambda: slurm.job(job)["Restarts"] == "1", "the trials have paused, and the job is requeued")
        hold.touch()
        slurm.begin_again(job)
        until(lambda: begun(2, 3), "they continue", 90)
        (pid,) = of_study()
        os.kill(pid, signal.SIGKILL)
        until(lambda: not slurm.processes(f"SLURM_JOB_ID={job}"), "the agents and their ranks end with the study")
        until(lambda: slurm.job(job)["JobState"] == "FAILED", "the job has failed")
        hold.unlink()
        job = hwtune(tmp_path, environ, *command).strip()
        until(lambda: slurm.job(job)["JobState"] == "COMPLETED", "the study is finished", 90)
    except BaseException as error:
        output = [path.read_text() for path in tmp_path.glob("slurm-*.out")]
        error.add_note("\n".join([*output, (study / "agents.log").read_text(), str(slurm.job(job))]))
        raise

    state = Study.load("digits", dir=tmp_path).state()
    assert {(str(trial.state), trial.resource, trial.n_retries) for trial in state.trials} == {("completed", 3, 0)}
    begins = sorted((segment.number, segment.resource) for segment in state.segments)
    assert begins == [(1, 0), (1, 0), (2, 2), (2, 2), (3, 2), (3, 2)]  # no epoch that was reported is trained again
