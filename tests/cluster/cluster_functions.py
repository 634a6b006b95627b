"""Training functions for segments on several nodes: importable, so that rank processes find them by name."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

_NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE")


def boring_on_nodes(trial: Any) -> None:
    """Trains Lightning's tiny model on all ranks, and leaves each rank's place and its final weights."""
    import torch
    from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel

    class Model(BoringModel):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            out = super().validation_step(batch, batch_idx)
            self.log("error", out["x"], sync_dist=True)
            return out

    trainer = trial.fit(model := Model(), BoringDataModule(), limit_train_batches=2, limit_val_batches=1)
    place = [os.environ[name] for name in _NAMES] + [trainer.num_nodes, trainer.num_devices, trainer.world_size]
    weights = torch.cat([weight.detach().flatten() for weight in model.parameters()]).tolist()
    Path(trial.dir, f"place_{os.environ['RANK']}").write_text(" ".join(map(str, place)) + f"\n{weights}")


def visible_gpus(trial: Any) -> None:
    """Leaves which GPUs it may use."""
    Path(trial.dir, "gpus").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
    trial.report(trial.max_epochs, error=1.0)


def digits(trial: Any) -> None:
    """Trains on the digits; each epoch leaves a line, and waits while the study's folder has a file `hold`.

    A file such as `hold_003` holds only this trial.
    """
    import lightning.pytorch as L
    import torch
    from sklearn.datasets import load_digits
    from torch.utils.data import DataLoader, TensorDataset

    class Net(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))

        def on_train_epoch_start(self) -> None:
            with Path(trial.dir, "epochs").open("a") as file:
                place = os.environ["RANK"], os.environ["GROUP_RANK"], os.getpid()
                print(trial.segment, self.current_epoch + 1, *place, time.time(), file=file)
            study, own = Path(trial.dir).parents[1], f"hold_{Path(trial.dir).name}"
            while self.current_epoch >= 1 and ((study / "hold").exists() or (study / own).exists()):
                time.sleep(0.02)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("error", (self.net(batch[0]).argmax(1) != batch[1]).float().mean(), sync_dist=True)

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=trial["lr"])

    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels))
    print(f"rank {os.environ['RANK']} of segment {trial.segment} trains on the digits")
    train, val = (DataLoader(data, batch_size=128) for _ in range(2))
    trial.fit(Net(), train, val)
