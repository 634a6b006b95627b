"""A pause changes nothing, also where state lies that no checkpoint of Lightning's has."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
import torchmetrics
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BaseFinetuning,
    BatchSizeFinder,
    LearningRateFinder,
    ModelCheckpoint,
    ModelPruning,
    StochasticWeightAveraging,
)
from lightning.pytorch.utilities import CombinedLoader
from rank_bench import Bench, Said, ScriptedChannel, differences, reported
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Sampler, Subset, WeightedRandomSampler

from lightning_hwtune.errors import CheckpointError
from lightning_hwtune.training.channel import Note, Report
from lightning_hwtune.training.context import ActiveSegment
from lightning_hwtune.training.resume import metric_states
from lightning_hwtune.training.resume.identity import check_identity, config_digest, identity
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training

N, WIDTH, HORIZON = 24, 4, 4


@pytest.fixture(autouse=True)
def _judged_by_loss(bench: Bench) -> None:
    bench.order = replace(bench.order, metrics=("val_loss",))


class Net(L.LightningModule):
    """A small regression; `head` and `backbone`, so that fine-tuning callbacks have something to freeze."""

    def __init__(self, lr: float = 0.05) -> None:
        super().__init__()
        self.lr = lr
        self.backbone = torch.nn.Sequential(torch.nn.Linear(WIDTH, 6), torch.nn.BatchNorm1d(6), torch.nn.Tanh())
        self.head = torch.nn.Linear(6, 1)

    def loss(self, batch: Any) -> torch.Tensor:
        if isinstance(batch, dict):
            batch = list(batch.values())
        if isinstance(batch, list):
            batch = torch.cat([part for part in batch if part is not None])
        out = self.head(self.backbone(batch[..., :-1])).squeeze(-1)
        return torch.nn.functional.mse_loss(out, batch[..., -1])

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.loss(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch), sync_dist=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=self.lr)


class Rows(Dataset[torch.Tensor]):
    """Fixed rows; with a generator, each row that is read has its noise."""

    def __init__(self, noise: Any = None) -> None:
        self.rows = torch.randn(N, WIDTH + 1, generator=torch.Generator().manual_seed(3))
        self.noise = noise

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.rows[index] if self.noise is None else self.rows[index] + 0.3 * _draw(self.noise)


def _draw(source: Any) -> float:
    if isinstance(source, torch.Generator):
        return float(torch.rand(1, generator=source))
    return float(source.random_sample() if isinstance(source, np.random.RandomState) else source.random())


class Counting(Sampler[int]):
    """Counts its own passes, and draws from numpy."""

    def __init__(self) -> None:
        self.n_passes, self.rng = 0, np.random.RandomState(1)

    def __len__(self) -> int:
        return N

    def __iter__(self) -> Iterator[int]:
        self.n_passes += 1
        order = self.rng.permutation(N)
        return iter(np.roll(order, self.n_passes).tolist())


class PlainCounter:
    """A sampler that is not a subclass of torch's, with another order in each pass."""

    def __init__(self) -> None:
        self.n_passes = 0

    def __len__(self) -> int:
        return N

    def __iter__(self) -> Iterator[int]:
        self.n_passes += 1
        return iter(np.random.default_rng(self.n_passes).permutation(N).tolist())


def validation() -> Any:
    return DataLoader(Rows(), 8)


def fit(trial: Trial, training: Any, net: Any = None, **kwargs: Any) -> Any:
    return trial.fit(net or Net(), training, validation(), **kwargs)


def compare(bench: Bench, train: Callable[[Trial], Any], **changes: Any) -> list[str]:
    """Returns the differences between a whole training and one that pauses after each epoch."""
    whole, paused = _elsewhere(bench, "whole"), _elsewhere(bench, "paused")
    of_whole = whole.inline if bench.order.num_devices == 1 else whole.segment
    a = of_whole(train, {HORIZON: "stop"}, **changes)
    return differences(_outcome([a]), _outcome(paused.pausing(train, HORIZON, **changes)))


def _elsewhere(bench: Bench, folder: str) -> Bench:
    path = Path(bench.order.trial_dir) / folder
    path.mkdir()
    return Bench(replace(bench.order, trial_dir=str(path)))


def _outcome(segments: list[Said]) -> dict[str, Any]:
    """Returns the reports of all segments and the last checkpoint's content."""
    checkpoint = torch.load(segments[-1].saved.path, weights_only=True)
    reports = reported(segments)
    assert [resource for resource, _ in reports] == list(range(1, HORIZON + 1)), [said.ended for said in segments]
    return {"reports": reports, "checkpoint": checkpoint}


