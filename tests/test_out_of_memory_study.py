"""Real trainings that run out of memory with a large batch: they continue with smaller ones, and the same steps."""

from __future__ import annotations

import io
import json
import re
from collections import defaultdict
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn")

import torch
from doubling_training import GLOBAL_BATCH, N_SAMPLES, Net
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev

pytestmark = pytest.mark.training
MEMORY = 4  # samples that fit on a device


class LargeNet(Net):
    """Fits into memory with a few samples only, from an epoch on."""

    def __init__(self, lr: float, path: Path, epoch: int, *, by_hand: bool = False) -> None:
        super().__init__(lr, path)
        self.epoch, self.automatic_optimization = epoch, not by_hand

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.current_epoch >= self.epoch and len(batch[0]) > MEMORY:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super().training_step(batch, batch_idx)


def loaders(batch: int) -> tuple[Any, Any]:
    digits = load_digits()
    pixels = torch.tensor(digits.data[:N_SAMPLES] / 16, dtype=torch.float32)
    data = TensorDataset(pixels, torch.tensor(digits.target[:N_SAMPLES]), torch.arange(N_SAMPLES))
    return DataLoader(data, batch, shuffle=True), DataLoader(data, N_SAMPLES)


def net(trial: hwt.Trial, epoch: int, **changes: Any) -> LargeNet:
    return LargeNet(0.01, trial.dir / "steps", epoch, **changes)


def train(trial: hwt.Trial) -> None:
    trial.fit(net(trial, trial["epoch"]), *loaders(trial.per_device_batch_size(GLOBAL_BATCH)))


def study(folder: Path, *epochs: int) -> hwt.Study:
    found = hwt.Study(
        "memory",
        hwt.SearchSpace(epoch=hwt.Choice([0, 1, 9])),
        [hwt.Metric("val_error", "min")],
        scheduler=hwt.ASHA(max_epochs=2, first_rung=1, eta=2),
        searcher=hwt.Grid(),
        pool=hwt.Pool("cpu", 1),
        dir=folder,
    )
    found.enqueue(*({"epoch": epoch} for epoch in epochs))
    return found


def run(found: hwt.Study, function: Any, n_trials: int = 1) -> str:
    with redirect_stdout(io.StringIO()) as printed:
        found.run(function, max_trials=n_trials, executor="inline", check=False, finishers=n_trials)
    return re.sub(r"\s+", " ", printed.getvalue())


def steps(found: hwt.Study, trial: int) -> dict[tuple[int, int], list[int]]:
    """Returns the samples of each optimiser step."""
    taken: dict[tuple[int, int], list[int]] = defaultdict(list)
    for line in (found.dir / "trials" / f"{trial:03d}" / "steps").read_text().splitlines():
        row = json.loads(line)
        taken[row["epoch"], row["step"]] += row["numbers"]
    return taken


def weights(found: hwt.Study, trial: int) -> Any:
    checkpoint = found.state().trials[trial].checkpoint
    assert checkpoint is not None
    return torch.load(found.dir / checkpoint.path, weights_only=False)["state_dict"]


def test_smaller_batches_are_accumulated_to_the_same_steps(tmp_path: Path) -> None:
    found = study(tmp_path, 9, 0, 1)
    run(found, train, n_trials=3)
    state = found.state()
    assert [trial.state.value for trial in state.trials] == ["completed"] * 3
    assert [trial.max_per_device_batch for trial in state.trials] == [None, MEMORY, MEMORY]
    assert {segment.num_devices for segment in state.segments} == {1}
    ends = [event for event in found.events() if isinstance(event, ev.SegmentEnded)]
    assert [e.max_per_device_batch for e in ends if e.trial_id == 1 and e.outcome == "out-of-memory"] == [8, 4]
    n_steps = N_SAMPLES // GLOBAL_BATCH
    for trial in (0, 1, 2):
        taken = steps(found, trial)
        assert sorted(taken) == [(i // n_steps, i) for i in range(2 * n_steps)]
        assert {len(samples) for samples in taken.values()} == {GLOBAL_BATCH}
        assert sorted(i for samples in taken.values() for i in samples) == sorted(2 * list(range(N_SAMPLES)))


def test_the_weights_are_those_of_a_training_with_enough_memory(tmp_path: Path) -> None:
    trained = []
    for epoch in (9, 1):
        found = study(tmp_path / str(epoch), epoch)
        run(found, train)
        trained.append(weights(found, 0))
    for name, value in trained[0].items():
        torch.testing.assert_close(value, trained[1][name])


def test_what_has_changed_is_printed_explained_and_in_the_table(tmp_path: Path) -> None:
    found = study(tmp_path, 0)
    printed = run(found, train)
    assert "will be retried on 1 device, with at most 8 samples per device and batch" in printed
    text = str(found.why(0))
    assert "with 1 device and at most 4 samples per device and batch next" in text
    assert "4 batches per device are accumulated" in text
    assert list(found.trials()["max_per_device_batch"]) == [4]


def by_hand(trial: hwt.Trial) -> None:
    trial.fit(net(trial, 0, by_hand=True), *loaders(trial.per_device_batch_size(GLOBAL_BATCH)))


def undivided(trial: hwt.Trial) -> None:
    trial.fit(net(trial, 0), *loaders(GLOBAL_BATCH))


def with_own_accumulation(trial: hwt.Trial) -> None:
    data = loaders(trial.per_device_batch_size(GLOBAL_BATCH))
    trial.fit(net(trial, 0), *data, accumulate_grad_batches=1)


def counting_batches(trial: hwt.Trial) -> None:
    data = loaders(trial.per_device_batch_size(GLOBAL_BATCH))
    trial.fit(net(trial, 0), *data, limit_train_batches=2)


def of_two_sizes(trial: hwt.Trial) -> None:
    train, _ = loaders(trial.per_device_batch_size(GLOBAL_BATCH))
    trial.fit(net(trial, 0), train, loaders(trial.per_device_batch_size(2 * GLOBAL_BATCH))[1])


def with_an_own_trainer(trial: hwt.Trial) -> None:
    import lightning.pytorch as pl

    data = loaders(trial.per_device_batch_size(GLOBAL_BATCH))
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_checkpointing=False,
        callbacks=[hwt.RungCallback()], default_root_dir=trial.dir, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(net(trial, 0), *data)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (by_hand, "its model optimises by hand"),
        (undivided, "does not divide the batch with trial.per_device_batch_size"),
        (with_own_accumulation, "its code passes accumulate_grad_batches"),
        (counting_batches, "its Trainer counts batches: limit_train_batches=2"),
        (of_two_sizes, "its code divides several batch sizes: 16, 32"),
        (with_an_own_trainer, "its Trainer does not come from trial.fit"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_where_the_batch_cannot_be_divided_the_study_says_why(tmp_path: Path, function: Any, why: str) -> None:
    found = study(tmp_path, 0)
    printed = run(found, function)
    assert found.state().trials[0].state.value == "out-of-memory"
    assert why in printed


def test_a_trainer_that_is_made_before_the_batch_is_divided_accumulates(tmp_path: Path) -> None:
    def made_first(trial: hwt.Trial) -> None:
        trainer = trial.trainer()
        trainer.fit(net(trial, 0), *loaders(trial.per_device_batch_size(GLOBAL_BATCH)), ckpt_path=trial.ckpt_path)

    found = study(tmp_path, 0)
    run(found, made_first)
    assert found.state().trials[0].state.value == "completed"
    assert {len(samples) for samples in steps(found, 0).values()} == {GLOBAL_BATCH}
