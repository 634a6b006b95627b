"""`hwtune cli-tune` with scripts that `python -m` starts, and with callbacks that save the configuration themselves."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import lightning_hwtune as hwt
from lightning_hwtune.apps.config_tree import ConfigTree
from lightning_hwtune.apps.lightning_cli.segment import CliSegment, CliTrial
from lightning_hwtune.apps.script_call import module_file
from lightning_hwtune.cli.commands import app

pytestmark = pytest.mark.training

SHORT = ("executor=inline", "--no-check", "--quiet", "--space", "space.yaml", "pool.devices=1")
PAUSES = ("scheduler={name: asha, max_epochs: 2, first_rung: 1, eta: 2}", "finishers=4")
THROUGH = ("scheduler={name: run_to_end, max_epochs: 2}",)
SAVES = ("Refuses", "Overwrites", "AddsText", "Sends")
COMMAND = """
import json, os
from pathlib import Path
from lightning.pytorch.cli import LightningCLI, SaveConfigCallback
from {parts} import Data, Net

class Refuses(SaveConfigCallback):  # its file is in a folder of its choice, so it repeats Lightning's refusal
    def setup(self, trainer, pl_module, stage):
        if self.already_saved:
            return
        path = os.path.join(trainer.log_dir, "own", self.config_filename)
        if trainer.strategy.broadcast(os.path.exists(path)):
            raise RuntimeError(f"{{path}} exists")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.parser.save(self.config, path, skip_none=False)
        self.already_saved = True

class AddsText(SaveConfigCallback):
    def setup(self, trainer, pl_module, stage):
        super().setup(trainer, pl_module, stage)
        Path("texts").open("a").write(trainer.log_dir + "\\n")

class Sends(SaveConfigCallback):
    def save_config(self, trainer, pl_module, stage):
        Path("texts").open("a").write(trainer.log_dir + "\\n")

class Overwrites(Refuses):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{{**kwargs, "overwrite": True}})

class Shop(LightningCLI):
    def add_arguments_to_parser(self, parser):
        parser.add_argument("--saves", default="SaveConfigCallback")

    def before_instantiate_classes(self):
        self.save_config_callback = globals()[self.config[self.subcommand].saves]

if __name__ == "__main__":
    Shop(Net, Data)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copytree(Path(__file__).parents[1] / "apps_cli" / "products", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "space.yaml").write_text("{model.lr: {type: choice, options: [0.001, 0.002]}}")
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("parts", "shop")]:
        del sys.modules[name]


def package(folder: Path, name: str) -> None:
    """Make the app a package whose modules only work as parts of it."""
    inner = folder / "shop"
    inner.mkdir()
    (folder / "parts.py").rename(inner / "parts.py")
    (inner / "__init__.py").write_text("LOADED = True\n")
    (inner / name).write_text(COMMAND.format(parts=".parts"))


def tune(*words: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, ["cli-tune", *words, *SHORT])
    assert done.exit_code == status, done.output
    return done.output


def values(folder: Path, name: str) -> list[float]:
    trials = hwt.Study.load(name, folder / "hwtune").state().trials
    assert [str(trial.state) for trial in trials] == ["completed"] * len(trials), [trial.error for trial in trials]
    return [trial.last.values["val/error"] for trial in trials if trial.last]


@pytest.mark.slow
@pytest.mark.parametrize(("file", "module"), [("command.py", "shop.command"), ("__main__.py", "shop")])
def test_a_script_that_is_started_as_a_module(folder: Path, file: str, module: str) -> None:
    package(folder, file)
    tune("-c", "config.yaml", "--module", module, *THROUGH, "max_trials=1")
    assert len(values(folder, "config")) == 1
    study = hwt.Study.load("config", folder / "hwtune")
    segment = CliSegment(module, ("fit",), CliTrial(ConfigTree("{}"), {}, {}, has_seed=True))
    words = segment.alone(study.state().trials[0], study.dir)
    assert words[:3] == ["-m", module, "fit"]


@pytest.mark.parametrize("name", ["shop.comand", "nowhere", "nowhere.at.all", "shop", ""])
def test_a_module_that_is_not_there_is_refused_at_once(folder: Path, name: str) -> None:
    package(folder, "command.py")
    output = " ".join(tune("config.yaml", "-m", name, status=2).split())
    assert "there is no module" in output
    assert not (folder / "hwtune").exists()


def test_only_one_of_script_and_module(folder: Path) -> None:
    assert "either --script or --module" in tune("config.yaml", "-m", "train", "--script", "train.py", status=2)


def test_no_module_is_imported_when_its_file_is_looked_up(folder: Path) -> None:
    package(folder, "command.py")
    (folder / "shop" / "__init__.py").write_text("raise RuntimeError('imported')")
    assert module_file("shop.command") == folder / "shop" / "command.py"
    assert module_file("shop.command.more") is None


@pytest.mark.slow
def test_each_way_to_save_the_configuration_survives_a_pause(folder: Path) -> None:
    (folder / "train.py").write_text(COMMAND.format(parts="parts"))
    (folder / "space.yaml").write_text(f"saves: {{type: choice, options: {list(SAVES)}}}")
    (folder / "config.yaml").open("a").write("saves: SaveConfigCallback\n")
    enqueue = "enqueue=[" + ", ".join(f"{{saves: {name}}}" for name in SAVES) + "]"
    words = ("config.yaml", "--script", "train.py", enqueue, "max_trials=4", "seed=1")
    tune(*words, "--study", "pauses", *PAUSES)
    tune(*words, "--study", "through", *THROUGH)
    assert values(folder, "pauses") == values(folder, "through")
    trials = hwt.Study.load("pauses", folder / "hwtune").state().trials
    assert {trial.config["saves"] for trial in trials if trial.segment > 1} >= set(SAVES[:3])