# ---------------------------------------------------------------------- data


def _shared() -> Any:
    """Two loaders that share one generator."""
    generator = torch.Generator().manual_seed(7)
    return {name: DataLoader(Rows(), 8, shuffle=True, generator=generator) for name in ("a", "b")}


class Stream(IterableDataset[torch.Tensor]):
    """A stream that continues from epoch to epoch, and has a position."""

    def __init__(self) -> None:
        self.position, self.rows = 0, Rows().rows

    def __iter__(self) -> Iterator[torch.Tensor]:
        while True:
            self.position += 1
            yield self.rows[self.position * 7 % N] * (1 + self.position / 100)

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


LOADERS: dict[str, Callable[[], Any]] = {
    "loader's generator": lambda: DataLoader(Rows(), 8, shuffle=True, generator=torch.Generator().manual_seed(1)),
    "data set with default_rng": lambda: DataLoader(Rows(np.random.default_rng(0)), 8, shuffle=True),
    "data set with RandomState": lambda: DataLoader(Rows(np.random.RandomState(0)), 8, shuffle=True),
    "data set with Philox": lambda: DataLoader(Rows(np.random.Generator(np.random.Philox(5))), 8),
    "data set with random.Random": lambda: DataLoader(Rows(random.Random(0)), 8, shuffle=True),
    "data set with torch.Generator": lambda: DataLoader(Rows(torch.Generator().manual_seed(2)), 8, shuffle=True),
    "subset": lambda: DataLoader(Subset(Rows(np.random.default_rng(0)), range(16)), 8),
    "concatenation": lambda: DataLoader(
        ConcatDataset([Rows(np.random.default_rng(0)), Subset(Rows(random.Random(1)), range(8))]), 8
    ),
    "counting sampler": lambda: DataLoader(Rows(), 8, sampler=Counting()),
    "sampler of no base class": lambda: DataLoader(Rows(), 8, sampler=PlainCounter()),
    "batch sampler": lambda: DataLoader(Rows(), batch_sampler=torch.utils.data.BatchSampler(Counting(), 8, False)),
    "weighted sampler": lambda: DataLoader(
        Rows(), 8, sampler=WeightedRandomSampler([1.0] * 12 + [3.0] * 12, N, generator=torch.Generator().manual_seed(4))
    ),
    "collate function": lambda: DataLoader(Rows(), 8, collate_fn=_noisy(np.random.default_rng(6))),
    "combined loader": lambda: CombinedLoader(
        {"a": DataLoader(Rows(np.random.default_rng(0)), 8), "b": DataLoader(Rows(), 4, sampler=Counting())}, "max_size"
    ),
    "shared generator": _shared,
    "stream with a position": lambda: CombinedLoader([DataLoader(Stream(), 8), DataLoader(Rows(), 8)], "min_size"),
}


def _noisy(rng: Any) -> Callable[[list[torch.Tensor]], torch.Tensor]:
    return lambda rows: torch.stack(rows) + float(rng.random())


@pytest.mark.parametrize("name", LOADERS)
def test_what_draws_the_data_continues_after_a_pause(bench: Bench, name: str) -> None:
    assert compare(bench, lambda trial: fit(trial, LOADERS[name]())) == []


def test_a_generator_that_nobody_can_see_is_not_kept_and_the_comparison_shows_it(bench: Bench) -> None:
    class Hidden(Rows):
        __slots__ = ()

        def __getitem__(self, index: int) -> torch.Tensor:
            return self.rows[index] + 0.3 * next(self.draws)

    def train(trial: Trial) -> None:
        rows, rng = Hidden(), np.random.default_rng(0)
        rows.draws = (float(rng.random()) for _ in range(10**6))
        fit(trial, DataLoader(rows, 8))

    assert compare(bench, train) != []


