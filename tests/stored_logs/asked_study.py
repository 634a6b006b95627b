"""The study by ask and tell whose log is stored. It trains by a formula; one trial has an error and is repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning_hwtune as hwt

__all__ = ["asked_study", "asked_to_the_end"]


def asked_study(folder: Path) -> hwt.Study:
    """Returns the study, in this folder."""
    space = hwt.SearchSpace(x=hwt.Float(0.0, 1.0), width=hwt.Int(8, 64, log=True))
    pool = hwt.Pool("cpu", devices=1)
    return hwt.Study(
        "asked", space, [hwt.Metric("error", "min")], scheduler=hwt.ASHA(max_epochs=9), pool=pool, dir=folder
    )


def asked_to_the_end(folder: Path, *, fails: bool = True, **options: Any) -> hwt.Study:
    """Asks for six trials, with further options of `ask`, and trains them; trial 2 `fails` once. Returns the study."""
    study = asked_study(folder)
    while (trial := study.ask(max_trials=6, **options)) is not None:
        if trial.id == 2 and fails:
            fails = False
            study.tell(trial, error="the data are not there")
        else:
            _train(trial)
            study.tell(trial)
    return study


def _train(trial: Any) -> None:
    for epoch in range((trial.load() or 0) + 1, trial.max_epochs + 1):
        verdict = trial.report(epoch, error=abs(trial["x"] - 0.3) + 1 / epoch)
        if verdict.kind != "continue":
            trial.save(epoch)
            return
