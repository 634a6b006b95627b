"""Apps whose training runs out of memory: their batches are halved and accumulated, if the batch size is known."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("hydra")
pytest.importorskip("jsonargparse")

import lightning_hwtune as hwt
from lightning_hwtune.training.batch_split import BatchSplit

pytestmark = pytest.mark.training
APP = Path(__file__).parent / "memory"
SWEEP = (
    "app.py", "-m", "hydra/sweeper=hwtune", "lr=choice(0.1)", "hydra.sweeper.n_trials=1", "hydra.sweep.dir=out",
    "hydra.sweeper.study_name=memory", "hydra.sweeper.hwtune.check=false",
    "hydra.sweeper.hwtune.objectives=[{metric: val/error, mode: min}]",
    "hydra.sweeper.hwtune.pool={accelerator: cpu, devices: 1}",
)  # fmt: skip
CLI = (
    "-m", "lightning_hwtune", "cli-tune", "cli.yaml", "--script", "cli.py", "--space", "space.yaml", "--max-trials",
    "1", "--study", "memory", "executor=inline", "--no-check", "pool.devices=1",
    "objectives=[{metric: val/error, mode: min}]",
)  # fmt: skip
KEY = "hydra.sweeper.hwtune.batch_size_key=data.batch_size"


def tune(folder: Path, *words: str) -> tuple[str, Any]:
    shutil.copytree(APP, folder, dirs_exist_ok=True)
    (folder / "space.yaml").write_text("model.lr: {type: choice, options: [0.1]}")
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=240,
    )  # fmt: skip
    [trial] = hwt.Study.load("memory", folder / "hwtune").state().trials
    return done.stdout, trial


@pytest.mark.slow
@pytest.mark.parametrize("words", [(*SWEEP, KEY), CLI], ids=["hydra", "cli"])
def test_the_batches_of_an_app_become_smaller_and_its_steps_stay(tmp_path: Path, words: tuple[str, ...]) -> None:
    output, trial = tune(tmp_path, *words)
    assert str(trial.state) == "completed", output
    assert trial.max_per_device_batch == 4
    [steps] = tmp_path.rglob("steps")
    assert steps.read_text().split() == ["16"] * 4  # two epochs of 32 samples


class GradientAccumulationScheduler:
    """Has the name of Lightning's."""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"limit_train_batches": 20}, "counts batches: limit_train_batches=20"),
        ({"val_check_interval": 50}, "counts batches: val_check_interval=50"),
        ({"limit_train_batches": 0.5, "overfit_batches": 0.0}, ""),
        ({"accumulate_grad_batches": 4}, "accumulate_grad_batches=4"),
        ({"callbacks": [GradientAccumulationScheduler()]}, "GradientAccumulationScheduler"),
        ({"lightning_module": SimpleNamespace(automatic_optimization=False)}, "optimises by hand"),
    ],
)
def test_what_keeps_the_batches_of_an_app_as_they_are(changes: dict[str, Any], why: str) -> None:
    order: Any = SimpleNamespace(batch="global", num_devices=1, trainer={}, max_per_device_batch=None)
    split = BatchSplit(order)
    split.expect_app("no size")
    assert split.fixed_because == "no size"
    assert split.share(16) == 16
    defaults = {"accumulate_grad_batches": 1, "callbacks": [], "lightning_module": None}
    split.begin_fit(SimpleNamespace(**{**defaults, **changes}))
    assert why in split.fixed_because
    assert bool(why) == bool(split.fixed_because)
    assert split.global_batch == (0 if why else 16)
