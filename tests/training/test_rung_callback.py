"""`RungCallback` in real Lightning trainings: reports, verdicts, and what it refuses."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from digits_training import DigitsData, DigitsNet, train_plainly
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from rank_bench import Bench, differences

from lightning_hwtune.errors import ArgumentError, CheckpointError, OwnedArgumentError
from lightning_hwtune.training import context
from lightning_hwtune.training.attach import lightning_callbacks, pytorch_lightning_callbacks
from lightning_hwtune.training.channel import Note, Report, Saved, Started
from lightning_hwtune.training.lightning_tree import RungCallback
from lightning_hwtune.training.process.rank_main import own_threads
from lightning_hwtune.training.train_clock import TrainClock
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training


class FinalizeLogger(Logger):
    """Appends how it was finalized to a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    @property
    def name(self) -> str:
        return "finalize"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        return

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        return

    def finalize(self, status: str) -> None:
        with self._path.open("a") as file:
            file.write(f"{status}\n")


def _own_trainer(trial: Trial, **kwargs: Any) -> L.Trainer:
    """A Trainer as a script builds it that does not use this package."""
    settings = {"max_epochs": trial.max_epochs, "accelerator": "cpu", "devices": trial.num_devices, **kwargs}
    return L.Trainer(
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, **settings
    )