class Augmenting(Net):
    """Draws in its own steps."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(8)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.loss(batch + float(self.rng.random()))


def test_a_generator_of_the_module_continues_after_a_pause(bench: Bench) -> None:
    assert compare(bench, lambda trial: fit(trial, DataLoader(Rows(), 8), Augmenting())) == []


class Reloading(L.LightningDataModule):
    """Loaders that depend on the epoch and on the random streams."""

    def train_dataloader(self) -> Any:
        assert self.trainer is not None
        first = int(torch.randint(4, (1,))) + self.trainer.current_epoch
        return DataLoader(Subset(Rows(), range(first, first + 16)), 8, shuffle=True)

    def val_dataloader(self) -> Any:
        assert self.trainer is not None
        return DataLoader(Subset(Rows(), range(self.trainer.current_epoch, 20)), 8)


@pytest.mark.parametrize("every", [0, 1, 2, 3])
def test_reloaded_loaders_are_what_they_were(bench: Bench, every: int) -> None:
    def train(trial: Trial) -> None:
        trial.fit(Net(), Reloading(), reload_dataloaders_every_n_epochs=every)

    def train_shuffled(trial: Trial) -> None:
        fit(trial, DataLoader(Rows(), 8, shuffle=True))

    assert compare(bench, train if every else train_shuffled) == []


# ---------------------------------------------------------------------- torchmetrics


class Best(Net):
    """Keeps the best values so far, and resets them when a training starts, as templates do."""

    def __init__(self) -> None:
        super().__init__()
        self.best = torchmetrics.MinMetric()
        self.nested = torch.nn.ModuleDict({"inner": torch.nn.ModuleList([torchmetrics.MeanMetric()])})
        self.several = torchmetrics.MetricCollection([
            torchmetrics.MeanSquaredError(), torchmetrics.MeanAbsoluteError(), torchmetrics.ExplainedVariance(),
        ])  # fmt: skip
        self.extremes = torchmetrics.MinMaxMetric(torchmetrics.MeanAbsoluteError())
        self.samples = torchmetrics.CatMetric()
        self.per_epoch = torchmetrics.MeanAbsoluteError()
        self.listed = [torchmetrics.MaxMetric()]
        self.running = torchmetrics.wrappers.Running(torchmetrics.MeanMetric(), window=4)
        self.tracker = torchmetrics.MetricTracker(torchmetrics.MeanAbsoluteError(), maximize=False)

    def on_train_start(self) -> None:
        for metric in (self.best, self.several, self.extremes, self.samples, self.listed[0]):
            metric.reset()

    def on_validation_epoch_start(self) -> None:
        self.tracker.increment()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        out = self.head(self.backbone(batch[..., :-1])).squeeze(-1)
        for metric in (self.several, self.extremes, self.per_epoch, self.tracker):
            metric.update(out, batch[..., -1])
        loss = torch.nn.functional.mse_loss(out, batch[..., -1])
        for metric in (self.nested["inner"][0], self.samples, self.listed[0], self.running):
            metric.update(loss)
        self.log("per_epoch", self.per_epoch)
        self.log("val_loss", loss)

    def on_validation_epoch_end(self) -> None:
        self.best(self.trainer.callback_metrics.get("per_epoch", 9.0))
        self.log("best", self.best.compute(), sync_dist=True)
        self.log("nested", self.nested["inner"][0].compute(), sync_dist=True)
        self.log("extremes", self.extremes.compute()["max"], sync_dist=True)
        self.log("samples", self.samples.compute().sum(), sync_dist=True)
        self.log("running", self.running.compute(), sync_dist=True)
        self.log("listed", self.listed[0].compute(), sync_dist=True)
        self.log("tracked", self.tracker.best_metric(), sync_dist=True)
        self.log_dict(self.several.compute(), sync_dist=True)


WATCHED = ("val_loss", "per_epoch", "best", "nested", "extremes", "samples", "listed", "running", "tracked",
           "MeanSquaredError", "MeanAbsoluteError", "ExplainedVariance")  # fmt: skip


class BestCallback(L.Callback):
    """A metric on a callback."""

    def __init__(self) -> None:
        self.best = torchmetrics.MinMetric()

    def on_train_start(self, *args: Any) -> None:
        self.best.reset()

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.best(float(sum(p.sum() for p in pl_module.parameters())))
        self.log("on_callback", self.best.compute(), sync_dist=True)


def train_best(trial: Trial) -> None:
    fit(trial, DataLoader(Rows(), 8, shuffle=True), Best(), callbacks=[BestCallback()], num_sanity_val_steps=0)


def test_metrics_keep_their_states_over_a_pause(bench: Bench) -> None:
    bench.order = replace(bench.order, metrics=(*WATCHED, "on_callback"))
    assert compare(bench, train_best) == []


def test_samples_of_a_metric_above_10_mb_are_left_out_with_a_note(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metric_states, "_MAX_LIST_BYTES", 10)
    said = bench.inline(train_best, {1: "pause"})
    notes = [note for note in said.of(Note) if "'samples'" in note.text]
    assert len(notes) == 1
    assert notes[0].once_per == "study"
    states = torch.load(said.saved.path, weights_only=True)["lightning_hwtune"]["ranks"][0]["metrics"]
    assert "module.samples" not in states
    assert "module.best" in states


def train_best_on_ranks(trial: Trial) -> None:
    """On several ranks, each with its own metrics and its own generator in the data set; loaders are reloaded."""
    rows = Rows(np.random.default_rng(trial._segment.rank))
    loaders = DataLoader(rows, 4, shuffle=True), DataLoader(Rows(), 4)
    trial.fit(Best(), *loaders, callbacks=[BestCallback()], num_sanity_val_steps=0, reload_dataloaders_every_n_epochs=2)


def test_each_rank_keeps_its_own_state(bench: Bench) -> None:
    bench.order = replace(bench.order, metrics=(*WATCHED, "on_callback"), num_devices=2)
    assert compare(bench, train_best_on_ranks) == []


def test_on_another_number_of_devices_states_are_reduced_once(bench: Bench) -> None:
    kinds = (torchmetrics.SumMetric, torchmetrics.MinMetric, torchmetrics.CatMetric)
    roots = {"metrics": {kind.__name__: kind() for kind in kinds}}
    segment = ActiveSegment(bench.order, ScriptedChannel({}), 0)
    ranks = []
    for values in ((1.0, 5.0), (2.0, 3.0)):
        for metric in roots["metrics"].values():
            metric.reset()
            for value in values:
                metric.update(value)
        ranks.append(metric_states.metric_states(roots, segment))
    seen = []
    for rank in (0, 1):
        for metric in roots["metrics"].values():
            metric.reset()
        metric_states.restore_metrics(roots, metric_states.merge_ranks(roots, ranks, rank))
        sums, least, samples = (getattr(m, next(iter(m._defaults))) for m in roots["metrics"].values())
        seen.append((float(sums), float(least), [float(sample) for sample in samples]))
    assert seen == [(11.0, 1.0, [1.0, 5.0, 2.0, 3.0]), (0.0, 1.0, [])]


# ---------------------------------------------------------------------- what trains


class UnfreezesByHand(BaseFinetuning):
    """Unfreezes at epoch 1 and freezes the head at epoch 3, without a change of parameter groups."""

    def freeze_before_training(self, pl_module: Any) -> None:
        self.freeze(pl_module.backbone, train_bn=False)

    def finetune_function(self, pl_module: Any, epoch: int, optimizer: Any) -> None:
        if epoch == 1:
            self.unfreeze_and_add_param_group(pl_module.backbone, optimizer, lr=0.02)
        if epoch == 3:
            self.freeze(pl_module.head)


class FreezesInHooks(L.Callback):
    """A callback of no base class, that also sets evaluation mode."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        pl_module.backbone.requires_grad_(False)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            pl_module.backbone.requires_grad_(True)
        if trainer.current_epoch == 2:
            pl_module.backbone[1].eval()


