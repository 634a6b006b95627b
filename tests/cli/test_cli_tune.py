"""`hwtune cli-tune` with a real LightningCLI script: trained, resumed, and its front's configurations trained again."""

from __future__ import annotations

import csv
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app
from lightning_hwtune.cli.tune_command import _split
from lightning_hwtune.core.record import TrialState

pytestmark = pytest.mark.training

REPOSITORY = Path(__file__).parents[2]
LIMIT_S = 200.0
OPTIONS = ("--script", "train.py", "--space", "space.yaml")
LR = "{model.lr: {type: float, low: 1e-3, high: 1e-1, log: true}}"
PATHS = {"model": "parts.Net", "data": "parts.Data"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copytree(Path(__file__).parents[1] / "apps_cli" / "products", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("parts", None)  # of this folder


def here(*words: str, status: int = 0) -> str:
    """Runs the command in this process, its trials too: one device, no second interpreter."""
    inline = ("executor=inline", "--no-check", "--quiet")
    done = CliRunner().invoke(app, ["cli-tune", "config.yaml", *words, *inline])
    assert done.exit_code == status, done.output
    return done.output


def apart(folder: Path, *words: str) -> str:
    """Runs a Python program in a separate process; returns what it printed."""
    with (folder / "out").open("w") as out:  # a pipe would be held open by the fork server
        done = subprocess.run(
            [sys.executable, *words],
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            timeout=LIMIT_S,
        )
    said = (folder / "out").read_text()
    assert done.returncode == 0, said
    return said


def changed(folder: Path, **sections: object) -> None:
    """Changes sections of the configuration."""
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    for name, values in sections.items():
        config[name] = {**config[name], **values} if isinstance(values, dict) else values
    path.write_text(yaml.safe_dump(config))


def logged(folder: Path) -> list[list[dict[str, str]]]:
    """Return the rows of each folder of the CSV logger: of runs outside a study, then of each trial."""
    folders = sorted((folder / "runs" / "lightning_logs").iterdir(), key=lambda path: (path.name[0] == "t", path.name))
    return [list(csv.DictReader((path / "metrics.csv").open())) for path in folders if (path / "metrics.csv").exists()]


def study_in(folder: Path, name: str = "config") -> hwt.Study:
    return hwt.Study.load(name, folder / "hwtune")


@pytest.mark.slow
def test_a_script_that_knows_of_no_study_is_tuned_on_one_and_two_ranks(folder: Path) -> None:
    entry = ("-c", "from lightning_hwtune.cli.commands import main; main()")
    overrides = ("pool.devices=2", "scheduler.first_rung=1", "finishers=2")
    words = (*entry, "cli-tune", "config.yaml", *OPTIONS, *overrides, "--max-trials", "6")
    said = apart(folder, *words)
    study = study_in(folder)
    state = study.state()
    assert (len(state.trials), state.closed.state if state.closed else "") == (6, "finished")
    assert {s.world_size for s in state.segments if s.outcome == "done"} == {1, 2}
    assert any(segment.resource > 0 for segment in state.segments)
    complete = [trial for trial in state.trials if trial.state is TrialState.COMPLETED]
    assert len(complete) >= 2
    assert {float(row["batch_size"]) for rows in logged(folder) for row in rows if row["batch_size"]} == {8.0, 16.0}

    best = sorted((study.dir / "best").iterdir())
    assert [int(path.stem) for path in best] == sorted(study.front()["trial"])
    for path in best:
        assert f"configuration: hwtune/config/best/{path.name}" in said
        trial = state.trials[int(path.stem)]
        config = yaml.safe_load(path.read_text())
        assert config["model"] == {"lr": trial.config["model.lr"], "width": trial.config["model.width"], "dropout": 0.1}
        assert config["data"]["batch_size"] * config["trainer"]["devices"] == 16
        assert config["seed_everything"] == trial.seed

    again = apart(folder, *words)
    assert "starts" not in again
    assert len(study.state().segments) == len(state.segments)


def test_a_best_file_trains_what_the_trial_trained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(folder, trainer={"max_epochs": 4})
    scheduler = "scheduler={name: asha, first_rung: 1, eta: 2}"
    here(*OPTIONS, "~space.trainer.devices", scheduler, "max_trials=3", "finishers=1")
    study = study_in(folder)
    [path] = (study.dir / "best").iterdir()
    trial = study.state().trials[int(path.stem)]
    assert trial.segment > 1
    assert len(logged(folder)) == len(study.state().trials)  # one folder per trial, for all its segments
    monkeypatch.setattr(sys, "argv", ["train.py", "fit", "--config", str(path)])
    monkeypatch.syspath_prepend(folder)
    runpy.run_path("train.py", run_name="__main__")
    rows = logged(folder)[0]  # of version_0, which no trial has taken
    errors = [float(row["val/error"]) for row in rows if row["val/error"]]
    assert errors == pytest.approx([m.values["val/error"] for m in trial.measurements], rel=1e-6)


def test_class_paths_need_no_script(folder: Path) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    sections = {key: {"class_path": PATHS[key], "init_args": config[key]} for key in PATHS}
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, **sections}))
    (folder / "space.yaml").write_text(LR.replace("model.lr", "model.init_args.lr"))
    here("--space", "space.yaml", "max_trials=2", "scheduler.max_epochs=2", "finishers=1", "--study", "own")
    state = study_in(folder, "own").state()
    assert [trial.state for trial in state.trials].count(TrialState.COMPLETED) >= 1
    [path, *_] = (folder / "hwtune" / "own" / "best").iterdir()
    assert yaml.safe_load(path.read_text())["trainer"]["max_epochs"] == 2


