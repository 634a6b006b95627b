"""A grid search for additive manufacturing: which perceptron predicts the quality of a printed part?

The shape is that of studies with a filament printer: five inputs (layer thickness, orientation, temperatures of
extrusion and chamber, speed), three outputs (deviation of the dimensions, porosity, tensile strength), a grid over
neurons, learning rate and epochs, two splits into training and test, judged by the RMSE and the training time. The data
is made by a stated rule, because the measurements of such studies are not published.
"""

from __future__ import annotations

import math
from pathlib import Path

import lightning as L
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import lightning_hwtune as hwt

__all__ = ["GRID", "parts", "printed", "study", "train"]

GRID = {"neurons": (4, 16, 64), "lr": (0.003, 0.03), "n_epochs": (10, 40), "test_share": (0.2, 0.3)}
_LOW = np.array([0.1, 0.0, 200.0, 60.0, 30.0])  # mm, degrees, degrees Celsius, degrees Celsius, mm/s
_HIGH = np.array([0.4, 90.0, 260.0, 110.0, 120.0])


def printed(n: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs `(n, 5)` in physical units, and outputs `(n, 3)`: a smooth rule, and 2 % of noise.

    With all inputs scaled to [0, 1] as t, o, e, c and s: deviation = 0.1 + 0.3 t + 0.1 s^2 + 0.1 sin(pi o),
    porosity = 2 + 3 s t + 2 (e - 0.6)^2, strength = 45 - 12 o - 8 t + 6 e - 4 s e + 3 c.
    """
    rng = np.random.default_rng(seed)
    unit = rng.random((n, 5))
    t, o, e, c, s = unit.T
    deviation = 0.1 + 0.3 * t + 0.1 * s**2 + 0.1 * np.sin(np.pi * o)
    porosity = 2 + 3 * s * t + 2 * (e - 0.6) ** 2
    strength = 45 - 12 * o - 8 * t + 6 * e - 4 * s * e + 3 * c
    outputs = np.stack([deviation, porosity, strength], axis=1)
    return _LOW + unit * (_HIGH - _LOW), outputs + rng.normal(size=outputs.shape) * outputs.std(0) * 0.02


def parts(test_share: float) -> tuple[TensorDataset, TensorDataset]:
    """Returns the training and the test part; inputs and outputs are scaled by those of the training part."""
    inputs, outputs = printed()
    n = round(len(inputs) * (1 - test_share))
    scaled = [(values - values[:n].mean(0)) / values[:n].std(0) for values in (inputs, outputs)]
    x, y = (torch.as_tensor(values, dtype=torch.float32) for values in scaled)
    return TensorDataset(x[:n], y[:n]), TensorDataset(x[n:], y[n:])


class Perceptron(L.LightningModule):
    """One hidden layer. `rmse` is the root of the mean squared error over the three scaled outputs."""

    def __init__(self, neurons: int, lr: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(nn.Linear(5, neurons), nn.Tanh(), nn.Linear(neurons, 3))

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Returns the loss of one batch."""
        return F.mse_loss(self.layers(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        """Logs the RMSE of the test part, which is one batch."""
        self.log("rmse", math.sqrt(F.mse_loss(self.layers(batch[0]), batch[1])))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])


class EndAt(L.Callback):
    """Ends the training after some epochs, so that their number can be a hyperparameter."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Asks the Trainer to stop after the last epoch."""
        trainer.should_stop = trainer.current_epoch + 1 >= self._epochs


def train(trial: hwt.Trial) -> None:
    """Trains one cell of the grid."""
    training, test = parts(trial["test_share"])
    loaders = DataLoader(training, 32, shuffle=True), DataLoader(test, len(test))
    trial.fit(Perceptron(trial["neurons"], trial["lr"]), *loaders, callbacks=[EndAt(trial["n_epochs"])])


def study(folder: str | Path = "hwtune", **grid: tuple[float, ...]) -> hwt.Study:
    """Returns the study: every cell of the grid is trained to its end."""
    cells = {**GRID, **grid}
    space = {name: hwt.Choice(list(values)) for name, values in cells.items()}
    return hwt.Study(
        "printing", space, [hwt.Metric("rmse", "min"), hwt.TrainSeconds()], searcher=hwt.Grid(), dir=folder,
        scheduler=hwt.RunToEnd(max_epochs=max(map(int, cells["n_epochs"]))),
    )  # fmt: skip


if __name__ == "__main__":
    n_cells = math.prod(map(len, GRID.values()))
    print(study().run(train, max_trials=n_cells).front())  # noqa: T201 - a script