class AllParameters(Net):
    """Its optimizer has all parameters, frozen or not."""

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


TRAINED: dict[str, tuple[Callable[[], Any], Callable[[], Any], dict[str, Any]]] = {
    "BackboneFinetuning": (Net, lambda: BackboneFinetuning(unfreeze_backbone_at_epoch=2, backbone_initial_lr=0.01), {}),
    "BaseFinetuning": (Net, UnfreezesByHand, {}),
    "callback that freezes": (AllParameters, FreezesInHooks, {}),
    "64-true": (Net, L.Callback, {"precision": "64-true"}),
    "bf16-true": (Net, L.Callback, {"precision": "bf16-true"}),
    "unstructured pruning": (Net, lambda: ModelPruning("l1_unstructured", amount=0.2), {}),
    "local pruning": (Net, lambda: ModelPruning("random_unstructured", amount=0.2, use_global_unstructured=False), {}),
    "pruning without a reset": (
        Net, lambda: ModelPruning("l1_unstructured", amount=0.2, use_lottery_ticket_hypothesis=False), {},
    ),
    "weight averaging": (Net, lambda: StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1), {}),
    "late pruning": (Net, lambda: ModelPruning("l1_unstructured", apply_pruning=lambda epoch: epoch > 0), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAINED)
def test_what_trains_and_how_is_the_same_after_a_pause(bench: Bench, name: str) -> None:
    net, callback, settings = TRAINED[name]

    def train(trial: Trial) -> None:
        fit(trial, DataLoader(Rows(), 8, shuffle=True), net(), callbacks=[callback()], **settings)

    assert compare(bench, train) == []


