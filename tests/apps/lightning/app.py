"""A small Lightning app over a configuration, and the ways in which such apps misbehave."""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig
from torch.utils.data import DataLoader, TensorDataset


class Line(L.LightningModule):
    """Learns y = x. Logs `val/loss` and `val/size`; `fault` may strike in an epoch."""

    def __init__(self, lr: float, fault: str) -> None:
        super().__init__()
        self.lr, self.fault, self.layer = lr, fault, torch.nn.Linear(1, 1)

    def on_train_epoch_start(self) -> None:
        """Waits while the file `hold` exists."""
        while Path("hold").exists():
            time.sleep(0.05)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Returns the loss."""
        if self.fault == "break":
            raise ValueError("the loader broke")
        if self.fault == "kill" and self.current_epoch == 1 and not Path("killed").exists():
            Path("killed").touch()
            os.kill(os.getpid(), 9)
        return self._loss(batch)

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        """Logs."""
        self.log_dict({"val/loss": self._loss(batch), "val/size": float(self.layer.weight.abs())}, sync_dist=True)

    def test_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        """Leaves a line in the job's directory."""
        with Path(self.trainer.default_root_dir, "tested.txt").open("a") as file:
            file.write(f"epoch {self.trainer.current_epoch}\n")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain gradient descent."""
        return torch.optim.SGD(self.parameters(), self.lr)

    def _loss(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.mse_loss(self.layer(batch[0]), batch[0])


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg: DictConfig) -> Any:
    """Returns the loss, unless `fault` says otherwise."""
    loader = DataLoader(TensorDataset(torch.linspace(-1, 1, 16).unsqueeze(1)), batch_size=4)
    folder = cfg.output_dir
    kept = ModelCheckpoint(dirpath=f"{folder}/checkpoints", monitor="val/loss")
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    devices = 1 if cfg.fault == "one_device" else cfg.trainer.devices
    trainer = L.Trainer(**{**cfg.trainer, "devices": devices}, callbacks=[kept], default_root_dir=folder, **quiet)
    model = Line(cfg.lr, cfg.fault)
    try:
        trainer.fit(model, loader, loader, ckpt_path=None if cfg.fault == "forget" else cfg.ckpt_path)
    except ValueError:
        print("never mind")
        return None
    loss = float(trainer.callback_metrics.get("val/loss", math.nan))
    trainer.test(model, loader)
    if cfg.fault.startswith("exit_with_"):
        sys.exit(int(cfg.fault[-1]))
    return (loss, 1.0) if cfg.fault == "tuple" else loss


if __name__ == "__main__":
    main()
