"""A sweep continues only with the app's configuration with which it began."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from sweeps import load, start_command

pytestmark = pytest.mark.training
APP = """
import hydra

@hydra.main(version_base="1.3", config_path=".", config_name="app")
def main(cfg):
    return cfg.x + cfg.model.width

main()
"""
SWEEP = ["-m", "hydra/sweeper=hwtune", "x=interval(0,1)", "hydra.sweeper.hwtune.pool={accelerator: cpu, devices: 1}",
         "hydra.sweeper.n_trials=1"]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    write_config(tmp_path / "app.yaml", 64)
    return tmp_path


def write_config(path: Path, width: int, x: float = 0.0) -> None:
    path.write_text(
        f"x: {x}\nmodel: {{width: {width}}}\nlog: run_${{now:%f}}_${{oc.env:RUN,none}}_${{x}}\n", encoding="utf-8"
    )


def run(folder: Path, overrides: Sequence[str], *flags: str, run_name: str = "first") -> tuple[int, str]:
    done = start_command(["app.py", *flags, *SWEEP, *overrides], folder, environment={"RUN": run_name})
    assert "Traceback" not in done.stdout
    return done.returncode, done.stdout


def test_a_named_study_refuses_another_configuration_and_names_what_differs(folder: Path) -> None:
    named = ["hydra.sweeper.study_name=s"]
    assert run(folder, named)[0] == 0
    code, output = run(folder, [*named, "model.width=128"])
    assert code == 1
    assert "model.width: stored '64', given '128'" in output
    assert "start another one with hydra.sweeper.study_name=NAME" in output
    assert "delete" in output
    assert "app_config.yaml" in output
    write_config(folder / "app.yaml", 64, x=0.5)
    code, output = run(folder, named, run_name="second")  # neither what is searched nor what differs by itself
    assert code == 0, output
    (folder / "hwtune" / "s" / "app_config.yaml").unlink()  # as in a study that was made before there was the file
    assert run(folder, [*named, "model.width=128"])[0] == 0
    assert "width: 128" in (folder / "hwtune" / "s" / "app_config.yaml").read_text(encoding="utf-8")
    assert len(load("s", folder).state().trials) == 1


def test_a_refused_sweep_leaves_no_folder_and_nothing_of_anothers(folder: Path) -> None:
    here = ["hydra.sweep.dir=out"]
    assert run(folder, [*here, "hydra.sweeper.study_name=first"])[0] == 0
    code, output = run(folder, [*here, "hydra.sweeper.study_name=second"])
    assert (code, "another directory" in output) == (1, True), output
    assert [path.name for path in (folder / "hwtune").iterdir()] == ["first"]
    study = folder / "hwtune" / "first"
    for path in study.glob("study.db*"):
        path.unlink()
    before = sorted(str(path) for path in folder.rglob("*"))
    code, output = run(folder, [*here, "hydra.sweeper.study_name=first"])
    assert (code, "Restore the log from a copy" in output) == (1, True), output
    assert sorted(str(path) for path in folder.rglob("*")) == before


def test_without_a_name_another_configuration_is_another_study(folder: Path) -> None:
    write_config(folder / "small.yaml", 8)
    write_config(folder / "large.yaml", 512)
    for name in ("small", "large"):
        code, output = run(folder, [], "--config-name", name)
        assert code == 0, output
        assert "0 of 1 trial begun, 1 to go" in output