# ---------------------------------------------------------------------- finders


class Sized(L.LightningDataModule):
    """Has a batch size that a finder may change."""

    def __init__(self) -> None:
        super().__init__()
        self.batch_size = 2

    def train_dataloader(self) -> Any:
        return DataLoader(Rows(), self.batch_size, shuffle=True)

    def val_dataloader(self) -> Any:
        return validation()


class SizedNet(Net):
    """The same, as a model that brings its data; the size is a hyperparameter, too."""

    def __init__(self, batch_size: int = 2) -> None:
        super().__init__()
        self.save_hyperparameters()

    train_dataloader = Sized.train_dataloader  # type: ignore[assignment]
    val_dataloader = Sized.val_dataloader  # type: ignore[assignment]

    @property
    def batch_size(self) -> int:
        return int(self.hparams["batch_size"])

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        self.hparams["batch_size"] = value


class SearchesAtEpochs(LearningRateFinder):
    """Looks for a learning rate at some epochs, as Lightning's documentation shows it."""

    def on_fit_start(self, *args: Any) -> None:
        return

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch in (0, 2):
            self.lr_find(trainer, pl_module)


FINDERS: dict[str, tuple[Callable[[], Any], Callable[[], Any], Callable[[], Any]]] = {
    "learning rate": (Net, Sized, lambda: LearningRateFinder(num_training_steps=30, early_stop_threshold=None)),
    "learning rate at epochs": (Net, Sized, lambda: SearchesAtEpochs(num_training_steps=30, early_stop_threshold=None)),
    "batch size of the data": (Net, Sized, lambda: BatchSizeFinder(max_trials=2, steps_per_trial=1)),
    "batch size of the model": (SizedNet, lambda: None, lambda: BatchSizeFinder(max_trials=2, steps_per_trial=1)),
}


@pytest.mark.parametrize("name", FINDERS)
def test_what_a_finder_found_holds_after_a_pause(bench: Bench, name: str) -> None:
    net, data, finder = FINDERS[name]
    found = []

    def train(trial: Trial) -> None:
        trainer = trial.fit(net(), data(), callbacks=[finder()])
        owner = trainer.datamodule or trainer.lightning_module
        found.append((trainer.lightning_module.lr, owner.batch_size, trainer.optimizers[0].param_groups[0]["lr"]))

    assert compare(bench, train) == []
    assert len(set(found)) == 1 or name == "learning rate at epochs"
    assert found[0] != (0.05, 2, 0.05)


