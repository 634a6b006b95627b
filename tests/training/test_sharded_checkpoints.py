"""Checkpoints that are folders, with a shard per rank: saved, digested and resumed like files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.fsdp
from digits_training import DigitsData, DigitsNet
from rank_bench import Bench

from lightning_hwtune.host.file_trees import digest_of, remove, size_of
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training


class ShardedNet(DigitsNet):
    """Its parameters, and so the states of its optimiser, are divided among the ranks."""

    def configure_model(self) -> None:
        from torch.distributed.fsdp import fully_shard  # not in the oldest torch

        fully_shard(self.net, mesh=self.device_mesh["data_parallel"])


def _train_shards(trial: Trial) -> None:
    from lightning.pytorch.strategies import ModelParallelStrategy

    strategy = ModelParallelStrategy(data_parallel_size=trial.num_devices, tensor_parallel_size=1)
    net = ShardedNet()
    net.net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    trial.fit(net, DigitsData(trial.per_device_batch_size(64)), strategy=strategy)


def _loaded(path: str) -> dict[str, Any]:
    """Returns the parameters in a folder of shards."""
    from torch.distributed.checkpoint import FileSystemReader, load

    names = FileSystemReader(path).read_metadata().state_dict_metadata
    shapes = {name: item.size for name, item in names.items() if name.startswith("state_dict.")}
    state = {name: torch.zeros(size) for name, size in shapes.items()}
    load(state, checkpoint_id=path)
    return state


def test_a_pause_with_shards_changes_nothing(bench: Bench) -> None:
    if not hasattr(torch.distributed.fsdp, "fully_shard"):
        pytest.skip("this torch cannot shard modules on CPUs")
    whole = bench.segment(_train_shards, {3: "pause"}, num_devices=2)
    assert [ended.outcome for ended in whole.ended] == ["done", "done"], whole.ended
    expected = _loaded(whole.saved.path)
    remove(Path(whole.saved.path))
    first = bench.segment(_train_shards, {1: "pause"}, num_devices=2)
    second = bench.segment(_train_shards, {3: "pause"}, num_devices=2, **bench.resume(first, 2))
    assert [ended.outcome for ended in second.ended] == ["done", "done"], second.ended
    folder = Path(first.saved.path)
    assert len(list(folder.glob("*.distcp"))) == 2
    assert (first.saved.digest, first.saved.n_bytes) == (digest_of(folder), size_of(folder))
    assert not list(folder.parent.glob("*.part"))
    found = _loaded(second.saved.path)
    assert found.keys() == expected.keys()
    assert found
    assert all(torch.equal(found[name], expected[name]) for name in found)
