"""Parameters that are unfrozen on two ranks: DDP leaves their gradients alone, and a note says so."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import pytest
import torch
from rank_bench import Bench
from tiny_training import TinyNet, fit

from lightning_hwtune.training.channel import Note, Report

pytestmark = pytest.mark.training


@pytest.mark.parametrize(
    ("num_devices", "frozen_at", "n_notes"), [(2, "setup", 1), (2, "never", 0), (2, "forever", 0), (1, "setup", 0)]
)
def test_a_note_says_that_the_ranks_models_differ(bench: Bench, num_devices: int, frozen_at: str, n_notes: int) -> None:
    class Unfreezes(L.Callback):
        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            pl_module.layer.bias.requires_grad_(frozen_at == "never")

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 1 and frozen_at == "setup":
                pl_module.layer.bias.requires_grad_(True)

    class Net(TinyNet):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            means = self.all_gather(self.layer.bias.detach())
            self.log("val_error", float((means - means.mean()).abs().max()), sync_dist=True)

    def train(trial: Any) -> None:
        rows = torch.randn(16, 2, generator=torch.Generator().manual_seed(1))
        loader = torch.utils.data.DataLoader(rows, 4)
        fit(trial, Net(), Unfreezes(), train=loader)

    said = bench.segment(train, {2: "pause"}, num_devices=num_devices)
    assert [ended.error for ended in said.ended] == [""] * num_devices
    notes = [note for note in said.of(Note) if "parameters were unfrozen during a training" in note.text]
    assert [note.once_per for note in notes] == ["study"] * n_notes
    last = said.of(Report)[-1].metrics["val_error"]
    assert (last > 0) == bool(n_notes), "what the note says is true"