def test_finders_run_in_a_check_and_are_noted_once_a_study_where_they_do_not_run(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        trial.fit(
            Net(),
            Sized(),
            callbacks=[
                LearningRateFinder(num_training_steps=30, early_stop_threshold=None),
                BatchSizeFinder(max_trials=1),
            ],
        )

    check = bench.inline(train, {1: "pause"}, probe_batches=2)
    assert check.ended[0].outcome == "done", check.ended[0].error
    first = bench.inline(train, {1: "pause"})
    resumed = bench.inline(train, {2: "pause"}, **bench.resume(first, 2))
    notes = [note for note in resumed.of(Note) if "first segment" in note.text]
    assert {note.topic for note in notes} == {"finder LearningRateFinder", "finder BatchSizeFinder"}
    assert {note.once_per for note in notes} == {"study"}


# ---------------------------------------------------------------------- whose checkpoint


def _shared_folder(folder: Path) -> Callable[[Trial], Any]:
    """Returns a training that resumes from "last" in a folder that trials share."""

    def train(trial: Trial) -> None:
        trainer = L.Trainer(
            max_epochs=trial.max_epochs, accelerator="cpu", logger=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=[ModelCheckpoint(folder, save_last=True)],
        )  # fmt: skip
        trainer.fit(Net(trial["lr"]), DataLoader(Rows(), 8), validation(), ckpt_path="last")

    return train


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "another trial": ({"trial_id": 3, "config": {"lr": 0.1}}, "belongs to trial 3 of study 'study'"),
    "another trial at the same point": ({"trial_id": 3}, "belongs to trial 3 of study 'study'"),
    "another configuration": ({"config": {"lr": 0.1}}, "another configuration"),
    "another study": ({"study": "other", "study_id": "b", "config": {"lr": 0.1}}, "of study 'other'"),
    "a study of the same name": ({"study_id": "b"}, "belongs to trial 17 of study 'study'"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("trained", [1, HORIZON])
def test_another_trials_checkpoint_is_refused_before_anything_trains(
    bench: Bench, tmp_path: Path, name: str, trained: int
) -> None:
    other, words = OTHERS[name]
    train, at = _shared_folder(tmp_path / "shared"), "pause" if trained < HORIZON else "stop"
    own = bench.inline(train, {1: "pause"}, study_id="a")
    shutil.rmtree(tmp_path / "shared")
    bench.inline(train, {trained: at}, **{"study_id": "a", **other})
    said = bench.inline(train, {2: "pause"}, study_id="a", **bench.resume(own, 2))
    assert said.of(Report) == []
    assert "CheckpointError" in said.ended[0].error
    assert words in said.ended[0].error
    assert "last.ckpt" in said.ended[0].error
    assert "dirpath=trial.dir" in said.ended[0].error


def test_a_checks_checkpoint_is_no_trials(bench: Bench) -> None:
    segment = ActiveSegment(bench.order, ScriptedChannel({}), 0)
    with pytest.raises(
        CheckpointError, match=r"'a\.ckpt' belongs to the check of study 'study', but this segment trains trial"
    ):
        check_identity(segment, identity(replace(bench.order, probe_batches=2)), "a.ckpt")


SAME: dict[str, dict[str, Any]] = {
    "renamed": {"study": "renamed", "study_id": "a"},
    "renamed without an id": {"study": "renamed"},
    "other devices": {"config": {"lr": 0.003, "devices": 2}, "config_digest": config_digest({"lr": 0.003})},
}


@pytest.mark.parametrize("name", SAME)
def test_a_trials_own_checkpoint_is_taken_from_a_folder_of_the_users(bench: Bench, tmp_path: Path, name: str) -> None:
    train = _shared_folder(tmp_path / "own")
    own = bench.inline(train, {1: "pause"}, study_id="a")
    said = bench.inline(train, {2: "pause"}, **SAME[name], **bench.resume(own, 2))
    assert [report.resource for report in said.of(Report)] == [2], said.ended[0].error


def test_checkpoints_of_0_1_0_and_weights_of_anyone_are_taken(bench: Bench, tmp_path: Path) -> None:
    def train(trial: Trial) -> None:
        generator = torch.Generator().manual_seed(1)
        net = Net.load_from_checkpoint(tmp_path / "other.ckpt") if (tmp_path / "other.ckpt").exists() else Net()
        fit(trial, DataLoader(Rows(), 8, shuffle=True, generator=generator), net)

    own = bench.inline(train, {1: "pause"})
    whole = bench.inline(train, {2: "pause"}, **bench.resume(own, 2))
    state = torch.load(own.saved.path)
    ours = state["lightning_hwtune"]
    torch.save(
        state | {"lightning_hwtune": ours | {"identity": {**ours["identity"], "trial": 1}}}, tmp_path / "other.ckpt"
    )
    generators = [ours["ranks"][0]["generators"]["training.0.generator"]["state"]]
    old = {"resource": ours["resource"], "rng": ours["rng"], "generators": generators}
    torch.save(state | {"lightning_hwtune": old}, own.saved.path)
    again = bench.inline(train, {2: "pause"}, **bench.resume(own, 2))
    assert [report.metrics for report in again.of(Report)] == [report.metrics for report in whole.of(Report)]


def test_a_plain_checkpoint_of_the_horizon_is_refused_although_nothing_would_train(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        fit(trial, DataLoader(Rows(), 8))

    own, whole = bench.inline(train, {1: "pause"}), bench.inline(train, {HORIZON: "stop"})
    state = torch.load(whole.saved.path)
    del state["lightning_hwtune"]
    torch.save(state, own.saved.path)
    said = bench.inline(train, {}, **bench.resume(own, 2))
    assert "the trial has reached 1 epoch, but the training resumed at 4" in said.ended[0].error


def test_a_folder_of_the_trials_own_serves_a_resume_from_last(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        trainer = L.Trainer(
            max_epochs=trial.max_epochs, accelerator="cpu", logger=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=[ModelCheckpoint(trial.dir / "mine", save_last=True)],
        )  # fmt: skip
        loader = DataLoader(Rows(np.random.default_rng(0)), 8, shuffle=True)
        trainer.fit(Best(), loader, validation(), ckpt_path="last")

    assert [place for place in compare(bench, train) if "ModelCheckpoint" not in place] == []  # its folder differs
