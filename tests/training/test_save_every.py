"""`save_every` counts epochs, whatever the study counts; where it has no effect, one note says so."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_training import TinyNet, fit, rows

import lightning_hwtune as hwt

sys.path.insert(0, str(Path(__file__).parents[1]))
from study_bench import run, small_study

pytestmark = pytest.mark.training

IN_STEPS, IN_SAMPLES, IN_EPOCHS = hwt.RunToEnd(max_steps=12), hwt.RunToEnd(max_samples=48), hwt.RunToEnd(max_epochs=3)


class _Fails(TinyNet):
    """Logs an objective; raises in the third epoch, of four steps each, of the first segment."""

    def __init__(self, segment: int) -> None:
        super().__init__()
        self.fails_at = 10 if segment == 1 else 0

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_step + 1 == self.fails_at:
            raise ValueError("the loader broke")
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("error", 1.0 / (1.0 + self.current_epoch))


def _train(trial: hwt.Trial) -> None:
    fit(trial, _Fails(trial.segment), train=rows(16))


def _by_hand(trial: hwt.Trial) -> None:
    for number in range(1, 4):
        trial.report(number, error=1.0 / number)


@pytest.mark.parametrize(
    ("scheduler", "every", "resumed_at"),
    [
        (IN_STEPS, 1, 8), (IN_SAMPLES, 1, 32), (IN_EPOCHS, 1, 2),
        (IN_STEPS, 2, 8), (IN_SAMPLES, 2, 32), (IN_STEPS, None, 0),
    ],
)  # fmt: skip
def test_a_failed_trial_resumes_at_the_last_epoch_that_was_saved(
    tmp_path: Path, scheduler: Any, every: int | None, resumed_at: int
) -> None:
    study = run(small_study(tmp_path, scheduler=scheduler), _train, executor="inline", max_trials=1, save_every=every)
    assert [segment.resource for segment in study.state().segments] == [0, resumed_at]
    assert study.state().topics == set()


@pytest.mark.parametrize(
    ("scheduler", "train", "every", "words"),
    [
        (IN_STEPS, _train, 3, "it counts epochs, an epoch has 4 steps, and the full training is 12 steps"),
        (IN_SAMPLES, _train, 9, "it counts epochs, an epoch has 16 samples, and the full training is 48 samples"),
        (IN_EPOCHS, _by_hand, 1, "call trial.save(state) in the loop"),
        (IN_STEPS, _by_hand, 1, "call trial.save(state) in the loop"),
    ],
)
def test_a_setting_without_effect_is_noted_once(
    tmp_path: Path, scheduler: Any, train: Any, every: int, words: str
) -> None:
    study = run(small_study(tmp_path, scheduler=scheduler), train, executor="inline", max_trials=2, save_every=every)
    assert [words in note.text for note in study.state().notes if note.topic == "save_every"] == [True]