def test_outside_a_study_nothing_happens(tmp_path: Path) -> None:
    assert lightning_callbacks() == [] == pytorch_lightning_callbacks()
    callback = RungCallback()
    trainer = L.Trainer(
        callbacks=[callback], max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(DigitsNet(), DigitsData(64))
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    assert "lightning_hwtune" not in torch.load(tmp_path / "plain.ckpt", weights_only=True)


def test_each_validated_epoch_is_reported_and_a_stop_ends_the_fit(bench: Bench, tmp_path: Path) -> None:
    def train(trial: Trial) -> None:
        trainer = trial.fit(DigitsNet(), DigitsData(64), logger=FinalizeLogger(tmp_path / "finalized"))
        assert trainer.current_epoch == 2
        trainer.validate(trainer.lightning_module, trainer.datamodule)

    said = bench.inline(train, {2: "stop"})
    assert [report.resource for report in said.of(Report)] == [1, 2]
    assert all(0 <= report.metrics["val_error"] <= 1 for report in said.of(Report))
    first, second = said.of(Report)
    assert 0 < first.train_s < second.train_s
    assert said.ended[0].outcome == "done"
    assert not said.ended[0].reached_end
    assert said.of(Saved) == []
    assert set((tmp_path / "finalized").read_text().split()) == {"success"}


def test_at_the_horizon_a_checkpoint_is_saved(bench: Bench) -> None:
    said = bench.inline(train_plainly, {4: "stop"})
    assert said.saved.resource == 4
    assert said.saved.n_bytes == Path(said.saved.path).stat().st_size
    assert [p.name for p in Path(said.saved.path).parent.iterdir()] == ["segment_01_epochs_4.ckpt"]


def test_a_trial_on_one_device_equals_the_same_script_without_a_study(bench: Bench, tmp_path: Path) -> None:
    said = bench.inline(train_plainly, {4: "stop"})
    L.seed_everything(bench.order.seed, workers=True, verbose=False)
    model = DigitsNet()
    trainer = L.Trainer(
        max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    with own_threads(bench.order):  # sums of several threads differ in their last bits
        trainer.fit(model, DigitsData(64))
    state = torch.load(said.saved.path, weights_only=True)["state_dict"]
    assert differences(state, model.state_dict()) == []


@pytest.mark.parametrize("num_devices", [1, 2])
def test_a_metric_that_never_arrives_ends_every_rank_and_lists_those_that_exist(bench: Bench, num_devices: int) -> None:
    said = bench.segment(train_plainly, {}, metrics=("val_eror",), num_devices=num_devices)
    assert len(said.ended) == num_devices
    for ended in said.ended:
        assert ended.outcome == "error"
        assert "'val_eror' was never logged" in ended.error
        assert "'val_error', 'val_loss'" in ended.error
        assert "did you mean 'val_error'?" in ended.error


def test_min_epochs_does_not_keep_a_trial_from_its_rung(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        _own_trainer(trial, min_epochs=3, min_steps=1).fit(DigitsNet(), DigitsData(64))

    said = bench.inline(train, {1: "pause"})
    assert [report.resource for report in said.of(Report)] == [1]
    (note,) = said.of(Note)
    assert note.text.startswith("min_epochs=3 of the Trainer has no effect")


def test_only_the_first_fit_of_a_segment_reports(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        trial.fit(DigitsNet(), DigitsData(64))
        trainer = trial.fit(DigitsNet(), DigitsData(64))
        assert trainer.current_epoch == 4

    said = bench.inline(train, {4: "stop"})
    assert [report.resource for report in said.of(Report)] == [1, 2, 3, 4]
    assert ["only the first fit" in note.text for note in said.of(Note)] == [True]


def test_after_a_pause_a_second_fit_is_skipped_and_a_test_runs(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        trial.fit(DigitsNet(), DigitsData(64))
        trainer = trial.fit(DigitsNet(), DigitsData(64))
        assert trainer.global_step == 0
        trainer.validate(trainer.lightning_module, trainer.datamodule)

    said = bench.inline(train, {1: "pause"})
    assert said.ended[0].outcome == "done"
    assert [report.resource for report in said.of(Report)] == [1]
    [note] = said.of(Note)
    assert note.text.startswith(
        "trials that pause or stop skip the fit that follows the training. It runs after a full"
    )


def test_early_stopping_of_the_users_own_ends_the_trial(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        stopping = EarlyStopping("val_loss", patience=1, min_delta=100.0)
        trial.fit(DigitsNet(), DigitsData(64), callbacks=stopping)

    said = bench.inline(train, {})
    assert [report.resource for report in said.of(Report)] == [1, 2]
    assert said.ended[0].reached_end
    assert said.ended[0].resource == 2
    assert said.saved.resource == 2


def test_a_trainer_that_knows_nothing_of_us_reports_and_resumes(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        _own_trainer(trial).fit(DigitsNet(), DigitsData(64))

    whole = bench.inline(train, {4: "stop"}, trial_dir=_folder(bench, "whole"))
    first = bench.inline(train, {2: "pause"})
    second = bench.inline(train, {4: "stop"}, **bench.resume(first, 2))
    assert [report.resource for report in second.of(Report)] == [3, 4]
    states = [torch.load(said.saved.path, weights_only=True)["state_dict"] for said in (whole, second)]
    assert differences(*states) == []


@pytest.mark.parametrize("callbacks", [0, 1, 2])
def test_there_is_never_a_second_reporting_callback(bench: Bench, callbacks: int) -> None:
    def train(trial: Trial) -> None:
        own = [RungCallback() for _ in range(callbacks)]
        _own_trainer(trial, callbacks=[EarlyStopping("val_loss", patience=9), *own]).fit(DigitsNet(), DigitsData(64))

    said = bench.inline(train, {2: "stop"})
    assert [report.resource for report in said.of(Report)] == [1, 2]
    assert said.ended[0].error == ""


def test_the_other_class_tree_works_the_same(bench: Bench) -> None:
    pl = pytest.importorskip("pytorch_lightning")
    said = bench.inline(_train_in_the_other_tree, {2: "pause"})
    assert [report.resource for report in said.of(Report)] == [1, 2]
    resumed = bench.inline(_train_in_the_other_tree, {4: "stop"}, **bench.resume(said, 2))
    assert [report.resource for report in resumed.of(Report)] == [3, 4]
    assert torch.load(resumed.saved.path, weights_only=True)["pytorch-lightning_version"] == pl.__version__


def test_the_entry_point_attaches_in_the_other_class_tree(bench: Bench) -> None:
    pl = pytest.importorskip("pytorch_lightning")

    def train(trial: Trial) -> None:
        trainer = pl.Trainer(
            max_epochs=trial.max_epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        assert [type(c).__module__.rpartition(".")[2] for c in trainer.callbacks] == ["pytorch_lightning_tree"]
        trainer.fit(_net_of(pl), _loader(512), _loader(64))

    assert len(bench.inline(train, {}).of(Report)) == 4


@pytest.mark.skipif(not hasattr(L.callbacks, "EMAWeightAveraging"), reason="Lightning before 2.6 refuses it")
def test_a_callback_of_the_wrong_tree_works_too(bench: Bench) -> None:
    pl = pytest.importorskip("pytorch_lightning")

    def train(trial: Trial) -> None:
        trainer = pl.Trainer(
            max_epochs=trial.max_epochs, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[RungCallback()],
        )  # fmt: skip
        trainer.fit(_net_of(pl), _loader(512), _loader(64))

    said = bench.inline(train, {2: "pause"})
    assert [report.resource for report in said.of(Report)] == [1, 2]
    assert said.saved.resource == 2


def _train_in_the_other_tree(trial: Trial) -> None:
    import pytorch_lightning as pl

    trainer = trial.fit(_net_of(pl), train_dataloaders=_loader(512), val_dataloaders=_loader(64))
    assert isinstance(trainer, pl.Trainer)


def _net_of(package: Any) -> Any:
    class Net(package.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.layer(batch).square().mean()

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_error", self.layer(batch).square().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters())

    return Net()


def _loader(n: int) -> Any:
    return torch.utils.data.DataLoader(torch.randn(n, 4), 64)


def test_another_horizon_is_refused(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        _own_trainer(trial, max_epochs=10).fit(DigitsNet(), DigitsData(64))

    error = bench.inline(train, {}).ended[0].error
    assert "`Trainer(max_epochs=...)` is 10; allowed: 4, the full training." in error


@pytest.mark.parametrize(
    ("unit", "horizon", "given", "told"),
    [
        ("steps", 64, {"max_epochs": 10}, "`Trainer(max_epochs=...)` is 10; allowed: -1, since the study counts steps"),
        ("steps", 64, {"max_epochs": None}, "`Trainer(max_epochs=...)` is 1000; allowed: -1"),
        ("steps", 64, {"max_steps": 20}, "`Trainer(max_steps=...)` is 20; allowed: 64, the full training, or -1"),
        ("samples", 512, {"max_epochs": 10}, "`Trainer(max_epochs=...)` is 10; allowed: -1"),
        ("samples", 512, {"max_steps": 512}, "`Trainer(max_steps=...)` is 512; allowed: -1"),
        ("epochs", 4, {"max_steps": 500}, "`Trainer(max_steps=...)` is 500; allowed: -1"),
    ],
)
def test_another_horizon_is_refused_in_every_unit(
    bench: Bench, unit: str, horizon: int, given: dict[str, Any], told: str
) -> None:
    def train(trial: Trial) -> None:
        _own_trainer(trial, **given).fit(DigitsNet(), DigitsData(64))

    said = bench.inline(train, {}, unit=unit, max_resource=horizon, levels=(horizon,))
    assert told in said.ended[0].error
    assert said.of(Report) == []


@pytest.mark.parametrize(("unit", "given"), [("steps", {"max_steps": 8}), ("steps", {}), ("samples", {})])
def test_a_trainer_without_another_horizon_trains_in_steps_and_samples(
    bench: Bench, unit: str, given: dict[str, Any]
) -> None:
    def train(trial: Trial) -> None:
        _own_trainer(trial, **given).fit(DigitsNet(), DigitsData(64))

    horizon = {"steps": 8, "samples": 512}[unit]
    said = bench.inline(train, {horizon: "stop"}, unit=unit, max_resource=horizon, levels=(horizon,))
    assert [report.resource for report in said.of(Report)] == [horizon]


def test_rungs_that_are_never_validated_are_refused(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        loaders = {"train_dataloaders": _loader(128), "val_dataloaders": _loader(64)}
        trial.fit(_net_of(L), check_val_every_n_epoch=2, **loaders)

    error = bench.inline(train, {}).ended[0].error
    assert "is 2; allowed: a divisor of every rung, such as 1; the rungs are at " in error
    said = bench.inline(train, {}, levels=(2, 4))
    assert [report.resource for report in said.of(Report)] == [2, 4]


def test_the_wrong_number_of_devices_is_refused(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        _own_trainer(trial, devices=2).fit(DigitsNet(), DigitsData(64))

    # not: run this whole script again as rank 1, as Lightning does elsewhere
    assert "`devices` is 2; allowed: 1, the number of devices of this segment" in bench.inline(train, {}).ended[0].error

    def train_on_one(trial: Trial) -> None:
        _own_trainer(trial, devices=1).fit(DigitsNet(), DigitsData(64))

    error = bench.inline(train_on_one, {}, num_devices=2).ended[0].error
    assert "`Trainer(devices=...)` is '1 in a process group of 1'; allowed: 2" in error


def test_what_the_study_owns_cannot_be_passed(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        for owned in ({"max_epochs": 3}, {"devices": 2, "accelerator": "gpu"}):
            with pytest.raises(OwnedArgumentError, match=r"`(max_epochs|devices)`.* cannot be passed here"):
                trial.trainer(**owned)
        with pytest.raises(TypeError):
            trial.fit(DigitsNet(), DigitsData(64), ckpt_path="x.ckpt")
        assert trial.trainer(strategy="auto", enable_progress_bar=True).progress_bar_callback is not None

    assert bench.inline(train, {}).ended[0].error == ""


def test_a_checkpoint_of_another_epoch_is_refused(bench: Bench) -> None:
    first = bench.inline(train_plainly, {2: "pause"})
    wrong = {**bench.resume(first, 2), "resource": 1}
    error = bench.inline(train_plainly, {}, **wrong).ended[0].error
    assert CheckpointError.__name__ in error
    assert "the trial has reached 1 epoch, but the training resumed at 2. Use trial.fit()" in error


def test_checkpoints_outside_the_disk_budget_are_told_once(bench: Bench, tmp_path: Path) -> None:
    def train(trial: Trial) -> None:
        elsewhere = ModelCheckpoint(tmp_path.parent / "elsewhere", monitor="val_loss")
        trial.fit(DigitsNet(), DigitsData(64), callbacks=[ModelCheckpoint(save_top_k=-1), elsewhere])

    said = bench.inline(train, {2: "stop"}, trial_id=0)
    assert len(list((tmp_path / "checkpoints").glob("epoch=*"))) == 2
    [note] = said.of(Note)
    assert note.text == (
        "the files that ModelCheckpoint saves are not part of the study: `disk_budget` does not "
        "count them, and the study never deletes them"
    )
    again = bench.inline(train, {2: "stop"}, trial_id=1, trial_dir=_folder(bench, "again")).of(Note)
    assert again == [note]
    assert note.once_per == "study"
    assert bench.inline(train, {1: "stop"}, trial_id=0, probe_batches=2).of(Note) == []


@pytest.mark.parametrize(("unit", "per_epoch"), [("steps", 8), ("samples", 512)])
def test_rungs_in_steps_and_samples_fall_on_epoch_ends(bench: Bench, unit: str, per_epoch: int) -> None:
    changes: dict[str, Any] = {"unit": unit, "max_resource": 4 * per_epoch - 3, "levels": (per_epoch, 3 * per_epoch)}
    script = {3 * per_epoch: "pause", 4 * per_epoch: "stop"}
    whole = bench.inline(train_plainly, {4 * per_epoch: "stop"}, **changes, trial_dir=_folder(bench, "whole"))
    first = bench.inline(train_plainly, script, **changes)
    second = bench.inline(train_plainly, script, **changes, **bench.resume(first, 2))
    assert [report.resource for report in whole.of(Report)] == [n * per_epoch for n in (1, 2, 3, 4)]
    assert [report.resource for report in second.of(Report)] == [4 * per_epoch]
    states = [torch.load(said.saved.path, weights_only=True) for said in (whole, second)]
    assert differences(states[0]["state_dict"], states[1]["state_dict"]) == []
    assert differences(states[0]["optimizer_states"], states[1]["optimizer_states"]) == []


def test_a_pause_keeps_the_generator_of_a_loader(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        generator = torch.Generator().manual_seed(3)
        data = DigitsData(64)
        data.setup("fit")
        loader = torch.utils.data.DataLoader(data.train, 64, shuffle=True, generator=generator)
        trial.fit(DigitsNet(), train_dataloaders=loader, val_dataloaders=data.val_dataloader())

    whole = bench.inline(train, {4: "stop"}, trial_dir=_folder(bench, "whole"))
    first = bench.inline(train, {2: "pause"})
    second = bench.inline(train, {4: "stop"}, **bench.resume(first, 2))
    states = [torch.load(said.saved.path, weights_only=True)["state_dict"] for said in (whole, second)]
    assert differences(*states) == []


def test_an_unchanged_loop_with_a_report_in_a_second_place_is_refused(bench: Bench) -> None:
    def train(trial: Trial) -> None:
        trial.fit(DigitsNet(), DigitsData(64))
        with pytest.raises(ArgumentError, match="manual_reports"):
            trial.report(1, val_error=0.5)

    assert bench.inline(train, {4: "stop"}).ended[0].error == ""


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Has each batch of the modules it is given take one second on the segment's clock, and nothing else."""
    now = [0.0]
    given: dict[str, Any] = {"now": lambda: now[0], "imports": lambda: 0.0, "compiling": lambda: 0.0}
    monkeypatch.setattr(context, "TrainClock", functools.partial(TrainClock, **given))

    def count(module: Any) -> Any:
        def timed(step: Callable[..., Any]) -> Callable[..., Any]:
            def taking_a_second(*batch: Any) -> Any:
                now[0] += 1.0
                return step(*batch)

            return taking_a_second

        for name in ("training_step", "validation_step"):
            setattr(module, name, timed(getattr(module, name)))
        return module

    return count


def test_a_probe_trains_two_batches_and_tells_names_and_pace(bench: Bench, counted: Callable[[Any], Any]) -> None:
    def train(trial: Trial) -> None:
        trainer = trial.fit(counted(DigitsNet()), DigitsData(64))
        assert trainer.global_step == 2

    said = bench.inline(train, {1: "stop"}, probe_batches=2)
    (report,) = said.of(Report)
    assert report.probe is not None
    assert report.probe.logged == ("train_loss", "train_loss_epoch", "train_loss_step", "val_error", "val_loss")
    assert report.train_s == 2 + 2
    assert report.probe.epoch_s == 8 + 4
    assert said.ended[0].error == ""


@pytest.mark.parametrize(
    ("limits", "whole"),
    [
        ({"val_check_interval": 5}, 8 + 4),
        ({"limit_train_batches": 6}, 6 + 4),
        ({"limit_train_batches": 0.5, "limit_val_batches": 3}, 4 + 3),
        ({"limit_train_batches": 1, "limit_val_batches": 1}, 1 + 1),
        ({"limit_val_batches": 100}, 8 + 4),
    ],
)
def test_a_probe_keeps_to_the_trainers_own_limits(
    bench: Bench, counted: Callable[[Any], Any], limits: dict[str, Any], whole: int
) -> None:
    def train(trial: Trial) -> None:
        trial.fit(counted(DigitsNet()), DigitsData(64), **limits)

    said = bench.inline(train, {1: "stop"}, probe_batches=2)
    assert said.ended[0].error == ""
    (report,) = said.of(Report)
    assert report.probe is not None
    assert report.probe.epoch_s == whole


@pytest.mark.parametrize("off", [0, 0.0])
def test_a_probe_does_not_validate_where_validation_is_off(bench: Bench, off: float) -> None:
    said = bench.inline(
        lambda trial: trial.fit(DigitsNet(), DigitsData(64), limit_val_batches=off), {1: "stop"}, probe_batches=2
    )
    assert "'val_error' was never logged; logged names: 'train_loss'" in said.ended[0].error


@pytest.mark.parametrize("limit", [5, 1.0])
def test_a_probe_of_a_stream_knows_an_epoch_only_by_its_limit(
    bench: Bench, counted: Callable[[Any], Any], limit: float
) -> None:
    class Stream(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(torch.randn(640, 4))

    def train(trial: Trial) -> None:
        stream = torch.utils.data.DataLoader(Stream(), 64)
        trial.fit(counted(_net_of(L)), stream, _loader(64), limit_train_batches=limit)

    said = bench.inline(train, {1: "stop"}, probe_batches=2)
    (report,) = said.of(Report)
    assert report.probe is not None
    assert report.probe.epoch_s == pytest.approx(5 + 1 if limit == 5 else math.nan, nan_ok=True)


def test_the_real_group_size_is_told(bench: Bench) -> None:
    said = bench.inline(train_plainly, {1: "stop"})
    assert [started.world_size for started in said.of(Started)] == [0, 1]


def _folder(bench: Bench, name: str) -> str:
    path = Path(bench.order.trial_dir) / name
    with contextlib.suppress(FileExistsError):
        path.mkdir()
    return str(path)
