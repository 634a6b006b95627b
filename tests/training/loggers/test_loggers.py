"""The user's loggers: one run per trial over all its segments, and what the study adds to them."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import yaml
from digits_training import DigitsData, DigitsNet
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from rank_bench import Bench, ScriptedChannel, Train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from lightning_hwtune.training.channel import Note, Report, VerdictMessage
from lightning_hwtune.training.process.rank_main import run_segment
from lightning_hwtune.training.trial import Trial

pytestmark = pytest.mark.training

_N_STEPS = 8  # an epoch: 512 samples in batches of 64


@pytest.fixture
def bench(bench: Bench, tmp_path: Path) -> Bench:
    """The same trial, with its own folder next to that of the logs."""
    folder = tmp_path / "study" / "017"
    folder.mkdir(parents=True)
    bench.order = replace(bench.order, trial_dir=str(folder))
    return bench


def _training(make: Callable[[], Any], *callbacks: Any) -> Train:
    """Returns a training function whose Trainer logs to what `make()` returns."""

    def train(trial: Trial) -> None:
        trial.fit(DigitsNet(), DigitsData(64), logger=make(), log_every_n_steps=1, callbacks=list(callbacks))

    return train


def _train_in_three_segments(bench: Bench, train: Train) -> None:
    """Pauses after two epochs; does two more that are lost; does the third again and pauses."""
    first = bench.inline(train, {2: "pause"})
    bench.inline(train, {4: "stop"}, **bench.resume(first, 2))
    last = bench.inline(train, {3: "pause"}, **bench.resume(first, 3))
    assert [said.ended[0].error for said in (first, last)] == ["", ""]
    assert [report.resource for report in last.of(Report)] == [3]


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _assert_whole(rows: list[dict[str, str]]) -> None:
    """Three epochs, every step once, and the decisions at the rungs 1 and 2."""
    assert [row["epoch"] for row in rows if row["val_error"]] == ["0", "1", "2"]
    assert [row["epoch"] for row in rows if row["train_loss_epoch"]] == ["0", "1", "2"]
    assert [int(row["step"]) for row in rows if row["train_loss_step"]] == list(range(3 * _N_STEPS))
    decided = [row for row in rows if row["hwtune/rung"]]
    assert [float(row["hwtune/rung"]) for row in decided] == [1.0, 2.0]
    assert [float(row["hwtune/goes_on"]) for row in decided] == [1.0, 0.0]
    assert [int(row["step"]) for row in decided] == [_N_STEPS - 1, 2 * _N_STEPS - 1]


def _events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


def _shown_hyperparameters(events: EventAccumulator) -> dict[str, Any]:
    """Returns what TensorBoard's table of hyperparameters shows."""
    content = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    shown = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: value.number_value or value.string_value for name, value in shown.items()}


@pytest.mark.parametrize("version", [None, "mine"])
def test_a_csv_logger_keeps_one_file_with_every_step_once(bench: Bench, tmp_path: Path, version: str | None) -> None:
    _train_in_three_segments(bench, _training(lambda: CSVLogger(tmp_path / "logs", "net", version)))
    folder = tmp_path / "logs" / "net" / (version or "trial_017")
    assert list(folder.parent.iterdir()) == [folder]
    _assert_whole(_rows(folder))
    hparams = yaml.safe_load((folder / "hparams.yaml").read_text())
    assert hparams["lr"] == 0.003
    assert hparams["hwtune"] == {"study": "study", "trial": 17, "config": {"lr": 0.003}}


def test_rows_outlive_a_folder_on_another_disk(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: Any) -> None:
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    _train_in_three_segments(bench, _training(lambda: CSVLogger(tmp_path / "logs", "net", "mine")))
    _assert_whole(_rows(tmp_path / "logs" / "net" / "mine"))


