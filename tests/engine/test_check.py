"""What a check finds before a study spends anything. In real processes."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import study_functions as functions
from study_bench import run, small_study

import lightning_hwtune as hwt
from lightning_hwtune.engine.check import WHAT_NEXT


def out_of_memory(trial: hwt.Trial) -> None:
    raise MemoryError("unable to allocate 3.00 TiB")


def interrupting(trial: hwt.Trial) -> None:
    raise KeyboardInterrupt


def killed(trial: hwt.Trial) -> None:
    os.abort()


@pytest.mark.slow
def test_a_check_tells_what_it_saw_and_leaves_nothing_behind(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    check = study.check(functions.plain)
    assert set(check.config) == {"x"}
    assert check.num_devices == 1
    assert check.logged == ("error",)
    assert check.checkpoint_bytes > 0
    assert check.payload_bytes < 1000
    assert check.largest_capture is None
    assert 0 < check.epoch_s < 60  # a loop of the user's own trains whole epochs
    assert check.startup_s > 0
    assert not check.notes
    assert check.wall_s > 0
    assert not (study.dir / "scratch" / "check").exists()
    with pytest.raises(hwt.StudyNotFoundError):
        study.state()


def test_the_checked_configuration_is_the_one_the_study_begins_with(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    config = study.check(functions.plain).config
    assert config == run(study, functions.plain, max_trials=1).state().trials[0].config


def test_a_large_capture_is_named(tmp_path: Path) -> None:
    table = np.zeros((1000, 1000))

    def train(trial: Any) -> None:
        trial.report(1, error=float(table[0, 0]))

    check = small_study(tmp_path).check(train)
    assert check.largest_capture == ("table", 8_000_000)
    assert check.payload_bytes > 8_000_000


@pytest.mark.parametrize(
    ("train", "error", "said"),
    [
        (functions.broken, hwt.TrialError, ["ValueError: a bug in the model", "study_functions.py"]),
        (functions.misnaming, hwt.TrialError, ["'error' was never logged", "'loss'", "'val_eror'"]),
        (functions.silent, hwt.MetricError, ["'error'", "trial.fit(model, data)", "trial.report(epochs"]),
        (out_of_memory, hwt.TrialError, ["3.00 TiB"]),
        (killed, hwt.TrialError, ["SIGABRT"]),
        (
            interrupting,
            hwt.TrialError,
            ["KeyboardInterrupt (raised by the training code, not by Ctrl-C", "should_stop"],
        ),
    ],
    ids=["error", "misnaming", "silent", "memory", "killed", "interrupting"],
)
def test_what_is_wrong_is_told_and_nothing_is_started(
    tmp_path: Path, train: Any, error: type[Exception], said: list[str]
) -> None:
    study = small_study(tmp_path)
    with pytest.raises(error) as caught:
        run(study, train, max_trials=3, check=True)
    for text in said:
        assert text in str(caught.value)
    assert "/lightning_hwtune/" not in str(caught.value)  # the lines of user code only
    if train is functions.broken:
        assert "rank_main.py" in getattr(caught.value, "traceback", "")  # the whole one
    assert not study.state().trials


def test_what_a_failed_check_lacked_can_be_set_in_the_same_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(trial: hwt.Trial) -> None:
        trial.report(1, error=float(os.environ["HWTUNE_TEST_DATA"]))

    study = small_study(tmp_path)
    with pytest.raises(hwt.TrialError, match="HWTUNE_TEST_DATA") as caught:
        study.check(train)
    assert str(caught.value).splitlines()[-1] == WHAT_NEXT
    found = re.search(r"'([^']+)' \((\S+)\), '([^']+)'", WHAT_NEXT)
    assert found is not None
    title, page, heading = found.groups()
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    assert f"# {title}\n" in text
    assert f"### {heading}\n" in text
    monkeypatch.setenv("HWTUNE_TEST_DATA", "0.5")
    assert study.check(train).logged == ("error",)


@pytest.mark.training
def test_a_check_of_lightning_code_trains_two_batches_and_tells_the_names(tmp_path: Path) -> None:
    from datamodules import DigitsDataModule
    from models import DigitsMLP

    def train(trial: hwt.Trial) -> None:
        trial.fit(DigitsMLP(lr=trial["lr"]), DigitsDataModule(batch_size=64))

    space = hwt.SearchSpace(lr=hwt.Float(1e-4, 1e-1, log=True))
    study = small_study(tmp_path, space=space, objectives=[hwt.Metric("val_error", "min"), hwt.TrainSeconds()])
    check = study.check(train)
    assert "val_error" in check.logged
    assert 0 < check.epoch_s < 60
    assert check.checkpoint_bytes > 1000
    wrong = small_study(tmp_path, "wrong", space=space, objectives=[hwt.Metric("val_eror", "min")])
    with pytest.raises(hwt.TrialError, match="did you mean 'val_error'"):
        wrong.check(train)


class Follower:
    """Trains a network that logs `loss`, with callbacks that follow its best value."""

    def __call__(self, trial: hwt.Trial) -> None:
        sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
        from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
        from tiny_training import TinyNet, fit

        class LoggingNet(TinyNet):
            def validation_step(self, batch: Any, batch_idx: int) -> None:
                self.log("loss", self.layer(batch).square().mean())

        fit(trial, LoggingNet(), EarlyStopping("loss"), ModelCheckpoint(monitor="loss"), ModelCheckpoint())


@pytest.mark.training
def test_a_metric_that_is_never_logged_is_refused_also_if_the_first_rung_is_late(tmp_path: Path) -> None:
    scheduler = hwt.ASHA(max_epochs=40, first_rung=12)
    study = small_study(tmp_path, objectives=[hwt.Metric("los", "min")], scheduler=scheduler)
    with pytest.raises(hwt.TrialError, match="did you mean 'loss'"):
        study.check(Follower())


@pytest.mark.training
def test_callbacks_that_follow_the_best_value_are_named_before_the_study(tmp_path: Path) -> None:
    check = small_study(tmp_path, objectives=[hwt.Metric("loss", "min")]).check(Follower())
    (note,) = [note for note in check.notes if "the last 'loss'" in note]
    assert "counts, although ModelCheckpoint and EarlyStopping follow the best one" in note
    assert 'Metric("loss", "min", best=True)' in note
    best = small_study(tmp_path, "best", objectives=[hwt.Metric("loss", "min", best=True)]).check(Follower())
    assert not [note for note in best.notes if "the last 'loss'" in note]


@pytest.mark.training
def test_a_check_says_where_rungs_fall_and_which_objective_comes_late(tmp_path: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
    from tiny_training import TinyNet, fit, rows

    class Late(TinyNet):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("loss", 1.0)
            if self.current_epoch:
                self.log("fid", 1.0)

    def train(trial: hwt.Trial) -> None:
        fit(trial, Late(), train=rows(100))

    objectives = [hwt.Metric("loss", "min"), hwt.Metric("fid", "min")]
    study = small_study(tmp_path, objectives=objectives, scheduler=hwt.ASHA(max_steps=40, first_rung=5))
    check = study.check(train)
    assert check.logged == ("fid", "loss")
    assert any("5 at 25, 15 at 25, 40 at 50" in note and "5 and 15 coincide" in note for note in check.notes)
    assert any(note.startswith("'fid' is first logged in report 2. ") for note in check.notes)
