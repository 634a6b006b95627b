"""The last step of an epoch is the same if a batch is accumulated in parts, because it did not fit into memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from rank_bench import Bench
from tiny_training import TinyNet, rows
from torch.utils.data import DataLoader

from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training


class Net(TinyNet):
    """Reports its loss."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.layer(batch).square().mean())


def _weights(bench: Bench, n_rows: int, limit: int | None) -> tuple[int, torch.Tensor]:
    bench.order = replace(bench.order, metrics=("val_loss",), max_resource=1, max_per_device_batch=limit)
    found: list[Any] = []

    def train(trial: Trial) -> None:
        torch.manual_seed(0)
        net = Net()
        data = torch.arange(2.0 * n_rows).reshape(n_rows, 2) / n_rows
        loader = DataLoader(data, trial.per_device_batch_size(4))
        trainer = trial.fit(net, loader, rows(4), num_sanity_val_steps=0, logger=False)
        found.append((trainer.global_step, net.layer.weight.detach().clone()))

    said = bench.inline(train, {1: "stop"})
    assert found, said.ended
    return found[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("n_rows", [8, 9, 10, 11])
@pytest.mark.parametrize("limit", [2, 1])
def test_steps_with_fewer_samples_are_the_same(bench: Bench, n_rows: int, limit: int) -> None:
    steps, whole = _weights(bench, n_rows, None)
    accumulated_steps, accumulated = _weights(bench, n_rows, limit)
    assert accumulated_steps == steps == -(-n_rows // 4)
    torch.testing.assert_close(accumulated, whole, rtol=1e-5, atol=1e-6)
