"""`Metric(..., best=True)` in real studies: the checkpoint of the best report is kept, offered, and counted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import TinyNet, fit

import lightning_hwtune as hwt
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.store.disk_budget import Standing, candidates

sys.path.insert(0, str(Path(__file__).parents[1]))
from study_bench import run, small_study

pytestmark = pytest.mark.training

CURVES = {0: [3.0, 1.0, 2.0, 2.5], 1: [4.0, 5.0, 6.0, 3.5], 2: [9.0, 9.0, 9.0, 9.0]}


class Follows(TinyNet):
    """Logs a curve."""

    def __init__(self, curve: list[float]) -> None:
        super().__init__()
        self.curve = curve

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("error", self.curve[self.current_epoch])


def _train(trial: hwt.Trial) -> None:
    fit(trial, Follows(CURVES[trial["x"]]))


def _study(folder: Path, scheduler: Any, **changes: Any) -> hwt.Study:
    return small_study(
        folder,
        space=hwt.SearchSpace(x=hwt.Choice([0, 1, 2])),
        objectives=[hwt.Metric("error", "min", best=True)],
        scheduler=scheduler,
        searcher=hwt.Grid(),
        **changes,
    )


def _files(study: hwt.Study) -> set[str]:
    return {path.relative_to(study.dir).as_posix() for path in study.dir.glob("trials/*/checkpoints/*")}


@pytest.mark.parametrize(
    "scheduler", [hwt.RunToEnd(max_epochs=4), hwt.ASHA(max_epochs=4, eta=2)], ids=["whole", "paused"]
)
def test_the_front_and_the_best_offer_the_epoch_of_the_best_value(tmp_path: Path, scheduler: Any) -> None:
    study = run(_study(tmp_path, scheduler), _train, executor="inline", max_trials=3, finishers=3)
    best = study.best
    assert best is not None
    assert best.values == {"error": 1.0}
    assert best.checkpoint is not None
    assert best.checkpoint.name.endswith("_epochs_2.ckpt")
    weights = torch.load(best.checkpoint, weights_only=False)
    assert weights["lightning_hwtune"]["resource"] == 2
    assert study.front()["checkpoint"].tolist() == [str(best.checkpoint)]
    state = study.state()
    assert {trial.config["x"]: len(trial.checkpoints) for trial in state.trials} == {0: 2, 1: 1, 2: 2}
    assert _files(study) == state.known_checkpoints()
    for trial in state.trials:
        assert trial.state is TrialState.COMPLETED
        assert [m.values["error"] for m in trial.measurements][-1] == min(CURVES[trial.config["x"]])


def test_of_two_checkpoints_the_disk_budget_keeps_the_one_that_the_front_offers(tmp_path: Path) -> None:
    study = run(_study(tmp_path, hwt.RunToEnd(max_epochs=4)), _train, executor="inline", max_trials=3, finishers=3)
    state = study.state()
    curves = [trial.config["x"] for trial in state.trials]
    standings = {(curves[c.trial_id], Path(c.path).stem[-1]): c.standing for c in candidates(state)}
    assert standings == {
        (0, "2"): Standing.KEPT,
        (0, "4"): Standing.ENDED,
        (1, "4"): Standing.ENDED,
        (2, "1"): Standing.ENDED,
        (2, "4"): Standing.ENDED,
    }
    tight = _study(tmp_path / "tight", hwt.RunToEnd(max_epochs=4), disk_budget=1)
    run(tight, _train, executor="inline", max_trials=3, finishers=3)
    assert tight.best is not None
    assert tight.best.checkpoint is not None
    assert {Path(path).name for path in _files(tight)} == {tight.best.checkpoint.name}


def test_a_loop_that_saves_by_hand_keeps_its_best_too(tmp_path: Path) -> None:
    def train(trial: hwt.Trial) -> None:
        begun = trial.load() or 0
        for epoch in range(begun + 1, trial.max_epochs + 1):
            verdict = trial.report(epoch, error=CURVES[trial["x"]][epoch - 1])
            trial.save(epoch)
            if verdict.kind != "continue":
                return

    study = run(_study(tmp_path, hwt.ASHA(max_epochs=4, eta=2)), train, executor="inline", max_trials=3, finishers=3)
    assert study.best is not None
    assert study.best.checkpoint is not None
    assert study.best.checkpoint.name.endswith("_epochs_2.ckpt")
