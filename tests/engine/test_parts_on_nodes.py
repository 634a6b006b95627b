"""One segment on several nodes: each node starts its own ranks, and all ranks meet."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from local_bench import Bench, Recorder

from lightning_hwtune.engine.devices import masked
from lightning_hwtune.engine.inline import InlineExecutor
from lightning_hwtune.training.channel import NodePart, RankPlace
from lightning_hwtune.training.process.rendezvous import rank_environment

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))
import cluster_functions

NODES = (NodePart("a", (0,)), NodePart("b", (0,)))


@pytest.mark.parametrize(
    ("rank", "expected"), [(0, (0, 2, 0, 2)), (1, (1, 2, 0, 2)), (2, (0, 2, 1, 2)), (3, (1, 2, 1, 2))]
)
def test_a_rank_knows_its_place_on_its_node(rank: int, expected: tuple[int, ...]) -> None:
    found = rank_environment(RankPlace(rank, 4, 2, "10.0.0.7", 4711), "run")
    names = ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE")
    assert tuple(int(found[name]) for name in names) == expected
    assert (found["MASTER_ADDR"], found["MASTER_PORT"], found["WORLD_SIZE"]) == ("10.0.0.7", "4711", "4")
    assert "GLOO_SOCKET_IFNAME" not in found  # the loopback reaches no other host


def test_the_mask_is_that_of_the_host_that_trains(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    order = bench.order(0, devices=2, accelerator="gpu", nodes=(NodePart("a", (1,)), NodePart("b", (0,))))
    assert masked(order, 0).env == {"CUDA_VISIBLE_DEVICES": "7"}
    assert masked(order, 1).env == {"CUDA_VISIBLE_DEVICES": "4"}


@pytest.mark.training
@pytest.mark.parametrize("kind", ["local", "inline"])
def test_a_segment_sees_the_mask_in_its_environment(bench: Bench, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    order = bench.order(0, accelerator="gpu", slots=(1,), max_resource=1, levels=(1,))
    function = cluster_functions.visible_gpus
    executor = bench.executor(function) if kind == "local" else InlineExecutor(function)
    sink = bench.run(executor, Recorder(), order)
    assert sink.ends[0].outcome == "done", sink.ends[0].error
    assert Path(order.trial_dir, "gpus").read_text() == "7"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,7"


@pytest.mark.training
@pytest.mark.slow
def test_ranks_on_two_nodes_train_together(bench: Bench) -> None:
    """Two executors stand for two nodes; real gloo ranks, a real Trainer."""
    first, second = (bench.executor(cluster_functions.boring_on_nodes) for _ in range(2))
    sinks = Recorder(), Recorder()
    order = bench.order(0, devices=2, max_resource=1, levels=(1,), slots=(0, 1), nodes=NODES)
    first.start(order)
    deadline = time.monotonic() + 60
    while (meeting := first.meeting(0)) is None:
        first.wait(sinks[0], 0.1)
        assert time.monotonic() < deadline
    second.start(order, 1, meeting)
    while not (sinks[0].ends and sinks[1].ends):
        first.wait(sinks[0], 0.05)
        second.wait(sinks[1], 0.05)
        assert time.monotonic() < deadline
    assert [sink.ends[0].outcome for sink in sinks] == ["done", "done"], sinks[0].ends[0].error
    assert (sinks[0].reports, sinks[1].reports) == ({0: [1]}, {})  # only rank 0 reports
    left = [(Path(order.trial_dir) / f"place_{rank}").read_text().split("\n") for rank in (0, 1)]
    places, weights = zip(*left, strict=True)
    assert places == ("0 0 2 1 0 2 2 1 2", "1 0 2 1 1 2 2 1 2")
    assert weights[0] == weights[1]
    assert {path.name for path in (Path(order.trial_dir) / "logs").iterdir()} >= {"segment_01_rank_0.log"}
