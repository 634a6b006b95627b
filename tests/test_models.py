"""The example models: exact metrics, checkpoints that rebuild them, and no dependence on how a batch is divided."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import lightning as L
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules import DigitsDataModule
from lightning_hwtune.training.ranks import rank_environment
from models import DigitsConvNet, DigitsMLP

QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "num_sanity_val_steps": 0,
}
MODELS = [(DigitsConvNet, {"width": 9, "depth": 3}), (DigitsMLP, {"width": 12, "depth": 2})]


def build(kind, kwargs, **more):
    L.seed_everything(5, verbose=False)
    return kind(lr=3e-3, **kwargs, **more)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 3))
@pytest.mark.parametrize("kind", [DigitsConvNet, DigitsMLP])
def test_any_width_and_depth_gives_logits(kind, width, depth, n):
    assert kind(lr=1e-3, width=width, depth=depth)(torch.zeros(n, 1, 16, 16)).shape == (n, 10)


@pytest.mark.parametrize("kind", [DigitsConvNet, DigitsMLP])
def test_depth_counts_the_layers(kind):
    layers = [sum(p.ndim > 1 for p in kind(lr=1e-3, width=4, depth=depth).parameters()) for depth in (1, 2, 3)]
    assert layers == [2, 3, 4]


@pytest.mark.parametrize(("kind", "kwargs"), MODELS)
def test_a_sample_does_not_depend_on_its_batch(kind, kwargs):
    model = build(kind, kwargs, dropout=0.0).train()
    images = torch.randn(6, 1, 16, 16)
    together = model(images)
    apart = torch.cat([model(images[:1]), model(images[1:])])
    torch.testing.assert_close(together, apart)


@pytest.mark.parametrize(("kind", "kwargs"), MODELS)
def test_gradients_of_two_halves_average_to_the_whole(kind, kwargs):
    """What DDP does with one global batch on two devices is what one device does."""
    model = build(kind, kwargs, dropout=0.0)
    images, labels = torch.randn(8, 1, 16, 16), torch.arange(8)

    def gradient(part: slice) -> torch.Tensor:
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(images[part]), labels[part]).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    halves = (gradient(slice(0, 4)) + gradient(slice(4, 8))) / 2
    torch.testing.assert_close(halves, gradient(slice(0, 8)), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("kind", [DigitsConvNet, DigitsMLP])
@pytest.mark.parametrize("wrong", [{"width": 0}, {"depth": 0}])
def test_empty_networks_are_refused(kind, wrong):
    with pytest.raises(ValueError, match="width"):
        kind(**{"lr": 1e-3, "width": 4, **wrong})


@pytest.mark.training
@pytest.mark.parametrize(("kind", "kwargs"), MODELS)
def test_training_learns_measures_exactly_and_saves(kind, kwargs, tmp_path):
    model, data = build(kind, kwargs), DigitsDataModule(batch_size=64)
    trainer = L.Trainer(max_epochs=4, **QUIET)
    trainer.fit(model, data)

    with torch.no_grad():
        logits = model.eval()(data.val_set.inputs)
    n_wrong = int((logits.argmax(1) != data.val_set.labels).sum())
    metrics = trainer.callback_metrics
    assert float(metrics["val_error"]) == float(torch.tensor(n_wrong) / 360)
    loss = torch.nn.functional.cross_entropy(logits, data.val_set.labels)
    torch.testing.assert_close(metrics["val_loss"], loss, atol=1e-5, rtol=1e-5)
    assert float(metrics["val_error"]) < 0.4  # guessing: 0.9
    assert "train_loss" in metrics

    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = kind.load_from_checkpoint(tmp_path / "model.ckpt")
    assert dict(loaded.hparams) == dict(model.hparams)
    assert set(kwargs) < set(loaded.hparams)
    assert torch.equal(loaded.eval()(data.val_set.inputs), logits)


@pytest.mark.training
def test_the_cosine_ends_with_the_last_epoch():
    model = build(DigitsMLP, {"width": 4})
    trainer = L.Trainer(max_epochs=2, limit_train_batches=1, limit_val_batches=1, **QUIET)
    trainer.fit(model, DigitsDataModule(batch_size=64))
    (schedule,) = trainer.lr_scheduler_configs
    assert schedule.scheduler.get_last_lr() == [pytest.approx(0.0, abs=1e-12)]


@pytest.mark.training
def test_a_horizon_in_steps_keeps_the_rate():
    trainer = L.Trainer(max_epochs=-1, max_steps=2, limit_val_batches=0, **QUIET)
    trainer.fit(build(DigitsMLP, {"width": 4}), DigitsDataModule(batch_size=64))
    assert trainer.lr_scheduler_configs == []
    assert trainer.optimizers[0].param_groups[0]["lr"] == 3e-3


def unequal_halves() -> tuple[L.LightningModule, L.LightningDataModule]:
    """A model and batches that neither one rank nor two can fill evenly."""
    return build(DigitsConvNet, {"width": 8}), DigitsDataModule(batch_size=50)


def validate_on_rank(rank: int, folder: Path) -> None:
    """Validates as one of two ranks; the group meets in a file, so that no port has to be guessed."""
    os.environ.update(rank_environment(rank, 2, port=1, run_id="validation"))
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    trainer = L.Trainer(devices=2, strategy="ddp", **QUIET)
    (metrics,) = trainer.validate(*unequal_halves(), verbose=False)
    (folder / f"{rank}.json").write_text(json.dumps({"ranks": trainer.world_size, **metrics}))


@pytest.mark.training
@pytest.mark.slow
def test_validation_on_two_ranks_counts_every_sample_once(tmp_path):
    """Two real ranks, each with half of the samples in unequal batches, agree with one to the last bit."""
    (alone,) = L.Trainer(devices=1, **QUIET).validate(*unequal_halves(), verbose=False)
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=validate_on_rank, args=(rank, tmp_path)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert [process.exitcode for process in ranks] == [0, 0]
    for rank in range(2):
        metrics = json.loads((tmp_path / f"{rank}.json").read_text())
        assert metrics["ranks"] == 2
        assert metrics["val_error"] == alone["val_error"]
        assert metrics["val_loss"] == pytest.approx(alone["val_loss"], rel=1e-6)