def test_rows_outlive_a_segment_that_fails(bench: Bench, tmp_path: Path) -> None:
    class Fails(L.Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 2:
                raise ValueError("out of luck")

    def logger() -> CSVLogger:
        return CSVLogger(tmp_path / "logs", "net", "mine")

    first = bench.inline(_training(logger, Fails()), {}, save_every=1)
    assert first.ended[0].outcome == "error"
    bench.inline(_training(logger), {3: "pause"}, **bench.resume(first, 2))
    rows = _rows(tmp_path / "logs" / "net" / "mine")
    assert [row["epoch"] for row in rows if row["val_error"]] == ["0", "1", "2"]


def test_another_place_is_not_taken_for_the_trials_own(bench: Bench, tmp_path: Path) -> None:
    roots = [tmp_path / "monday", tmp_path / "tuesday"]
    (roots[1] / "lightning_logs" / "trial_017").mkdir(parents=True)
    (roots[1] / "lightning_logs" / "trial_017" / ".hwtune").write_text("another study's")
    train = _training(lambda: TensorBoardLogger(roots.pop(0)))
    first = bench.inline(train, {2: "pause"})
    bench.inline(train, {3: "pause"}, **bench.resume(first, 2))
    assert len(list((tmp_path / "tuesday" / "lightning_logs" / "trial_017").iterdir())) == 1
    events = _events(tmp_path / "tuesday" / "lightning_logs" / "trial_017_2")
    assert [event.step for event in events.Scalars("val_error")] == [23]


def test_an_unchanged_script_has_one_tensorboard_run(bench: Bench, tmp_path: Path) -> None:
    """Its Trainer does not mention a study: the callback is attached automatically, and the logger is the default."""

    def train(trial: Trial) -> None:
        trainer = L.Trainer(
            max_epochs=4, accelerator="cpu", default_root_dir=tmp_path, log_every_n_steps=1,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(DigitsNet(), DigitsData(64))
        assert trainer.log_dir == str(tmp_path / "lightning_logs" / "trial_017")

    _train_in_three_segments(bench, train)
    folder = tmp_path / "lightning_logs" / "trial_017"
    assert list(folder.parent.iterdir()) == [folder]
    assert list(folder.rglob("*.ckpt")) == list((folder / "checkpoints").iterdir())
    events = _events(folder)
    ends = [(epoch + 1) * _N_STEPS - 1 for epoch in range(3)]
    assert [event.step for event in events.Scalars("val_error")] == ends
    assert [event.step for event in events.Scalars("train_loss_step")] == list(range(3 * _N_STEPS))
    assert [(event.step, event.value) for event in events.Scalars("hwtune/rung")] == [(ends[0], 1.0), (ends[1], 2.0)]
    shown = _shown_hyperparameters(events)
    assert (shown["dropout"], shown["hwtune/trial"]) == (0.3, 17.0)
    assert shown["lr"] == shown["hwtune/config/lr"] == 0.003


def test_what_was_logged_before_the_fit_moves_along(bench: Bench, tmp_path: Path) -> None:
    def make() -> list[Logger]:
        loggers: list[Logger] = [CSVLogger(tmp_path / "csv"), TensorBoardLogger(tmp_path / "tb")]
        for logger in loggers:
            logger.log_hyperparams({"app": "as composed"})
            logger.log_metrics({"free_gb": 3.0}, step=0)
            logger.save()
        return loggers

    _train_in_three_segments(bench, _training(make))
    csv_folder, folder = (tmp_path / name / "lightning_logs" / "trial_017" for name in ("csv", "tb"))
    assert list(csv_folder.parent.iterdir()) == [csv_folder]
    assert list(folder.parent.iterdir()) == [folder]
    rows = _rows(csv_folder)
    assert [row["free_gb"] for row in rows if row["free_gb"]] == ["3.0"] * 3
    _assert_whole(rows)
    assert yaml.safe_load((csv_folder / "hparams.yaml").read_text())["app"] == "as composed"
    assert _shown_hyperparameters(_events(folder))["app"] == "as composed"


def test_trials_that_counted_to_one_number_part(bench: Bench, tmp_path: Path) -> None:
    def make() -> list[Logger]:
        loggers = [CSVLogger(tmp_path / "csv", "net"), TensorBoardLogger(tmp_path / "tb", "net")]
        for logger in loggers:
            logger._version = 0  # what it counts to while the other's folder is not there yet
        return loggers

    other = Path(bench.order.trial_dir).with_name("018")
    other.mkdir()
    train = _training(make)
    bench.inline(train, {1: "pause"})
    bench.inline(train, {2: "pause"}, trial_id=18, trial_dir=str(other))
    rows = _rows(tmp_path / "csv" / "net" / "version_1")
    assert [row["epoch"] for row in rows if row["val_error"]] == ["0", "1"]
    assert [event.step for event in _events(tmp_path / "tb/net/version_0").Scalars("val_error")] == [7]
    assert [event.step for event in _events(tmp_path / "tb/net/version_1").Scalars("val_error")] == [7, 15]


def test_a_trial_that_began_in_a_numbered_folder_stays_in_it(bench: Bench, tmp_path: Path) -> None:
    """As in a study of the time when versions were counted."""
    numbers: list[int | None] = [4, None]

    def make() -> list[Logger]:
        loggers = [CSVLogger(tmp_path / "csv", "net"), TensorBoardLogger(tmp_path / "tb", "net")]
        number = numbers.pop(0)
        for logger in loggers:
            logger._version = number
        return loggers

    first = bench.inline(_training(make), {2: "pause"})
    bench.inline(_training(make), {3: "pause"}, **bench.resume(first, 2))
    for name in ("csv", "tb"):
        assert [path.name for path in (tmp_path / name / "net").iterdir()] == ["version_4"]
    rows = _rows(tmp_path / "csv" / "net" / "version_4")
    assert [row["epoch"] for row in rows if row["val_error"]] == ["0", "1", "2"]
    events = _events(tmp_path / "tb" / "net" / "version_4")
    # files of the same second and process are read in the order of the text of their numbers: 10 before 9
    assert sorted(event.step for event in events.Scalars("val_error")) == [7, 15, 23]


@pytest.mark.parametrize("version", [7, "mine", ""])
def test_a_version_of_the_users_stays(bench: Bench, tmp_path: Path, version: int | str) -> None:
    train = _training(lambda: CSVLogger(tmp_path / "csv", "net", version))
    first = bench.inline(train, {1: "pause"})
    bench.inline(train, {2: "pause"}, **bench.resume(first, 1))
    rows = _rows(tmp_path / "csv" / "net" / (f"version_{version}" if version == 7 else str(version)))
    assert [row["epoch"] for row in rows if row["val_error"]] == ["0", "1"]


def test_a_folder_that_two_trials_share_by_name_is_told(bench: Bench, tmp_path: Path) -> None:
    train = _training(lambda: TensorBoardLogger(tmp_path, "net", "same"))
    assert bench.inline(train, {1: "pause"}).of(Note) == []
    other = Path(bench.order.trial_dir).with_name("018")
    other.mkdir()
    notes = bench.inline(train, {1: "pause"}, trial_id=18, trial_dir=str(other)).of(Note)
    assert [note.text for note in notes] == [
        f"TensorBoardLogger writes to {tmp_path}/net/same, which already has the logs of another trial"
    ]


def test_runs_go_on_where_study_and_logs_have_moved(bench: Bench, tmp_path: Path) -> None:
    place = [tmp_path]
    train = _training(lambda: CSVLogger(place[0] / "study" / "logs"))
    said = bench.inline(train, {2: "pause"})
    shutil.move(tmp_path / "study", tmp_path / "moved" / "study")
    place[0] = tmp_path / "moved"
    home = place[0] / "study" / "017"
    checkpoint = home / Path(said.saved.path).relative_to(bench.order.trial_dir)
    resume = {**bench.resume(said, 2), "checkpoint": str(checkpoint), "trial_dir": str(home)}
    bench.inline(train, {3: "pause"}, **resume)
    (folder,) = (place[0] / "study" / "logs" / "lightning_logs").iterdir()
    _assert_whole(_rows(folder))


def test_a_model_checkpoint_keeps_its_folder_and_its_best(bench: Bench, tmp_path: Path) -> None:
    kept: list[ModelCheckpoint] = []

    def train(trial: Trial) -> None:
        kept.append(ModelCheckpoint(monitor="val_error", save_top_k=-1, filename="{epoch}"))
        logger = TensorBoardLogger(tmp_path)
        trial.fit(DigitsNet(), DigitsData(64), logger=logger, callbacks=[kept[-1]])

    said = bench.inline(train, {2: "pause"})
    bench.inline(train, {3: "pause"}, **bench.resume(said, 2))
    folder = tmp_path / "lightning_logs" / "trial_017" / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["epoch=0.ckpt", "epoch=1.ckpt", "epoch=2.ckpt"]
    assert len(kept[-1].best_k_models) == 3


def test_ranks_agree_on_the_folder(bench: Bench, tmp_path: Path) -> None:
    def train(trial: Trial) -> None:
        import os

        logger = [CSVLogger(tmp_path / "csv"), TensorBoardLogger(tmp_path / "tb")]
        trial.fit(DigitsNet(), DigitsData(32), logger=logger, log_every_n_steps=1)
        text = " ".join(str(one.version) for one in logger)
        (tmp_path / f"segment_{trial.segment}_rank_{os.environ['RANK']}").write_text(text)

    said = bench.segment(train, {2: "pause"}, num_devices=2)
    last = bench.segment(train, {3: "pause"}, num_devices=2, **bench.resume(said, 2))
    assert [ended.error for ended in last.ended] == ["", ""]
    told = [tmp_path / f"segment_{segment}_rank_{rank}" for segment in (1, 2) for rank in (0, 1)]
    assert [path.read_text() for path in told] == ["trial_017 trial_017"] * 4
    _assert_whole(_rows(tmp_path / "csv" / "lightning_logs" / "trial_017"))
    assert [path.name for path in (tmp_path / "tb" / "lightning_logs").iterdir()] == ["trial_017"]


class _Ranking(ScriptedChannel):
    """Answers with a rank."""

    def report(self, report: Report) -> VerdictMessage:
        return replace(super().report(report), standing=(2, 5))


class _OwnLogger(Logger):
    """A logger class of the user."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: list[dict[str, float]] = []
        self.params: list[Any] = []
        self.endings: list[str] = []

    @property
    def name(self) -> str:
        return "own"

    @property
    def version(self) -> str:
        return "1"

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.params.append(params)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.metrics.append(metrics)

    def finalize(self, status: str) -> None:
        self.endings.append(status)


def test_every_logger_gets_configuration_and_ranks_and_ends_in_success(bench: Bench) -> None:
    logger = _OwnLogger()
    train = _training(lambda: logger)
    channel = _Ranking({2: "pause"})
    assert run_segment(train, bench.order, channel).error == ""
    decided = [metrics for metrics in logger.metrics if "hwtune/rung" in metrics]
    assert decided[-1] == {
        "epoch": 1.0, "hwtune/rung": 2.0, "hwtune/goes_on": 0.0, "hwtune/rank": 2.0, "hwtune/rung_size": 5.0,
    }  # fmt: skip
    assert len(decided) == 2
    assert logger.endings == ["success"]
    assert bench.inline(train, {3: "stop"}, **bench.resume(channel.said, 2)).ended[0].error == ""
    assert logger.endings == ["success", "success"]
    assert [params["hwtune"]["config"] for params in logger.params if "hwtune" in params] == [{"lr": 0.003}]
