"""`Metric(..., best=True)` in real studies: the checkpoint of the best report is kept, offered, and counted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import TinyNet, fit, rows

import lightning_hwtune as hwt
from lightning_hwtune.core.record import TrialState
from lightning_hwtune.engine.fold import rebuilt_state
from lightning_hwtune.store.disk_budget import Standing, candidates
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog

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
    "scheduler", [hwt.RunToEnd(max_epochs=4), hwt.ASHA(4, first_rung=1, eta=2)], ids=["whole", "paused"]
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
    with EventLog.open(StudyFiles(tmp_path, study.name), create=False) as log:
        state = rebuilt_state(log)
    assert state is not None
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

    study = run(
        _study(tmp_path, hwt.ASHA(4, first_rung=1, eta=2)),
        train,
        executor="inline",
        max_trials=3,
        finishers=3,
    )
    assert study.best is not None
    assert study.best.checkpoint is not None
    assert study.best.checkpoint.name.endswith("_epochs_2.ckpt")


class FollowsSteps(TinyNet):
    """Logs a curve over validations, two steps apart; each rank its own share of it."""

    def __init__(self, curve: list[float]) -> None:
        super().__init__()
        self.curve = curve

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("error", self.curve[self.global_step // 2 - 1])


STEPS = {0: [5.0, 1.0, 2.0, 3.0, 4.0, 6.0], 1: [6.0, 5.0, 4.0, 3.0, 2.0, 2.5], 2: [9.0, 8.0, 7.0, 6.0, 5.5, 5.0]}
BEST_STEP = {0: 4, 1: 10, 2: 12}


def _train_steps(trial: hwt.Trial) -> None:
    """Three epochs of four steps each, validated twice per epoch."""
    fit(trial, FollowsSteps(STEPS[trial["x"]]), train=rows(16), val_check_interval=2)


STEP_SCHEDULERS = {
    "whole": hwt.RunToEnd(max_steps=12),
    "paused": hwt.ASHA(max_steps=12, first_rung=4, eta=2),
    "stopped": hwt.ASHA(max_steps=12, first_rung=4, eta=2, type="stopping"),
}


@pytest.mark.parametrize("name", STEP_SCHEDULERS)
def test_the_best_report_inside_an_epoch_has_its_checkpoint(tmp_path: Path, name: str) -> None:
    study = run(_study(tmp_path, STEP_SCHEDULERS[name]), _train_steps, executor="inline", max_trials=3, finishers=3)
    state = study.state()
    complete = [trial for trial in state.trials if trial.state is TrialState.COMPLETED]
    assert len(complete) == 3 or name == "stopped"
    for trial in complete:
        assert trial.best_checkpoint is not None
        assert trial.best_checkpoint.resource == BEST_STEP[trial.config["x"]]
        weights = torch.load(study.dir / trial.best_checkpoint.path, weights_only=False)
        assert weights["global_step"] == BEST_STEP[trial.config["x"]]
        assert trial.checkpoint is not None
        assert trial.checkpoint.resource == 12
    for segment in state.segments:
        assert segment.resource % 4 == 0, "no trial resumes inside an epoch"
    assert _files(study) == state.known_checkpoints()


def test_a_best_report_inside_an_epoch_that_a_crash_takes_away_has_no_checkpoint(tmp_path: Path) -> None:
    def train(trial: hwt.Trial) -> None:
        curve = [4.0, 3.5, 1.0, 3.0, 3.0, 3.0] if trial.segment == 1 else [4.0, 3.5, 3.0, 2.0, 2.5, 3.0]
        _fit_steps(trial, curve, fails_at=7 if trial.segment == 1 else 0)

    study = run(_study(tmp_path, hwt.RunToEnd(max_steps=12)), train, executor="inline", max_trials=1, save_every=1)
    assert [segment.resource for segment in study.state().segments] == [0, 4]
    assert study.best is not None
    assert study.best.values == {"error": 2.0}
    assert study.best.checkpoint == study.dir / "trials/000/checkpoints/segment_02_steps_8.ckpt"
    assert _files(study) == study.state().known_checkpoints()


def _fit_steps(trial: hwt.Trial, curve: list[float], fails_at: int) -> None:
    class Fails(FollowsSteps):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if self.global_step + 1 == fails_at:
                raise ValueError("the loader broke")
            return super().training_step(batch, batch_idx)

    fit(trial, Fails(curve), train=rows(16), val_check_interval=2)


# ---------------------------------------------------------------------- several devices


class FollowsOnRanks(TinyNet):
    """Logs a curve, a half too low on the first of two ranks and a half too high on the other."""

    def __init__(self, curve: list[float]) -> None:
        super().__init__()
        self.curve = curve

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        off = 0.0 if self.trainer.world_size == 1 else self.trainer.global_rank - 0.5
        self.log("error", self.curve[self.current_epoch] + off)


def _train_on_ranks(trial: hwt.Trial) -> None:
    if trial.segment == 2 and trial.num_devices == 1:
        raise MemoryError
    fit(trial, FollowsOnRanks(CURVES[trial["x"]]), val=rows(8))


@pytest.mark.slow
@pytest.mark.parametrize("is_paused", [True, False])
def test_the_best_of_two_ranks_also_where_a_resumed_trial_gets_more_devices(tmp_path: Path, is_paused: bool) -> None:
    study = small_study(
        tmp_path,
        space=hwt.SearchSpace(x=hwt.Choice([0, 1]), devices=hwt.NumDevices(1, 2)),
        objectives=[hwt.Metric("error", "min", best=True)],
        scheduler=hwt.ASHA(4, first_rung=1, eta=2) if is_paused else hwt.RunToEnd(max_epochs=4),
        searcher=hwt.Grid(),
    )
    run(study, _train_on_ranks, max_trials=4, finishers=4)
    state = study.state()
    assert {trial.num_devices for trial in state.trials} == ({2} if is_paused else {1, 2})
    for trial in state.trials:
        assert trial.state is TrialState.COMPLETED, trial.error
        assert trial.last is not None
        assert trial.last.values["error"] == min(CURVES[trial.config["x"]])
        assert trial.best_checkpoint is not None
        assert trial.best_checkpoint.resource == {0: 2, 1: 4}[trial.config["x"]]
        weights = torch.load(study.dir / trial.best_checkpoint.path, weights_only=False)
        assert weights["lightning_hwtune"]["resource"] == trial.best_checkpoint.resource
    offered = {str(study.dir / trial.best_checkpoint.path) for trial in state.trials if trial.config["x"] == 0}  # type: ignore[union-attr]
    assert set(study.front()["checkpoint"]) == offered
    assert _files(study) == state.known_checkpoints()
