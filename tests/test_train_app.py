"""`train.py`: an ordinary Hydra app without any tuning in its code, and the ready search over it."""

from __future__ import annotations

import ast
import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torchvision_files import write_fashion_mnist

import lightning_hwtune as hwt
from lightning_hwtune.core.record import TrialState
from models import DigitsMLP
from train import chosen, share, train

ROOT = Path(__file__).parents[1]
LIMIT_S = 280.0


def run(*arguments: str) -> str:
    """Starts the app as a user does; returns its output."""
    done = subprocess.run(
        [sys.executable, "train.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def composed(folder: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "configs")):
        quick = ["experiment=digits_mlp", "trainer=quick", "logger={}", f"output_dir={folder}"]
        return compose("train", [*quick, *overrides])


def logged(folder: Path) -> dict[str, float]:
    """Returns the values that a training's CSV file has, the last one of each name."""
    (path,) = folder.rglob("metrics.csv")
    with path.open(encoding="utf-8") as file:
        return {name: float(text) for row in csv.DictReader(file) for name, text in row.items() if text}


def last_checkpoint(folder: Path) -> dict:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=False)


def test_the_app_imports_nothing_of_ours():
    tree = ast.parse((ROOT / "train.py").read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"__future__", "collections.abc", "typing", "hydra", "hydra.utils", "lightning", "omegaconf"}


def test_devices_share_the_batch():
    assert [share(64, n) for n in (1, 2, 4)] == [64, 32, 16]
    for batch_size, n_devices in ((63, 2), (1, 2), (0, 1), (-2, 2)):
        with pytest.raises(
            ValueError, match=rf"data\.batch_size is {batch_size}; allowed: a multiple of {n_devices}, the number"
        ):
            share(batch_size, n_devices)


def test_main_returns_what_the_key_names():
    metrics = {"val_error": 0.25, "val_loss": 1.5}
    assert chosen(metrics, "val_loss") == 1.5
    assert chosen(metrics, ["val_loss", "val_error"]) == (1.5, 0.25)
    assert chosen(metrics, OmegaConf.create(["val_error"])) == (0.25,)
    with pytest.raises(ValueError, match="names val_acc; logged names: val_error, val_loss"):
        chosen(metrics, ["val_error", "val_acc"])


@pytest.mark.training
def test_the_same_seed_gives_the_same_training(tmp_path):
    first, again = (train(composed(tmp_path / name)) for name in ("first", "again"))
    other = train(composed(tmp_path / "other", "seed=1"))
    assert first == again
    assert set(first) == {"train_loss", "val_loss", "val_error", "test_loss", "test_error"}
    assert first["train_loss"] != other["train_loss"]


@pytest.mark.training
def test_a_training_goes_on_from_a_checkpoint(tmp_path):
    whole = train(composed(tmp_path / "whole", "trainer.max_epochs=2", "test=false"))
    train(composed(tmp_path / "first", "test=false"))
    checkpoint = tmp_path / "first" / "checkpoints" / "last.ckpt"
    second = composed(tmp_path / "second", "trainer.max_epochs=2", f"ckpt_path={checkpoint}", "test=false")
    rest = train(second)
    assert set(rest) == set(whole) == {"train_loss", "val_loss", "val_error"}
    saved = [last_checkpoint(tmp_path / name) for name in ("whole", "first", "second")]
    assert [(item["epoch"], item["global_step"]) for item in saved] == [(1, 4), (0, 2), (1, 4)]


@pytest.mark.training
def test_the_test_measures_the_weights_that_were_kept(tmp_path):
    """The highest loss is the best here, so that the weights to test are not the last ones."""
    config = composed(
        tmp_path, "trainer.max_epochs=3", "monitor=val_loss", "callbacks.best.mode=max",
        "trainer.limit_train_batches=1.0", "trainer.limit_test_batches=1.0",
    )  # fmt: skip
    metrics = train(config)
    data = instantiate(config.data)
    data.setup("test")

    def loss_of(name: str) -> float:
        model = DigitsMLP.load_from_checkpoint(tmp_path / "checkpoints" / name).eval()
        with torch.no_grad():
            return float(torch.nn.functional.cross_entropy(model(data.test_set.inputs), data.test_set.labels))

    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert metrics["test_loss"] == pytest.approx(loss_of("best.ckpt"), rel=1e-5)
    assert loss_of("best.ckpt") > 1.1 * loss_of("last.ckpt")


@pytest.mark.training
@pytest.mark.slow
def test_one_command_trains_the_default(tmp_path):
    run("trainer=quick", f"hydra.run.dir={tmp_path}")
    values = logged(tmp_path)
    assert {"train_loss", "val_loss", "val_error", "test_loss", "test_error"} < set(values)
    assert last_checkpoint(tmp_path)["global_step"] == 2
    assert OmegaConf.load(tmp_path / ".hydra" / "config.yaml").model._target_ == "models.DigitsConvNet"


@pytest.mark.training
@pytest.mark.slow
def test_one_command_trains_each_other_model(tmp_path):
    """Hydra's own multirun: no tuning, one short epoch each."""
    write_fashion_mnist(tmp_path / "data")
    experiments = ["digits_mlp", "fashion_mnist_resnet18", "text_transformer"]
    run(
        "-m",
        f"experiment={','.join(experiments)}",
        "trainer=quick",
        "data.batch_size=8",
        "data.num_workers=0",
        f"data_dir={tmp_path}/data",
        f"hydra.sweep.dir={tmp_path}/out",
    )
    kinds = []
    for number in range(len(experiments)):
        folder = tmp_path / "out" / str(number)
        kinds.append(OmegaConf.load(folder / ".hydra" / "config.yaml").model._target_)
        assert {"train_loss", "val_loss", "val_error", "test_loss", "test_error"} < set(logged(folder))
        assert last_checkpoint(folder)["global_step"] == 2
    assert kinds == ["models.DigitsMLP", "models.ResNet18", "models.CharTransformer"]


@pytest.mark.training
@pytest.mark.slow
def test_the_ready_search_tunes_it(tmp_path):
    """One trial on one device and one on two take equal steps; the first one paused and resumed by the app's key."""
    config = "model.lr: 0.01, model.width: 8, model.depth: 1, model.dropout: 0.1, data.batch_size: 256"
    enqueued = ", ".join(f"{{{config}, trainer.devices: {n}}}" for n in (1, 2))
    run(
        "-m",
        "hwtune=digits",
        "trainer.max_epochs=2",
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.hwtune.scheduler={name: asha, first_rung: 1, eta: 2}",
        f"hydra.sweeper.hwtune.enqueue=[{enqueued}]",
        f"hydra.sweeper.hwtune.dir={tmp_path}/studies",
        f"hydra.sweep.dir={tmp_path}/out",
    )
    trials = hwt.Study.load("digits_hydra", dir=tmp_path / "studies").state().trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETED] * 2
    assert [trial.config["trainer.devices"] for trial in trials] == [1, 2]
    folders = [tmp_path / "out" / f"trial_{number:03d}" for number in range(2)]
    steps = [last_checkpoint(folder)["global_step"] for folder in folders]
    assert steps == [10, 10]  # 1269 samples to train on, 256 a step
    assert trials[0].segment == 2
    resumed = OmegaConf.load(folders[0] / ".hydra" / "segment_02" / "config.yaml")
    assert Path(resumed.ckpt_path).name.startswith("segment_01")
    solutions = OmegaConf.load(tmp_path / "out" / "optimization_results.yaml").solutions
    assert 1 <= len(solutions) <= 2
    assert {len(solution["values"]) for solution in solutions} == {3}
