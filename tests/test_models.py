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

from datamodules import DigitsDataModule, TextDataModule
from lightning_hwtune.training.channel import RankPlace
from lightning_hwtune.training.process.rendezvous import rank_environment
from models import CharTransformer, DigitsConvNet, DigitsMLP, ResNet18

QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "num_sanity_val_steps": 0,
}
MODELS = [(DigitsConvNet, {"width": 9, "depth": 3}), (DigitsMLP, {"width": 12, "depth": 2})]
TEXT_MODEL = (CharTransformer, {"width": 16, "depth": 2, "n_heads": 2, "context_length": 12, "dropout": 0.0})
ALL_MODELS = [*((kind, {**kwargs, "dropout": 0.0}) for kind, kwargs in MODELS), (ResNet18, {}), TEXT_MODEL]


def build(kind, kwargs):
    L.seed_everything(5, verbose=False)
    return kind(lr=3e-3, **kwargs)


def samples(kind, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns random inputs of the model's own kind, with labels."""
    if kind is CharTransformer:
        symbols = torch.randint(0, 256, (n, 13))
        return symbols[:, :-1], symbols[:, 1:]
    return torch.randn(n, 1, 16, 16), torch.arange(n) % 10


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 3))
@pytest.mark.parametrize("kind", [DigitsConvNet, DigitsMLP])
def test_any_width_and_depth_gives_logits(kind, width, depth, n):
    assert kind(lr=1e-3, width=width, depth=depth)(torch.zeros(n, 1, 16, 16)).shape == (n, 10)


@pytest.mark.parametrize("kind", [DigitsConvNet, DigitsMLP])
def test_depth_counts_the_layers(kind):
    layers = [sum(p.ndim > 1 for p in kind(lr=1e-3, width=4, depth=depth).parameters()) for depth in (1, 2, 3)]
    assert layers == [2, 3, 4]


@pytest.mark.parametrize(("kind", "kwargs"), ALL_MODELS)
def test_a_sample_does_not_depend_on_its_batch(kind, kwargs):
    model = build(kind, kwargs).train()
    inputs, _ = samples(kind, 6)
    together = model(inputs)
    apart = torch.cat([model(inputs[:1]), model(inputs[1:])])
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("kind", "kwargs"), ALL_MODELS)
def test_gradients_of_two_halves_average_to_the_whole(kind, kwargs):
    """What DDP does with one global batch on two devices is what one device does."""
    model = build(kind, kwargs)
    inputs, labels = samples(kind, 8)

    def gradient(part: slice) -> torch.Tensor:
        model.zero_grad()
        logits = model(inputs[part]).flatten(0, -2)
        torch.nn.functional.cross_entropy(logits, labels[part].flatten()).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    halves, whole = (gradient(slice(0, 4)) + gradient(slice(4, 8))) / 2, gradient(slice(0, 8))
    assert (halves - whole).norm() < 1e-4 * whole.norm()


@pytest.mark.parametrize("kind", [DigitsConvNet, DigitsMLP])
@pytest.mark.parametrize("wrong", [{"width": 0}, {"depth": 0}])
def test_empty_networks_are_refused(kind, wrong):
    with pytest.raises(ValueError, match="width"):
        kind(**{"lr": 1e-3, "width": 4, **wrong})


def test_the_small_stem_keeps_the_size_of_the_image():
    sizes = []
    model = build(ResNet18, {})
    for layer in (model.net.layer1, model.net.layer4):
        layer.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape)))
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert sizes == [(2, 64, 32, 32), (2, 512, 4, 4)]


def test_a_gray_image_is_an_image_of_three_equal_channels():
    model, gray = build(ResNet18, {}), torch.randn(2, 1, 16, 16)
    assert torch.equal(model(gray), model(gray.repeat(1, 3, 1, 1)))


@pytest.mark.slow
def test_a_residual_net_learns_one_batch_by_heart():
    model = build(ResNet18, {"n_classes": 3})
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6) % 3
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(12):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    assert model(images).argmax(1).tolist() == labels.tolist()


def text_model(**changed) -> CharTransformer:
    return build(CharTransformer, {**TEXT_MODEL[1], **changed})


@pytest.mark.parametrize("place", [0, 5, 11])
@pytest.mark.parametrize("is_training", [True, False])
def test_a_place_sees_nothing_behind_it(place, is_training):
    model, symbols = text_model().train(is_training), torch.randint(0, 256, (3, 12))
    changed = symbols.clone()
    changed[:, place] = (changed[:, place] + 1) % 256
    with torch.no_grad():
        before, after = model(symbols), model(changed)
    torch.testing.assert_close(before[:, :place], after[:, :place])
    assert (before[:, place:] - after[:, place:]).abs().amax(dim=(0, 2)).min() > 1e-4


def test_a_shorter_text_gives_the_same_answers_and_a_longer_one_is_refused():
    model, symbols = text_model().eval(), torch.randint(0, 256, (2, 13))
    torch.testing.assert_close(model(symbols[:, :5]), model(symbols[:, :12])[:, :5])
    with pytest.raises(ValueError, match="13 symbols; allowed: at most 12"):
        model(symbols)


def test_equal_symbols_at_different_places_are_told_apart():
    logits = text_model().eval()(torch.full((1, 12), 65))
    assert (logits[:, 1:] - logits[:, :-1]).abs().amax(dim=2).min() > 1e-4


def test_each_block_begins_with_weights_of_its_own():
    first, second = text_model().net.blocks
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


@pytest.mark.parametrize("wrong", [{"width": 15}, {"width": 0}, {"depth": 0}, {"n_heads": 0}, {"context_length": 0}])
def test_impossible_transformers_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}`"):
        text_model(**wrong)


def test_a_net_without_classes_is_refused():
    with pytest.raises(ValueError, match="`n_classes`"):
        ResNet18(lr=1e-3, n_classes=0)


@pytest.mark.training
def test_a_text_model_learns_what_follows_and_counts_every_symbol(tmp_path):
    (tmp_path / "text").write_bytes(b"the cat sat on the mat. " * 80)
    model, data = text_model(), TextDataModule(tmp_path / "text", batch_size=24, context_length=12)
    trainer = L.Trainer(max_epochs=12, **QUIET)
    trainer.fit(model, data)
    metrics = dict(trainer.callback_metrics)
    with torch.no_grad():
        logits = model.eval()(data.val_set.inputs)
    n_wrong = int((logits.argmax(2) != data.val_set.labels).sum())
    assert float(metrics["val_error"]) == float(torch.tensor(n_wrong) / data.val_set.labels.numel())
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), data.val_set.labels.flatten())
    torch.testing.assert_close(metrics["val_loss"], loss, atol=1e-5, rtol=1e-5)
    assert float(metrics["val_error"]) < 0.4  # always guessing the blank: three quarters

    (tested,) = trainer.test(model, data, verbose=False)
    with torch.no_grad():
        logits = model.eval()(data.test_set.inputs)
    n_wrong = int((logits.argmax(2) != data.test_set.labels).sum())
    assert tested["test_error"] == float(torch.tensor(n_wrong) / data.test_set.labels.numel())

    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = CharTransformer.load_from_checkpoint(tmp_path / "model.ckpt")
    assert dict(loaded.hparams) == dict(model.hparams)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(data.test_set.inputs), logits)


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
    os.environ.update(rank_environment(RankPlace(rank, 2, port=1), "validation"))
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
