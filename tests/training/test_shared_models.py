"""Several trials in one process, with `study.ask` and `executor="inline"`: none begins with the weights of another."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from study_bench import run, small_study
from tiny_training import TinyNet, fit, rows

import lightning_hwtune as hwt

pytestmark = pytest.mark.training


class LoggingNet(TinyNet):
    def __init__(self, layer: torch.nn.Module | None = None) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1) if layer is None else layer

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("loss", self.layer(batch).square().mean())


def study(folder: Path, **changes: Any) -> hwt.Study:
    settings = {"objectives": [hwt.Metric("loss", "min")], "pool": hwt.Pool("cpu", devices=1), "max_retries": 0}
    return small_study(folder, **{**settings, "scheduler": hwt.ASHA(4, eta=2, first_rung=1), **changes})


def whole() -> Callable[[], LoggingNet]:
    net = LoggingNet()
    return lambda: net


def a_part() -> Callable[[], LoggingNet]:
    layer = torch.nn.Linear(2, 1)
    return lambda: LoggingNet(layer)


@pytest.mark.parametrize("shared", [whole, a_part])
def test_a_model_that_another_trial_has_trained_is_refused(
    tmp_path: Path, shared: Callable[[], Callable[[], LoggingNet]]
) -> None:
    make, found = shared(), study(tmp_path, max_failures=1)
    with pytest.raises(hwt.StudyFailedError, match="a model that trial 0 has trained in this process"):
        run(found, lambda trial: fit(trial, make()), max_trials=3, executor="inline")
    assert found.state().trials[0].measurements
    assert not found.state().trials[1].measurements


def test_an_asked_trial_is_refused_too(tmp_path: Path) -> None:
    net, found = LoggingNet(), study(tmp_path)
    trial = found.ask(max_trials=2, progress=False)
    fit(trial, net)
    found.tell(trial)
    trial = found.ask(max_trials=2, progress=False)
    with pytest.raises(hwt.ArgumentError, match="a new model for each trial"):
        fit(trial, net)
    found.close()


def frozen() -> Callable[[], LoggingNet]:
    body = torch.nn.Linear(2, 2).requires_grad_(False)
    return lambda: LoggingNet(torch.nn.Sequential(body, torch.nn.Linear(2, 1)))


def reset() -> Callable[[], LoggingNet]:
    net = LoggingNet()
    first = copy.deepcopy(net.state_dict())

    def make() -> LoggingNet:
        net.load_state_dict(first)
        return net

    return make


@pytest.mark.parametrize("made", [lambda: LoggingNet, frozen, reset], ids=["new", "frozen part", "reset weights"])
def test_models_that_begin_with_their_own_weights_train(
    tmp_path: Path, made: Callable[[], Callable[[], LoggingNet]]
) -> None:
    make, found = made(), study(tmp_path)
    run(found, lambda trial: fit(trial, make()), max_trials=3, executor="inline", finishers=3)
    assert found.state().n_full == 3  # pauses and resumes included


def given_to_fit(trial: hwt.Trial) -> None:
    trial.fit(LoggingNet(), rows(8), rows(4), barebones=True)


def given_to_a_trainer(trial: hwt.Trial) -> None:
    import lightning.pytorch as L

    trainer = L.Trainer(max_epochs=trial.max_epochs, barebones=True, accelerator="cpu")
    trainer.fit(LoggingNet(), rows(8), rows(4))


@pytest.mark.parametrize("train", [given_to_fit, given_to_a_trainer])
def test_a_trainer_that_logs_nothing_is_refused(tmp_path: Path, train: Callable[[hwt.Trial], None]) -> None:
    says = r"barebones.*is True; allowed: False in a study. It switches `self.log` off"
    with pytest.raises(hwt.TrialError, match=says):
        run(study(tmp_path), train, max_trials=1, executor="inline")
