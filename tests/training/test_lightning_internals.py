"""What we read and change in a Trainer, with Trainers of both packages."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import pytorch_lightning
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader, IterableDataset

sys.path.insert(0, str(Path(__file__).parent))
from tiny_training import TinyNet, rows

from lightning_hwtune.training import lightning_internals as internals

PACKAGES = {"lightning.pytorch": L, "pytorch_lightning": pytorch_lightning}


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> Any:
    return PACKAGES[request.param]


def trainer_of(package: Any, *callbacks: Any, **kwargs: Any) -> Any:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return package.Trainer(accelerator="cpu", callbacks=[*callbacks], **{**quiet, **kwargs})


class Endless(IterableDataset[Any]):
    """Has no length."""

    def __iter__(self) -> Any:
        return iter(torch.ones(40, 2))


@pytest.mark.parametrize("name", PACKAGES)
def test_the_package_of_an_object_is_that_of_its_bases(name: str) -> None:
    package = PACKAGES[name]
    module = type("Mine", (package.LightningModule,), {})()
    for obj in (trainer_of(package), module, torch.compile(module), package.Callback()):
        assert internals.class_tree(obj) == name


def test_the_keyword_that_loads_everything_is_passed_only_where_it_exists() -> None:
    assert internals.trusting(lambda path, weights_only=None: None) == {"weights_only": False}
    assert internals.trusting(lambda path: None) == {}


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    ("train", "val", "interval", "expected"),
    [
        (1.0, 1.0, 1.0, (None, None, 1.0)),  # None: the limit of the check
        (0.5, 0.0, 0.5, (None, 0, 0.5)),
        (2, 100, 50, (2, 100, 50)),
        (0, 1, 2, (0, 1, 2)),
    ],
)
def test_a_check_shortens_epochs_and_never_makes_them_longer(
    package: Any, n: int, train: Any, val: Any, interval: Any, expected: tuple[Any, ...]
) -> None:
    given = {"limit_train_batches": train, "limit_val_batches": val, "val_check_interval": interval}
    trainer = trainer_of(package, **given)
    own = internals.own_limits(trainer)
    internals.limit_batches(trainer, n)
    assert own == (train, val, interval)
    found = (trainer.limit_train_batches, trainer.limit_val_batches, trainer.val_check_interval)
    assert found == tuple(n if e is None else min(e, n) if isinstance(e, int) else e for e in expected)
    assert trainer.num_sanity_val_steps == 0


@pytest.mark.parametrize(("own", "n", "epochs"), [(None, 3, 3), (-1, 3, 3), (2, 3, 2), (9, 3, 3), (0, 3, 0)])
def test_a_limit_of_epochs_never_raises_the_own_one(package: Any, own: int | None, n: int, epochs: int) -> None:
    trainer = trainer_of(package, max_epochs=own)
    trainer.fit_loop.max_epochs = own
    internals.limit_epochs(trainer, n)
    assert trainer.max_epochs == epochs


@pytest.mark.parametrize(
    ("kwargs", "epoch", "should_stop", "ends", "adds"),
    [
        ({"max_epochs": 5}, 3, False, False, False),
        ({"max_epochs": 5}, 4, False, True, False),
        ({"max_epochs": 5}, 2, True, True, False),
        ({"max_epochs": 5, "min_epochs": 4}, 2, True, False, False),
        ({"max_epochs": 9}, 4, False, False, True),  # a callback has raised max_epochs; the horizon is 5
        ({"max_epochs": 9}, 5, False, False, True),
        ({"max_epochs": 9}, 4, True, True, False),
        ({"max_epochs": -1}, 4, False, False, False),
    ],
)
def test_the_end_of_a_training_is_foreseen(
    package: Any, kwargs: dict[str, Any], epoch: int, should_stop: bool, ends: bool, adds: bool
) -> None:
    trainer = trainer_of(package, **kwargs)
    progress = trainer.fit_loop.epoch_progress.current
    progress.ready = progress.started = progress.processed = epoch + 1
    progress.completed = epoch
    trainer.should_stop = should_stop
    assert trainer.current_epoch == epoch
    assert (internals.ends_by_itself(trainer), internals.adds_epochs(trainer, 5)) == (ends, adds)


def test_minimums_that_are_lifted_are_named_if_they_are_not_reached(package: Any) -> None:
    trainer = trainer_of(package, max_epochs=9, min_epochs=3, min_steps=7)
    assert internals.lift_minimums(trainer) == "min_epochs=3 and min_steps=7"
    assert internals.lift_minimums(trainer) == ""
    assert not trainer.min_epochs
    assert trainer.min_steps is None


class Reading(L.Callback):
    """Shortens the epoch as a check does, and reads what this leaves out."""

    def __init__(self, n: int | None) -> None:
        self.n, self.found = n, dict[str, Any]()

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.own = internals.own_limits(trainer)
        if self.n is not None:
            internals.limit_batches(trainer, self.n)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        read: dict[str, Callable[[], Any]] = {
            "epoch": lambda: internals.batches_per_epoch(trainer, self.own),
            "left_out": lambda: internals.batches_left_out(trainer, self.own),
            "per_batch": lambda: internals.samples_per_batch(trainer),
            "size": lambda: internals.batch_size(trainer, batch),
            "step": lambda: internals.logger_step(trainer),
        }
        self.found = {name: function() for name, function in read.items()}


def read(loader: Any, n: int | None, **limits: Any) -> dict[str, Any]:
    reading = Reading(n)
    trainer_of(L, reading, max_epochs=1, enable_model_summary=False, **limits).fit(TinyNet(), loader, rows(12))
    return reading.found


@pytest.mark.training
@pytest.mark.parametrize(
    ("n_rows", "limit", "epoch"), [(40, 1.0, 10), (38, 1.0, 10), (40, 0.5, 5), (40, 0.25, 2), (40, 7, 7), (40, 99, 10)]
)
def test_the_batches_of_a_shortened_epoch_and_those_left_out_are_the_whole_epoch(
    n_rows: int, limit: Any, epoch: int
) -> None:
    whole = read(rows(n_rows), None, limit_train_batches=limit)
    assert whole["epoch"] == epoch
    assert whole["step"] == epoch - 1
    assert whole["size"] == (n_rows - 36 if epoch == 10 else 4)
    short = read(rows(n_rows), 2, limit_train_batches=limit)
    assert (short["epoch"], short["step"], short["per_batch"]) == (epoch, 1, 4)
    assert math.floor(short["left_out"][0]) == epoch - 2
    assert short["left_out"][1] == 3 - 2


@pytest.mark.training
@pytest.mark.parametrize(("mode", "epoch"), [("min_size", 3), ("max_size", 10), ("max_size_cycle", 10)])
def test_an_epoch_of_several_loaders_has_the_batches_of_its_mode(mode: str, epoch: int) -> None:
    reading = Reading(None)

    class Both(TinyNet):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return sum(self.layer(part).square().mean() for part in batch.values() if part is not None)

    loaders = CombinedLoader({"a": rows(40), "b": rows(12)}, mode)
    trainer_of(L, reading, max_epochs=1, enable_model_summary=False).fit(Both(), loaders, rows(4))
    assert reading.found["step"] == epoch - 1
    assert reading.found["epoch"] == epoch
    assert math.isnan(reading.found["per_batch"])


@pytest.mark.training
def test_a_loader_without_a_length_leaves_the_epoch_unknown() -> None:
    found = read(DataLoader(Endless(), 4), 2)
    assert math.isnan(found["epoch"])
    assert math.isnan(found["left_out"][0])
    assert found["step"] == 1


@pytest.mark.training
def test_a_training_that_is_skipped_calls_its_hooks_and_trains_nothing() -> None:
    class Skipping(L.Callback):
        called: list[str] = []

        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            internals.skip_training(trainer) if stage == "fit" else internals.skip_evaluation(trainer)

        def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
            self.called.append(str(getattr(stage, "value", stage)))

        def on_train_batch_end(self, *args: Any) -> None:
            self.called.append("batch")

        def on_validation_batch_end(self, *args: Any) -> None:
            self.called.append("validated")

    skipping = Skipping()
    trainer = trainer_of(L, skipping, max_epochs=5, num_sanity_val_steps=0, enable_model_summary=False)
    trainer.fit(TinyNet(), rows(8), rows(8))
    trainer.validate(TinyNet(), rows(8), verbose=False)
    assert skipping.called == ["fit", "validate"]
    assert trainer.global_step == 0