def test_a_script_without_subcommands_and_a_saved_configuration_in_the_way(folder: Path) -> None:
    (folder / "train.py").write_text(
        "from lightning.pytorch.cli import LightningCLI\nfrom parts import Data, Net\n"
        "cli = LightningCLI(Net, Data, run=False)\n"
        "cli.trainer.fit(cli.model, cli.datamodule)\n"
        "raise RuntimeError('only after the end') if cli.trainer.current_epoch < 3 else SystemExit(0)\n"
    )
    changed(folder, trainer={"logger": False})
    words = ("~space.trainer.devices", "scheduler.max_epochs=3", "max_trials=3", "finishers=1", "--no-subcommand")
    here(*OPTIONS, *words, "pool.accelerator=cpu")
    state = study_in(folder).state()
    assert max(trial.segment for trial in state.trials) == 2
    assert not [trial for trial in state.trials if trial.state is TrialState.FAILED]
    assert any("only after the end" in note.text for note in state.notes)


def test_several_files_are_merged_by_the_scripts_own_parser(folder: Path) -> None:
    """A later file wins, sections are joined, and what no file says has the default of its class."""
    (folder / "small.yaml").write_text("model: {width: 4, lr: 5e-3}\ntrainer: {max_epochs: 2}\n")
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("  dropout: 0.1\n", ""))
    (folder / "space.yaml").write_text("{model.dropout: {type: choice, options: [0.0, 0.5]}}")
    options = (*OPTIONS, "max_trials=2", "finishers=1")
    here("--config", "small.yaml", *options)
    state = study_in(folder, "config-small").state()
    assert state.spec.scheduler.max_resource == 2
    assert {trial.config["model.dropout"] for trial in state.trials} == {0.0, 0.5}
    path, *_ = (folder / "hwtune" / "config-small" / "best").iterdir()  # one file for each trial of the front
    best = yaml.safe_load(path.read_text())
    assert (best["model"]["width"], best["model"]["lr"], best["trainer"]["max_epochs"]) == (4, 0.005, 2)
    assert best["trainer"]["callbacks"][0]["init_args"]["monitor"] == "val/error"
    (folder / "small.yaml").write_text("model: {widht: 4}\n")
    assert "widht" in here("small.yaml", *options, status=1)


def test_a_word_that_is_no_file_and_no_change_is_told(folder: Path) -> None:
    said = here("nothing.yaml", *OPTIONS, status=2)
    assert "nothing.yaml" in said
    (folder / "a=b.yaml").touch()
    found = _split(["config.yaml", "x=1", "a=b.yaml", "~y", "+z=2"], [Path("space.yaml")])
    assert found == ([Path("config.yaml"), Path("a=b.yaml"), Path("space.yaml")], ["x=1", "~y", "+z=2"])


def test_what_the_parser_says_is_told(folder: Path) -> None:
    changed(folder, model={"widht": 3})
    said = here(*OPTIONS, "~space.trainer.devices", "max_trials=2", status=1)
    assert "sys.exit(2): " in said
    assert "model.widht" in said
    # nothing was measured, so the configuration may still be corrected
    (folder / "config.yaml").write_text((folder / "config.yaml").read_text().replace("  widht: 3\n", ""))
    here(*OPTIONS, "~space.trainer.devices", "max_trials=1", "finishers=0")
    (folder / "config.yaml").write_text((folder / "config.yaml").read_text().replace("dropout: 0.1", "dropout: 0.2"))
    said = here(*OPTIONS, "~space.trainer.devices", status=1)
    assert "model.dropout: stored '0.1', given '0.2'" in said
    assert "start another one with study=NAME" in said


def test_a_bad_name_and_a_bad_file_end_with_status_1(folder: Path) -> None:
    (folder / "space.yaml").write_text(LR.replace("model.lr", "model.rl"))
    assert "model.rl" in here(*OPTIONS, status=1)
    (folder / "config.yaml").write_text("trainer: [\n")
    assert "config.yaml" in here(*OPTIONS, status=1)
    assert not (folder / "hwtune").exists()
