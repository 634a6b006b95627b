"""Training functions for segments on several nodes: importable, so that rank processes find them by name."""

from __future__ import annotations

import os
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
