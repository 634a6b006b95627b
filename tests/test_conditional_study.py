"""Studies whose space has conditions: a real training on the digits, and what its log, tables and next runs have."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "training"))
from digits_training import DigitsData, DigitsNet

import lightning_hwtune as hwt
from lightning_hwtune.errors import ArgumentError, StudyMismatchError
from lightning_hwtune.views.export import trials_text

SPACE: dict[str, Any] = {
    "momentum": hwt.Float(0.5, 0.99, when={"optimizer": "sgd"}),
    "lr": hwt.Float(1e-3, 1e-1, log=True),
    "optimizer": hwt.Choice(["adam", "sgd"]),
}


class Net(DigitsNet):
    """The digits with an optimizer that the trial chooses."""

    def __init__(self, lr: float, optimizer: str, momentum: float | None) -> None:
        super().__init__(lr=lr)
        self.optimizer, self.momentum = optimizer, momentum

    def configure_optimizers(self) -> Any:
        if self.optimizer == "adam":
            return torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])
        assert self.momentum is not None
        return torch.optim.SGD(self.parameters(), lr=self.hparams["lr"], momentum=self.momentum)


def train(trial: hwt.Trial) -> None:
    assert ("momentum" in trial) == (trial["optimizer"] == "sgd")
    net = Net(trial["lr"], trial["optimizer"], trial.get("momentum"))
    trial.fit(net, DigitsData(128), logger=False, enable_progress_bar=False, enable_model_summary=False)


def study(folder: Path, space: Any = SPACE, **changes: Any) -> hwt.Study:
    settings: dict[str, Any] = {"max_epochs": 3, "pool": hwt.Pool("cpu", devices=1), "dir": folder, "seed": 3}
    return hwt.Study("digits", space, [hwt.Metric("val_error", "min")], **settings | changes)


@pytest.mark.training
@pytest.mark.parametrize("searcher", [hwt.Random(), hwt.TPE(min_points=2, random=0.1)], ids=lambda s: s.name)
def test_a_momentum_that_only_sgd_has_is_searched_on_the_digits(tmp_path: Path, searcher: hwt.Searcher) -> None:
    found = study(tmp_path, searcher=searcher)
    found.enqueue({"lr": 0.01, "optimizer": "adam"}, {"lr": 0.05, "optimizer": "sgd", "momentum": 0.9})
    found.run(train, max_trials=6, executor="inline", check=False, progress=False)
    found = study(tmp_path, searcher=searcher)  # a new object continues it
    found.run(train, max_trials=8, executor="inline", check=False, progress=False)
    trials = found.state().trials
    assert len(trials) == 8
    assert not any(trial.error for trial in trials)
    assert {tuple(trial.config) for trial in trials} == {("lr", "optimizer"), ("momentum", "lr", "optimizer")}
    assert all(("momentum" in trial.config) == (trial.config["optimizer"] == "sgd") for trial in trials)
    frame = found.trials()
    assert frame.momentum.isna().tolist() == ["momentum" not in trial.config for trial in trials]
    assert [row["config"] for row in json.loads(trials_text(found.state()))] == [trial.config for trial in trials]
    assert hwt.Study.load("digits", dir=tmp_path).spec.space == hwt.SearchSpace(SPACE)
    assert found.best is not None
    assert dict(found.best.config) in [trial.config for trial in trials]
    with pytest.raises(StudyMismatchError, match=r"space\.momentum"):
        study(tmp_path, {**SPACE, "momentum": hwt.Float(0.5, 0.99)}).run(train, max_trials=8, executor="inline")


def test_an_asked_trial_says_why_it_lacks_a_parameter(tmp_path: Path) -> None:
    found = study(tmp_path, max_epochs=1)
    found.enqueue({"lr": 0.01, "optimizer": "adam"})
    found.enqueue({"optimizer": "adam", "lr": 0.01})  # the same one
    trial = found.ask(max_trials=2, progress=False)
    assert trial is not None
    assert dict(trial.config) == {"lr": 0.01, "optimizer": "adam"}
    with pytest.raises(ArgumentError, match="momentum exists only when optimizer is 'sgd'; here optimizer is 'adam'"):
        trial["momentum"]
    assert trial.get("momentum", 0.0) == 0.0
    trial.report(1, val_error=0.5)
    found.tell(trial)
    with pytest.raises(ArgumentError, match="Leave it out"):
        found.enqueue({"lr": 0.01, "optimizer": "adam", "momentum": 0.5})
    with pytest.raises(ArgumentError, match="missing: momentum"):
        found.enqueue({"lr": 0.01, "optimizer": "sgd"})
    found.close()
    assert len(found.state().enqueued) == 0
