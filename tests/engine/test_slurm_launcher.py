"""What Slurm's variables say about an allocation, and where a study with `executor="slurm"` is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import lightning_hwtune as hwt
from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.engine.agents.launcher import Invitation, Launcher
from lightning_hwtune.engine.agents.slurm import SlurmExecutor, SlurmLauncher
from lightning_hwtune.host.slurm_allocation import Allocation, allocation

JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_CPUS_PER_NODE": "8(x2)"}


@pytest.fixture(autouse=True)
def _outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM")]:
        monkeypatch.delenv(name)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "srun").write_text("#!/bin/sh\necho no nodes left\nexit 3\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        (JOB, Allocation("7", 2, 8)),
        ({**JOB, "SLURM_JOB_CPUS_PER_NODE": "72(x2),36"}, Allocation("7", 2, 36)),
        ({**JOB, "SLURM_GPUS_ON_NODE": "4"}, Allocation("7", 2, 8, 4)),
        ({**JOB, "SLURM_GPUS_PER_NODE": "a100:8"}, Allocation("7", 2, 8, 8)),
        ({**JOB, "SLURM_JOB_GPUS": "0,1,5"}, Allocation("7", 2, 8, 3)),
        ({"SLURM_JOB_ID": "7"}, Allocation("7", 1)),
        ({**JOB, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}, Allocation("7", 2, 8, tasks=4)),
    ],
)
def test_the_variables_of_a_job_describe_its_allocation(environ: dict[str, str], expected: Allocation | None) -> None:
    assert allocation(environ) == expected


def test_a_study_outside_an_allocation_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    study = hwt.Study(
        "s", {"lr": hwt.Float(0, 1)}, [hwt.Metric("error", "min")], max_epochs=3,
        pool=Pool("cpu", 1, nodes=2), dir=tmp_path,
    )  # fmt: skip
    with pytest.raises(hwt.ArgumentError, match=r"outside of an allocation of Slurm.*hwtune sbatch.*salloc"):
        study.run(print, max_trials=2, executor="slurm")
    assert not (tmp_path / "s" / "study.db").exists()


@pytest.mark.usefixtures("job")
def test_an_allocation_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    SlurmExecutor.check_here(Pool("cpu", 4, nodes=2))
    with pytest.raises(hwt.ArgumentError, match=r"Pool.nodes.*'auto'"):
        SlurmExecutor.check_here(Pool("cpu", 4))
    monkeypatch.setenv("SLURM_GPUS_ON_NODE", "4")
    SlurmExecutor.check_here(Pool("gpu", 4, nodes=2))
    with pytest.raises(hwt.ArgumentError, match=r"Pool.devices.*at most 4"):
        SlurmExecutor.check_here(Pool("gpu", 8, nodes=2))
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(hwt.ArgumentError, match=r"each of 2 tasks.*without srun"):
        SlurmExecutor.check_here(Pool("cpu", 4, nodes=2))


@pytest.mark.parametrize(
    ("pool", "environ", "expected"),
    [
        (Pool(nodes="auto"), {}, ("cpu", 8, 2)),
        (Pool(nodes="auto", threads_per_device=4), {}, ("cpu", 2, 2)),
        (Pool(nodes="auto"), {"SLURM_GPUS_ON_NODE": "4"}, ("gpu", 4, 2)),
        (Pool("cpu", 2, nodes="auto"), {"SLURM_GPUS_ON_NODE": "4"}, ("cpu", 2, 2)),
        (Pool("gpu", 8, 1.5, nodes="auto"), {}, ("gpu", 8, 2)),
        (Pool(nodes="auto"), {"SLURM_JOB_NUM_NODES": "1"}, ("cpu", 8, 1)),
    ],
)
@pytest.mark.usefixtures("job")
def test_a_pool_takes_its_nodes_from_the_allocation(
    pool: Pool, environ: dict[str, str], expected: tuple[str, int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = hwt.Study(
        "s", {"lr": hwt.Float(0, 1)}, [hwt.Metric("error", "min")], max_epochs=3, pool=pool, dir=tmp_path
    ).spec.pool  # fmt: skip
    assert (found.accelerator, found.node_size, found.n_nodes) == expected
    if found.n_nodes > 1:
        assert found == Pool(*expected[:2], pool.usd_per_device_hour, pool.threads_per_device, nodes=2)
    SlurmExecutor.check_here(found)


def test_a_pool_without_an_allocation_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def study() -> hwt.Study:
        objective = hwt.Metric("error", "min")
        return hwt.Study("s", {"lr": hwt.Float(0, 1)}, [objective], max_epochs=3, pool=pool, dir=tmp_path)

    pool = Pool(nodes="auto")
    with pytest.raises(hwt.ArgumentError, match=r"Pool.nodes.*outside of an allocation.*hwtune sbatch"):
        study()
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with pytest.raises(hwt.ArgumentError, match=r"Pool.devices.*how many of type 'cpu'"):
        study()
    with pytest.raises(hwt.ArgumentError, match=r"Pool.per_device"):
        Pool(nodes="auto", per_device=2)
    with pytest.raises(hwt.ArgumentError, match=r"Pool.nodes"):
        _ = pool.n_nodes


@pytest.mark.usefixtures("job")
def test_a_step_that_ends_ends_the_session_with_what_srun_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, folder = Pool("cpu", 4, nodes=3), tmp_path
    launcher = SlurmLauncher(pool)
    assert isinstance(launcher, Launcher)
    invitation = Invitation(connect="head:1", key=b"k" * 16, folder=folder, pool=pool)
    command = launcher.command(invitation)
    assert command[:3] == ["srun", "--nodes=2", "--ntasks=2"]
    assert command[-4:] == ["agent", "--connect", "head:1", "--launched"]
    launcher.start(invitation)
    step = vars(launcher)["_step"]
    step.wait(20)
    with pytest.raises(hwt.TrialError, match=r"has ended with status 3.*agents.log; the last line is 'no nodes left'"):
        launcher.poll()
    assert launcher.missing().startswith("The allocation has 2 nodes, the pool up to 3. The output of srun")
    launcher.stop()
    launcher.stop()
    monkeypatch.delenv("SLURM_JOB_ID")
    with pytest.raises(hwt.ArgumentError):
        SlurmLauncher(pool)
