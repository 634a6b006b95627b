"""What user code of a script pickles by name inside a rank: pools, whole modules, hyperparameters, states."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

_SCRIPT = """
import dataclasses, enum, multiprocessing, sys
from typing import NamedTuple
import lightning.pytorch as L
import torch
import lightning_hwtune as hwt

@dataclasses.dataclass
class Config:
    lr: float = 0.0

class Kind(enum.Enum):
    SMALL = "small"

class Point(NamedTuple):
    x: float

class Net(L.LightningModule):
    def __init__(self, config: Config = Config(), kind: Kind = Kind.SMALL, point: Point = Point(0.0)) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch).pow(2).mean()

    def validation_step(self, batch, batch_idx):
        self.log("error", self.layer(batch).pow(2).mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

def square(number):
    return number * number

def train(trial):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.map(square, [3]) == [9]
    loader = torch.utils.data.DataLoader(torch.ones(4, 1), 4)
    trial.fit(Net(Config(trial["x"]), point=Point(trial["x"])), loader, loader, logger=False)
    torch.save(Net(), trial.dir / "whole.pt")

def loop(trial):
    state = trial.load() or Config(0.0)
    assert type(state) is Config
    for epoch in range(int(state.lr) + 1, trial.max_epochs + 1):
        if trial.report(epoch, error=trial["x"]).kind != "continue":
            break
    trial.save(Config(float(epoch)))

for function in (train, loop):
    study = hwt.Study(
        function.__name__, hwt.SearchSpace(x=hwt.Float(0.5, 1.0)), [hwt.Metric("error", "min")],
        scheduler=hwt.ASHA(2, first_rung=1, eta=2), pool=hwt.Pool("cpu", devices=1), dir=sys.argv[1],
    )
    study.run(function, max_trials=2, check=False, progress=False, finishers=2)
    assert [trial.n_retries for trial in study.state().trials] == [0, 0]
    assert len(study.front()) and not any("changes nothing" in note.text for note in study.state().notes)
best = hwt.Study.load("train", dir=sys.argv[1]).best
kept = Net.load_from_checkpoint(best.checkpoint, weights_only=False).hparams
assert (kept.config, kept.kind, kept.point) == (Config(best.config["x"]), Kind.SMALL, Point(best.config["x"])), kept
"""


@pytest.mark.training
def test_what_a_script_defines_can_be_pickled_by_name_in_its_trials(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(_SCRIPT))
    done = subprocess.run([sys.executable, script, tmp_path / "studies"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
