"""The training function of the demo study, `configs/study/demo.yaml`: ordinary Lightning code and one `Trial`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datamodules import DigitsDataModule, load_once
from models.digits_convnet import DigitsConvNet

if TYPE_CHECKING:
    from lightning_hwtune import Trial

__all__ = ["train"]

load_once()  # the study preloads this module, so its segments find the digits in memory


def train(trial: Trial) -> None:
    """Trains the convolutional net of a trial's configuration on the digits."""
    model = DigitsConvNet(
        lr=trial["lr"],
        width=trial["width"],
        depth=trial["depth"],
        dropout=trial["dropout"],
        weight_decay=trial["weight_decay"],
    )
    data = DigitsDataModule(batch_size=trial.per_device_batch_size(trial["batch_size"]))
    trial.fit(model, data)
