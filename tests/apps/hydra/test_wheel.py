"""The built wheel, installed where nothing of this repository can be found: Hydra and Lightning find us there, too."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from sweeps import LIGHTNING, PLAIN

pytestmark = [pytest.mark.training, pytest.mark.slow]
ROOT = Path(__file__).parents[3]
WHERE = """
import importlib.metadata as metadata, json, sys
import hydra_plugins.hwtune_sweeper, lightning_hwtune
found = [hydra_plugins.hwtune_sweeper.__file__, lightning_hwtune.__file__]
for group in ("lightning.pytorch.callbacks_factory", "pytorch_lightning.callbacks_factory"):
    (entry,) = metadata.entry_points(group=group, name="hwtune")
    found.append(str(entry.dist.locate_file("")))
    entry.load()
print(json.dumps([found, sys.path]))
"""


def command(*arguments: str | Path, cwd: Path) -> str:
    """Runs a command that must succeed, without anything of this process's Python."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=cwd,
        env={**environment, "OMP_NUM_THREADS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command(
        sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT, cwd=folder
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path) -> Path:
    """An environment with the wheel; what it depends on is borrowed from the one that runs the tests.

    A folder that is named in a `.pth` file has its own `.pth` files ignored: an editable install in it stays unseen.
    """
    folder = wheel.parent / "venv"
    command(sys.executable, "-m", "venv", "--without-pip", folder, cwd=wheel.parent)
    python = folder / "bin" / "python"
    command(
        sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel, cwd=folder
    )
    (packages,) = folder.glob("lib/python*/site-packages")
    borrowed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "dependencies.pth").write_text("\n".join(borrowed))
    return python


def test_the_plugin_lies_at_top_level_and_only_there(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "hydra_plugins/hwtune_sweeper/__init__.py" in names
    assert "lightning_hwtune/py.typed" in names
    assert "hydra_plugins/__init__.py" not in names, "the namespace is shared with other plugins"
    assert not [name for name in names if "_hydra/" in name or name.startswith(("tests", "models", "configs"))]


def test_what_is_found_is_the_installed_wheel(python: Path, tmp_path: Path) -> None:
    found, search_path = json.loads(command(python, "-c", WHERE, cwd=tmp_path).splitlines()[-1])
    assert all(Path(path).is_relative_to(python.parents[1]) for path in found)
    assert not [path for path in search_path if Path(path) in (ROOT, ROOT / "lightning_hwtune" / "_hydra")]
    shown = command(python, PLAIN, "hydra/sweeper=hwtune", "--cfg", "hydra", cwd=tmp_path)
    assert "_target_: hydra_plugins.hwtune_sweeper.HwtuneSweeper" in shown


def test_an_app_is_swept_by_the_installed_wheel(python: Path, tmp_path: Path) -> None:
    """Its trials report to the sweep although the app says nothing: the callback comes from the wheel's entry point."""
    shutil.copytree(LIGHTNING.parent, tmp_path / "app")
    overrides = ["hydra/sweeper=hwtune", "lr=interval(0.01,0.2)", "hydra.sweeper.n_trials=1", "hydra.sweep.dir=out"]
    command(python, "app.py", "-m", *overrides, "trainer.max_epochs=1", cwd=tmp_path / "app")
    assert OmegaConf.load(tmp_path / "app" / "out" / "optimization_results.yaml").best_value > 0
