"""The trainings of the GPU check. The functions travel to the ranks by name, so all that they need is imported here."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from torch import nn
from torch.nn import functional

import lightning_hwtune as hwt
from benchmarks.gpu import device
from datamodules import DigitsDataModule
from models import DigitsConvNet

__all__ = ["Net", "facts_of", "look", "out_of_memory", "packed", "precise", "strategy", "take_memory", "train_digits"]

_HOARD_BYTES = 2 << 30


class Net(L.LightningModule):
    """A convolution, batch norm and dropout: each has state or randomness that a resume must restore.

    Every operation has a deterministic kernel on the GPU.
    """

    def __init__(self, lr: float, width: int = 16) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 4, stride=4), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2),
            nn.Linear(16 * width, 10),
        )  # fmt: skip

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Return the batch's loss."""
        return functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log loss and error."""
        logits = self.net(batch[0])
        self.log("val_loss", functional.cross_entropy(logits, batch[1]))
        self.log("val_error", (logits.argmax(1) != batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        """Return Adam with a schedule."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.8)]


def write_facts(trial: hwt.Trial, **facts: Any) -> None:
    """Write what this segment found into the trial's folder."""
    identity = {"trial": trial.id, "segment": trial.segment}
    (trial.dir / f"facts_{trial.segment}.json").write_text(json.dumps({**identity, **facts}))


def facts_of(study: hwt.Study) -> list[dict[str, Any]]:
    """Return what the segments of a study wrote, in order of trial and segment."""
    return [json.loads(path.read_text()) for path in sorted(Path(study.dir).glob("trials/*/facts_*.json"))]


def look(trial: hwt.Trial) -> None:
    """Write what a fresh segment sees of the GPU and of the fork server, then report."""
    before = torch.cuda.is_initialized()
    facts = {"initialized_at_start": before, "server_files": device.device_files_of(os.getppid())}
    if torch.cuda.is_available():
        facts["devices"] = torch.cuda.device_count()
        facts["sum"] = torch.ones(8, device="cuda").sum().item()
    write_facts(trial, mask=os.environ.get("CUDA_VISIBLE_DEVICES"), **facts)
    trial.report(1, val_loss=0.0)


def train_digits(trial: hwt.Trial) -> None:
    """Train the digits net of the worked example; write the time of the first batch."""

    class FirstBatch(L.Callback):
        def on_train_batch_start(self, *args: Any) -> None:
            if not (trial.dir / f"facts_{trial.segment}.json").exists():
                write_facts(trial, first_batch_at=time.time())

    model = DigitsConvNet(lr=trial["lr"], width=trial["width"])
    trial.fit(model, DigitsDataModule(batch_size=64), callbacks=[FirstBatch()])


def packed(trial: hwt.Trial) -> None:
    """Train the small `Net` as it is."""
    trial.fit(Net(lr=trial["lr"]), DigitsDataModule(batch_size=64))


def strategy(trial: hwt.Trial) -> None:
    """Train `Net` with the searched strategy and precision; write what the Trainer has."""
    trainer = trial.fit(Net(lr=trial["lr"]), DigitsDataModule(batch_size=64))
    name = type(trainer.strategy).__name__
    write_facts(trial, asked=trial["strategy"], strategy=name, precision=str(trainer.precision))


def precise(trial: hwt.Trial) -> None:
    """Train `Net` deterministically, in the precision of the configuration; write the scaler's state."""
    torch.backends.cudnn.benchmark = False
    model = Net(lr=trial["lr"])
    data = DigitsDataModule(batch_size=64)
    trainer = trial.fit(model, data, precision=trial["precision"], deterministic=True)
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    write_facts(trial, scale=scaler.get_scale() if scaler is not None else None)


def out_of_memory(trial: hwt.Trial) -> None:
    """Train `Net`; the configuration may ask for more memory than the GPU has, from the second epoch on."""

    class Hoard(L.Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, *args: Any) -> None:
            if trial["is_huge"] and trainer.current_epoch == 1:
                hoarded = []
                while True:
                    hoarded.append(torch.empty(_HOARD_BYTES, dtype=torch.uint8, device=module.device))

    trial.fit(Net(lr=trial["lr"]), DigitsDataModule(batch_size=64), callbacks=[Hoard()])


def take_memory(trial: hwt.Trial) -> None:
    """Allocate GPU memory; in the first segment of a trial that is chosen for it, die by SIGKILL."""
    taken = torch.empty(_HOARD_BYTES, dtype=torch.uint8, device="cuda").fill_(1)
    write_facts(trial, taken=taken.numel(), used=device.memory_used_bytes())
    if trial["dies"] and trial.segment == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    trial.report(1, val_loss=float(trial["dies"]))
