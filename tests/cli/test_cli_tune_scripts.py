"""`hwtune cli-tune` with other shapes of LightningCLI scripts and configurations, trained in this process."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app

pytestmark = pytest.mark.training

SHORT = ("scheduler.max_epochs=2", "max_trials=2", "finishers=1", "executor=inline", "--no-check", "--quiet")
OPTIONS = ("--script", "train.py", "--space", "space.yaml")
SCRIPT = """
import json, sys
from pathlib import Path
from lightning.pytorch.cli import LightningCLI
from parts import Data, Net

class Seen(LightningCLI):
    def after_instantiate_classes(self):
        seen = {"lr": self.model.hparams.lr, "width": self.model.hparams.width, "dropout": self.model.hparams.dropout}
        seen["callbacks"] = [type(item).__name__ for item in self.trainer.callbacks]
        with Path("seen").open("a") as file:
            file.write(json.dumps(seen) + "\\n")

def main(args=None):
    Seen(Net, Data, args=args, parser_kwargs=PARSER, save_config_callback=None)
"""


FIXED = (
    "main(['fit', '--config', 'config.yaml'])",
    "main({'subcommand': 'fit', 'fit': {'model': {'lr': 0.5}}})",
    "main([])",
)
CHANGES = ("model.lr=0.5", "config=lr.yaml")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copytree(Path(__file__).parents[1] / "apps_cli" / "products", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text("{model.lr: {type: choice, options: [0.001, 0.002]}}")
    script(tmp_path, "main()")
    yield tmp_path
    sys.modules.pop("parts", None)  # of this folder


def script(folder: Path, call: str, parser: str = "{}") -> None:
    (folder / "train.py").write_text(f"PARSER = {parser}\n{SCRIPT}\nif __name__ == '__main__':\n    {call}\n")


def tune(*words: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, ["cli-tune", *words, *OPTIONS, *SHORT])
    assert done.exit_code == status, done.output
    return done.output


def seen(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "seen").read_text().splitlines()]


def study(folder: Path, name: str = "config") -> hwt.Study:
    return hwt.Study.load(name, folder / "hwtune")


@pytest.mark.parametrize("call", ["main(sys.argv[1:])", "main(tuple(sys.argv[1:]))"])
def test_a_script_that_passes_the_command_line_on_trains_each_trial(folder: Path, call: str) -> None:
    script(folder, call.replace("tuple(sys.argv[1:])", "[*sys.argv[1:], '--model.dropout=0.25']"))
    tune("config.yaml")
    assert {found["lr"] for found in seen(folder)} == {0.001, 0.002}
    assert {found["dropout"] for found in seen(folder)} == {0.25 if "tuple" in call else 0.1}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        *((call, "Leave out args, or pass sys.argv[1:]") for call in FIXED),
        *((f"main([*sys.argv[1:], '--{words}'])", "the value of the trial") for words in CHANGES),
    ],
)
def test_arguments_that_all_trials_would_share_are_refused(folder: Path, call: str, message: str) -> None:
    (folder / "lr.yaml").write_text("model: {lr: 0.5}")
    script(folder, call)
    assert message in tune("config.yaml", status=1)
    assert not (folder / "seen").exists()


@pytest.mark.parametrize("key", ["callbacks", "callbacks+"])
def test_callbacks_that_are_appended(folder: Path, key: str) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["trainer"][key] = config["trainer"].pop("callbacks")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    tune("config.yaml")
    state = study(folder).state()
    assert state.spec.objectives.names == ("val/error", "train_s")
    assert all("ModelCheckpoint" in found["callbacks"] for found in seen(folder))
    [best, *_] = (folder / "hwtune" / "config" / "best").iterdir()
    assert key in yaml.safe_load(best.read_text())["trainer"]


def test_a_second_file_that_appends_callbacks_and_config_given_twice(folder: Path) -> None:
    stop = {"class_path": "EarlyStopping", "init_args": {"monitor": "val/error", "patience": 9}}
    (folder / "more.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks+": [stop]}, "model": {"width": 4}}))
    tune("--config", "config.yaml", "--config", "more.yaml")
    found = seen(folder)[-1]
    assert found["width"] == 4
    assert {"ModelCheckpoint", "EarlyStopping"} <= set(found["callbacks"])
    assert study(folder, "config-more").state().spec.objectives.names == ("val/error", "train_s")


def test_values_from_the_environment_count_where_the_configuration_has_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(folder, "main()", "{'fit': {'default_env': True}, 'default_env': True}")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    del config["model"]["dropout"]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    for name, value in {"MODEL__DROPOUT": "0.3", "MODEL__LR": "0.5", "MODEL__WIDTH": "5"}.items():
        monkeypatch.setenv(f"PL_FIT__{name}", value)
    tune("config.yaml")
    assert {(found["lr"], found["dropout"], found["width"]) for found in seen(folder)} == {
        (0.001, 0.3, 8),
        (0.002, 0.3, 8),
    }


def test_interpolations_of_a_parser_that_resolves_them(folder: Path) -> None:
    script(folder, "main()", "{'parser_mode': 'omegaconf', 'fit': {'parser_mode': 'omegaconf'}}")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["width"] = "${data.batch_size}"
    config["trainer"]["callbacks"][0]["init_args"]["monitor"] = "${trainer.callbacks.0.init_args.filename}"
    config["trainer"]["callbacks"][0]["init_args"]["filename"] = "val/error"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    tune("config.yaml", "--no-check")
    assert {(found["lr"], found["width"]) for found in seen(folder)} == {(0.001, 16), (0.002, 16)}
