"""Trainings that a pause changes, or does not: each has one thing that no checkpoint of Lightning's holds."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, TensorDataset

X = torch.linspace(-1, 1, 64).reshape(32, 2)


class Net(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return (self.layer(batch[0]) - batch[0].sum(1, keepdim=True) ** 2).square().mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("error", self.training_step(batch, batch_idx))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.05)


def fit(trial: Any, data: Any = None, net: Any = None, **kwargs: Any) -> None:
    data = data if data is not None else DataLoader(TensorDataset(X), 4, shuffle=True)
    trial.fit(net or Net(), data, DataLoader(TensorDataset(X), 8), **kwargs)


def plain(trial: Any) -> None:
    fit(trial)


class Counting(Dataset[Any]):
    """Counts what it was asked for, in an attribute that is neither a generator nor a tensor."""

    def __init__(self) -> None:
        self.asked = {"times": 0}

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        self.asked["times"] += 1
        return (X[index] * (1 + 0.1 * self.asked["times"]),)


def counting_data(trial: Any) -> None:
    fit(trial, DataLoader(Counting(), 4))


_turn = itertools.count()


def count_in_a_module(trial: Any) -> None:
    def collate(batch: Any) -> Any:
        return [torch.stack([row[0] for row in batch]) * (1 + next(_turn) / 10)]

    fit(trial, DataLoader(TensorDataset(X), 4, collate_fn=collate))


class Passes(Sampler[int]):
    """Turns by its own count of passes."""

    def __init__(self) -> None:
        self.state = iter(range(1_000_000))

    def __len__(self) -> int:
        return len(X)

    def __iter__(self) -> Iterator[int]:
        turn = next(self.state)
        return iter([(index * 7 + turn * 5) % len(X) for index in range(len(X))])


def counting_sampler(trial: Any) -> None:
    fit(trial, DataLoader(TensorDataset(X), 4, sampler=Passes()))


class Endless(IterableDataset[Any]):
    def __init__(self) -> None:
        self.source = (row for _ in iter(int, 1) for row in X)

    def __iter__(self) -> Iterator[Any]:
        for _ in range(16):
            yield (next(self.source),)


def endless_stream(trial: Any) -> None:
    fit(trial, DataLoader(Endless(), 4))


def augment(batch: Any) -> Any:
    return [torch.stack([row[0] for row in batch]) + torch.randn(1) * random.random()]


def persistent_workers(trial: Any) -> None:
    loader = DataLoader(TensorDataset(X), 4, num_workers=1, persistent_workers=True, collate_fn=augment)
    fit(trial, loader)


class CountingCallback(L.Callback):
    """Changes a weight by a count in a plain attribute."""

    def __init__(self) -> None:
        self.n = 0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
        self.n += 1
        with torch.no_grad():
            pl_module.layer.bias += 1e-7 * self.n  # the weights see it before the objective's digits do


def counting_callback(trial: Any) -> None:
    fit(trial, callbacks=[CountingCallback()])


def another_each_time(trial: Any) -> None:
    torch.manual_seed(time.time_ns() % 2**31)
    fit(trial)


def loop(trial: Any, *, saves: bool = True, draw: Callable[[], float] = lambda: 0.0) -> None:
    state = trial.load() or {"epoch": 0, "w": torch.zeros(1)}
    for epoch in range(state["epoch"] + 1, trial.max_epochs + 1):
        state = {"epoch": epoch, "w": state["w"] + 1 / epoch + draw()}
        if trial.report(epoch, error=float(state["w"])).kind != "continue":
            if saves:
                trial.save(state)
            return


def loop_without_save(trial: Any) -> None:
    loop(trial, saves=False)


def loop_with_a_stream(trial: Any) -> None:
    source = np.random.default_rng(1)
    loop(trial, draw=lambda: float(source.normal()))


def still(trial: Any) -> None:
    time.sleep(600)


def logged_everywhere(trial: Any) -> None:
    """Loggers, checkpoint callbacks and raw trackers, all in the working directory."""
    import mlflow
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger

    class Own(CSVLogger):
        def log_metrics(self, metrics: Any, step: Any = None) -> None:
            with open("own.txt", "a") as file:
                file.write("logged\n")

    loggers = [
        TensorBoardLogger("tb"),
        CSVLogger("csv"),
        MLFlowLogger("experiment", tracking_uri="file:mlflow_logger"),
        Own("own"),
    ]
    loggers[0].log_hyperparams({"before": "the Trainer"})
    loggers[0].experiment.add_text("a", "b")
    assert isinstance(loggers[0], TensorBoardLogger)
    saving = ModelCheckpoint("mine", save_last=True, every_n_epochs=1, save_top_k=-1)
    mlflow.set_tracking_uri("file:raw_mlflow")
    with mlflow.start_run():
        mlflow.log_param("a", 1)
        fit(trial, logger=loggers, callbacks=[saving])


def devices_matter(trial: Any) -> None:
    if trial.num_devices == 2:
        raise ValueError("two devices do not work")
    fit(trial)


def leaves_at_once(trial: Any) -> None:
    fit(trial)
    os._exit(3)


def leaves_in_the_fit(trial: Any) -> None:
    fit(trial, callbacks=[Leaves()])


class Leaves(L.Callback):
    """Ends the process in the second epoch."""

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            os._exit(3)


def one_epoch_is_enough(trial: Any) -> None:
    fit(trial, callbacks=[EarlyStopping("error", stopping_threshold=1e9)])
