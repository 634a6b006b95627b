"""The job that `hwtune sbatch` writes and submits. `tests/cluster/test_slurm.py` runs one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lightning_hwtune.cli.commands import app
from lightning_hwtune.cli.study_run import continued_by

STUDY = """
study: s
train: lightning_hwtune:Study
space: {lr: {type: float, low: 0, high: 1}}
objectives: [{metric: error, mode: min}]
max_epochs: 3
max_trials: 2
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "my study.yaml"
    path.write_text(STUDY)
    return path


def written(path: Path, *arguments: str) -> list[str]:
    done = CliRunner().invoke(app, ["sbatch", str(path), "--dry-run", *arguments])
    assert done.exit_code == 0, done.output
    assert subprocess.run(["bash", "-n"], input=done.output, text=True).returncode == 0
    return done.output.splitlines()


def test_the_script_has_the_options_of_sbatch_and_runs_the_study_with_the_changes(study_file: Path) -> None:
    lines = written(study_file, "max_trials=5", "--nodes", "2", "-c4", "--time=12:00:00", "--comment=it's a job")
    assert lines[0] == "#!/bin/bash"
    for option in ("--requeue", "--signal=B:TERM@120", "--nodes 2", "-c4", "--time=12:00:00"):
        assert f"#SBATCH {option}" in lines
    (command,) = (line for line in lines if " run " in line)
    assert command.endswith(f" run '{study_file}' max_trials=5 pool.nodes=auto executor=slurm --wait &")


@pytest.mark.parametrize(
    ("pool", "given", "expected"),
    [
        ("{accelerator: gpu, devices: 8, nodes: 4}", [], {"--nodes=4", "--gpus-per-node=8"}),
        ("{accelerator: gpu, devices: 8, nodes: 4}", ["-N2", "--gres=gpu:8"], set()),
        ("{accelerator: cpu, devices: 4, nodes: 2, threads_per_device: 2}", [], {"--nodes=2", "--cpus-per-task=8"}),
        ("{accelerator: cpu, devices: 4, nodes: 2}", ["--exclusive", "--nodes", "3"], set()),
    ],
)
def test_what_the_pool_says_need_not_be_said_again(
    study_file: Path, pool: str, given: list[str], expected: set[str]
) -> None:
    study_file.write_text(f"{STUDY}pool: {pool}\nexecutor: slurm\n")
    lines = written(study_file, *given)
    ours = {"--nodes=4", "--nodes=2", "--gpus-per-node=8", "--cpus-per-task=8", "--cpus-per-task=4"}
    assert {option for option in ours if f"#SBATCH {option}" in lines} == expected
    assert not any("pool.nodes" in line or "executor=" in line for line in lines)


def test_a_wrong_file_and_a_host_without_slurm_are_refused(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(app, ["sbatch", str(study_file), "--nodes=2"])
    assert (done.exit_code, "program sbatch" in done.output, "--dry-run" in done.output) == (1, True, True)
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho invalid partition >&2\nexit 1\n")
    os.chmod(tmp_path / "sbatch", 0o755)
    done = CliRunner().invoke(app, ["sbatch", str(study_file), "--partition=none"])
    assert (done.exit_code, "sbatch refuses the job: invalid partition" in done.output) == (1, True)
    study_file.write_text(STUDY.replace("max_epochs: 3", "max_epochs: none"))
    done = CliRunner().invoke(app, ["sbatch", str(study_file), "--nodes=2"])
    assert (done.exit_code, "max_epochs" in done.output) == (1, True)


@pytest.mark.parametrize(
    ("pool", "given", "is_refused"),
    [
        ("cpu", [], True),
        ("cpu", ["--cpus-per-task=1"], True),
        ("cpu", ["-c", "2"], False),
        ("cpu", ["-c2", "--time=10"], False),
        ("cpu", ["--nodes=2"], False),
        ("cpu", ["--exclusive"], False),
        ("auto", ["--gpus-per-node=1"], True),
        ("auto", ["--gres=gpu:a100:2"], False),
        ("auto", ["--gpus=2"], False),
    ],
)
def test_a_request_with_too_few_devices_is_refused_before_it_is_submitted(
    study_file: Path, pool: str, given: list[str], is_refused: bool
) -> None:
    space = "space: {lr: {type: float, low: 0, high: 1}, devices: {type: num_devices, counts: [1, 2]}}"
    text = STUDY.replace("space: {lr: {type: float, low: 0, high: 1}}", space)
    study_file.write_text(f"{text}pool: {{accelerator: {pool}, nodes: auto}}\nexecutor: slurm\n")
    done = CliRunner().invoke(app, ["sbatch", str(study_file), "--dry-run", *given])
    assert done.exit_code == is_refused, done.output
    if is_refused:
        option = "--cpus-per-task" if pool == "cpu" else "--gpus-per-node"
        assert f"{option}=1 on 1 node" in done.output
        assert f"{option}=2" in done.output


@pytest.mark.parametrize("is_in_job", [False, True])
def test_a_job_that_is_queued_again_advises_no_command(
    is_in_job: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], study_file: Path
) -> None:
    if is_in_job:
        (exported,) = (line for line in written(study_file) if line.startswith("export "))
        monkeypatch.setenv(*exported.split()[-1].split("="))
    capsys.readouterr()
    with pytest.raises(typer.Exit), continued_by(Path("s"), "hwtune run s.yaml"):
        raise SystemExit(143)
    said = capsys.readouterr().err
    assert ("hwtune run s.yaml" in said) is not is_in_job
    assert ("continues by itself when the job is queued again" in said) is is_in_job
