"""Strategies that start their own processes run in the segment's processes, with any Trainer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from digits_training import DigitsData, DigitsNet
from lightning.fabric import Fabric
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from rank_bench import Bench

from lightning_hwtune.training.channel import Note, Report, Started
from lightning_hwtune.training.lightning_tree import RungCallback
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training

STRATEGIES: dict[str, Callable[[], Any]] = {
    "ddp_spawn": lambda: "ddp_spawn",
    "ddp_fork": lambda: "ddp_fork",
    "ddp_notebook": lambda: "ddp_notebook",
    "ddp_notebook_find_unused_parameters_false": lambda: "ddp_notebook_find_unused_parameters_false",
    "ddp_fork_find_unused_parameters_true": lambda: "ddp_fork_find_unused_parameters_true",
    "an object": lambda: DDPStrategy(start_method="spawn"),
    "an object that forks": lambda: DDPStrategy(start_method="fork", find_unused_parameters=True),
}
WRITTEN = {
    "an object": "DDPStrategy(start_method='spawn')",
    "an object that forks": "DDPStrategy(start_method='fork')",
}


class Pid(Callback):
    """Keeps the process in which the fit really runs."""

    pid = 0

    def on_train_start(self, *args: Any) -> None:
        import os

        Pid.pid = os.getpid()


def _app(strategy: Any, devices: int = 1, **kwargs: Any) -> L.Trainer:
    """A Trainer as an app builds it that does not use this package."""
    return L.Trainer(
        max_epochs=4, accelerator="cpu", devices=devices, strategy=strategy, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, **kwargs,
    )  # fmt: skip


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("is_apps", [True, False])
def test_a_strategy_that_starts_processes_trains_in_this_one(bench: Bench, name: str, is_apps: bool) -> None:
    import os

    def train(trial: Trial) -> None:
        trial.fit(DigitsNet(), DigitsData(128), strategy=STRATEGIES[name](), callbacks=[Pid()])

    def train_apps(trial: Trial) -> None:
        _app(STRATEGIES[name](), callbacks=[Pid()]).fit(DigitsNet(), DigitsData(128))

    Pid.pid = 0
    said = bench.inline(train_apps if is_apps else train, {1: "pause"})
    assert said.ended[0].outcome == "done", said.ended[0].error
    assert [report.resource for report in said.of(Report)] == [1]
    assert Pid.pid == os.getpid()
    assert said.saved.resource == 1
    (note,) = [note for note in said.of(Note) if "plain ddp" in note.text]
    assert note.once_per == "study"
    assert f"strategy {WRITTEN.get(name, repr(name))} acts like plain ddp" in note.text
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _train_on_two(trial: Trial) -> None:
    _app("ddp_spawn", devices=2).fit(DigitsNet(), DigitsData(32))


def test_an_apps_ddp_spawn_on_two_devices_is_ddp_of_the_segments_two_ranks(bench: Bench) -> None:
    said = bench.segment(_train_on_two, {1: "pause"}, num_devices=2)
    assert [ended.outcome for ended in said.ended] == ["done", "done"], said.ended[0].error
    assert max(started.world_size for started in said.of(Started)) == 2
    assert said.saved.resource == 1


@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn"])
def test_a_trainer_of_more_devices_than_the_segment_is_refused_before_it_starts_anything(
    bench: Bench, strategy: str
) -> None:
    trainer = _app(strategy, devices=2, callbacks=[RungCallback()])  # made before there is a segment
    said = bench.inline(lambda trial: trainer.fit(DigitsNet(), DigitsData(32)), {1: "pause"})
    assert "`devices` is 2; allowed: 1, the number of devices of this segment" in said.ended[0].error


def test_fabric_starts_no_processes_either(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        fabric = Fabric(accelerator="cpu", devices=1, strategy="ddp_spawn")
        fabric.launch(lambda fabric: trial.report(1, val_error=0.5))

    said = bench.inline(train, {1: "pause"})
    assert said.ended[0].outcome == "done", said.ended[0].error
    assert len(said.of(Report)) == 1
    assert [note.text for note in said.of(Note) if "DDPStrategy(start_method='spawn') acts like plain ddp" in note.text]


def test_outside_a_segment_launchers_are_lightnings_own(bench: Bench, tmp_path: Path) -> None:
    module = sys.modules["lightning.pytorch.strategies.launchers.multiprocessing"]
    before = module._MultiProcessingLauncher.launch  # type: ignore[attr-defined]
    inside = []
    bench.inline(lambda trial: inside.append(module._MultiProcessingLauncher.launch), {})  # type: ignore[attr-defined]
    assert inside[0] is not before
    assert module._MultiProcessingLauncher.launch is before  # type: ignore[attr-defined]
