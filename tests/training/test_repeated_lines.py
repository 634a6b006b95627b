"""Lines that Lightning logs for every Trainer are shown once per study where segments share a process."""

from __future__ import annotations

import logging
import sys
import warnings
from collections import Counter
from pathlib import Path

import pytest
from tiny_training import TinyNet, fit

import lightning_hwtune as hwt
from lightning_hwtune.training.repeated_lines import RepeatedLines

sys.path.insert(0, str(Path(__file__).parents[1]))
from study_bench import run, small_study

LOGGERS = [
    "lightning.pytorch.utilities.rank_zero", "pytorch_lightning.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero", "lightning_fabric.utilities.rank_zero",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
]  # fmt: skip


class _Net(TinyNet):
    def validation_step(self, batch: object, batch_idx: int) -> None:
        self.log("error", 1.0 / (1.0 + self.current_epoch))


def _train(trial: hwt.Trial) -> None:
    fit(trial, _Net())


@pytest.mark.parametrize("name", LOGGERS)
@pytest.mark.parametrize(
    ("line", "is_once"),
    [
        ("GPU available: False, used: False", True),
        ("💡 Tip: try this", True),
        ("`weights_only` was not set, defaulting to `False`.", True),
        ("`Trainer.fit` stopped: `max_epochs=9` reached.", True),
        ("Restored all states from the checkpoint at x.ckpt", False),
        ("a line of the user", False),
    ],
)
def test_only_lines_that_say_the_same_for_every_trainer_are_left_out(
    name: str, line: str, is_once: bool, caplog: pytest.LogCaptureFixture
) -> None:
    repeated, logger = RepeatedLines(), logging.getLogger(name)
    with caplog.at_level(logging.INFO, logger=name):
        for _ in range(3):
            with repeated:
                logger.info(line)
        logger.info(line)  # outside a segment
    assert caplog.messages.count(line) == (2 if is_once else 4)
    assert repeated not in logger.filters


def test_a_warning_about_lightnings_own_code_is_not_shown() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            with RepeatedLines():
                warnings.warn(
                    "`isinstance(treespec, LeafSpec)` is deprecated, in this test", FutureWarning, stacklevel=1
                )
                warnings.warn("a warning of the user", stacklevel=1)
    assert Counter(str(item.message)[:10] for item in caught) == {"a warning ": 3}


@pytest.mark.training
@pytest.mark.parametrize("way", ["inline", "ask and tell"])
def test_a_study_in_this_process_shows_lightnings_lines_once(
    tmp_path: Path, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = small_study(tmp_path, scheduler=hwt.ASHA(3, first_rung=1), pool=hwt.Pool("cpu", devices=1))
    with caplog.at_level(logging.INFO):
        if way == "inline":
            run(study, _train, executor="inline", max_trials=3, finishers=1)
        else:
            while (trial := study.ask(max_trials=3, finishers=1, progress=False)) is not None:
                _train(trial)
                study.tell(trial)
    counts = Counter(caplog.messages)
    assert len(study.state().segments) > 3
    shown = {text: n for text, n in counts.items() if text.startswith(("GPU available", "TPU available", "💡 Tip"))}
    assert shown
    assert set(shown.values()) == {1}, shown
    assert not any("weights_only" in text for text in counts)  # saving says what it needs
    assert not any("from entry point 'hwtune'" in text for text in counts)  # "Adding 1 callbacks ..."
