"""Whole studies of Lightning code on digits: from processes, inline, and with a Trainer of the caller's own."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from study_bench import check_log, run, small_study

import lightning_hwtune as hwt
from lightning_hwtune.core.record import TrialState

pytestmark = pytest.mark.training

SPACE = hwt.SearchSpace(lr=hwt.Float(1e-4, 1e-1, log=True))
ON_RANKS = hwt.SearchSpace(lr=hwt.Float(1e-4, 1e-1, log=True), devices=hwt.NumDevices(1, 2))
OBJECTIVES = [hwt.Metric("val_error", "min"), hwt.TrainSeconds()]


def train(trial: hwt.Trial) -> None:
    from datamodules import DigitsDataModule
    from models import DigitsMLP

    trial.fit(DigitsMLP(lr=trial["lr"]), DigitsDataModule(batch_size=trial.per_device_batch_size(128)))


def train_with_loaders_and_die_once(trial: hwt.Trial) -> None:
    """Passes loaders as to `Trainer.fit`; is killed in epoch 6 of its first segment."""
    import lightning.pytorch as L

    from datamodules import DigitsDataModule
    from models import DigitsMLP

    class Deadly(L.Callback):
        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            if trainer.current_epoch == 5 and trial.ckpt_path is None:
                os.kill(os.getpid(), signal.SIGKILL)

    data = DigitsDataModule(batch_size=128)
    data.setup("fit")
    trial.fit(DigitsMLP(lr=trial["lr"]), data.train_dataloader(), data.val_dataloader(), callbacks=[Deadly()])


def train_and_be_told_to_end_once(trial: hwt.Trial) -> None:
    """One rank of the first segment gets SIGTERM in the middle of epoch 6."""
    import lightning.pytorch as L

    from datamodules import DigitsDataModule
    from models import DigitsMLP

    class Told(L.Callback):
        def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            is_here = trainer.global_rank == trial.config["rank"]
            if is_here and (trainer.current_epoch, batch_idx) == (5, 3) and trial.ckpt_path is None:
                os.kill(os.getpid(), signal.SIGTERM)

    data = DigitsDataModule(batch_size=trial.per_device_batch_size(128))
    trial.fit(DigitsMLP(lr=0.01), data, callbacks=[Told()])


def check_trainings(study: hwt.Study, n_trials: int) -> None:
    """Asserts that measurements are what was trained: whole epochs, cumulative time, errors of a classifier."""
    state = check_log(study)
    assert len(state.trials) == n_trials
    assert any(segment.number > 1 and segment.resource > 0 for segment in state.segments)
    for trial in state.trials:
        times = [m.train_s for m in trial.measurements]
        assert times == sorted(times)
        assert all(0.0 <= m.values["val_error"] <= 1.0 for m in trial.measurements)
        if trial.state is TrialState.COMPLETED:
            assert [m.resource for m in trial.measurements] == list(range(1, 10))


def val_error_of(checkpoint: Path) -> float:
    """Loads a checkpoint as a user would, and validates it."""
    import lightning.pytorch as L

    from datamodules import DigitsDataModule
    from models import DigitsMLP

    model = DigitsMLP.load_from_checkpoint(checkpoint, weights_only=False, map_location="cpu")
    trainer = L.Trainer(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, barebones=False)
    [values] = trainer.validate(model, DigitsDataModule(batch_size=128), verbose=False)
    return float(values["val_error"])


@pytest.mark.slow
def test_a_study_on_one_and_two_ranks(tmp_path: Path) -> None:
    study = small_study(
        tmp_path,
        space=ON_RANKS,
        objectives=[*OBJECTIVES, hwt.Cost()],
        pool=hwt.Pool("cpu", devices=2, usd_per_device_hour=0.05),
    )
    run(study, train, max_trials=6, check=True, finishers=2)
    check_trainings(study, 6)
    state = study.state()
    for segment in state.segments:
        if segment.outcome == "done" and segment.epochs:
            assert segment.world_size == segment.num_devices
    assert {trial.num_devices for trial in state.trials if trial.state is TrialState.COMPLETED} == {1, 2}
    for trial in state.trials:
        for m in trial.measurements:
            assert m.values["cost_usd"] == pytest.approx(m.train_s * trial.num_devices * 0.05 / 3600)
    best = study.best
    assert best.checkpoint is not None
    assert val_error_of(best.checkpoint) == pytest.approx(best.values["val_error"], abs=1e-6)


@pytest.mark.slow
def test_inline_and_local_train_the_same(tmp_path: Path) -> None:
    errors = []
    for executor in ("inline", "local"):
        study = small_study(tmp_path, executor, space=SPACE, objectives=[OBJECTIVES[0]])
        run(study, train, max_trials=4, executor=executor, max_parallel=1)
        check_trainings(study, 4)
        errors.append([[m.values["val_error"] for m in trial.measurements] for trial in study.state().trials])
    assert errors[0] == errors[1]


def test_saving_between_rungs_bounds_what_a_crash_costs(tmp_path: Path) -> None:
    scheduler = hwt.RunToEnd(max_epochs=9)
    study = small_study(tmp_path, space=SPACE, objectives=OBJECTIVES, scheduler=scheduler)
    run(study, train_with_loaders_and_die_once, max_trials=1, save_every=2)
    killed, again = study.state().segments
    assert (killed.outcome, again.outcome) == ("lost", "done")
    assert (again.resource, again.epochs) == (4, 5)  # five epochs had been trained, four of them saved
    with pytest.raises(hwt.ArgumentError, match="save_every"):
        run(study, train, max_trials=2, save_every=0)


@pytest.mark.parametrize(("rank", "devices"), [(0, 1), (0, 2), (1, 2)])
def test_a_rank_that_is_told_to_end_is_lost_and_its_trial_goes_on(tmp_path: Path, rank: int, devices: int) -> None:
    space = hwt.SearchSpace(rank=hwt.Choice([rank]), devices=hwt.NumDevices(devices))
    study = small_study(tmp_path, space=space, objectives=OBJECTIVES, scheduler=hwt.RunToEnd(max_epochs=9))
    run(study, train_and_be_told_to_end_once, max_trials=1, save_every=2)
    told, again = study.state().segments
    [trial] = check_log(study).trials
    assert (told.outcome, again.outcome) == ("lost", "done")
    assert trial.error == f"rank {rank} was killed by SIGTERM"
    assert (again.resource, trial.resource, trial.n_retries) == (4, 9, 1)


def test_ask_and_tell_with_a_trainer_of_ones_own(tmp_path: Path) -> None:
    import lightning.pytorch as L

    from datamodules import DigitsDataModule
    from models import DigitsMLP

    def trainer(**kwargs: Any) -> L.Trainer:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        return L.Trainer(accelerator="cpu", enable_model_summary=False, **quiet, **kwargs)

    def fit(model: L.LightningModule, max_epochs: int, ckpt_path: str | None) -> L.Trainer:
        fitted = trainer(max_epochs=max_epochs, callbacks=[hwt.RungCallback()])
        fitted.fit(model, DigitsDataModule(batch_size=128), ckpt_path=ckpt_path, weights_only=False)
        return fitted

    study = small_study(tmp_path, space=SPACE, objectives=OBJECTIVES)
    n_epochs = 0
    while (trial := study.ask(max_trials=4)) is not None:
        begun = study.state().trials[trial.id].resource
        ended = fit(DigitsMLP(lr=trial["lr"]), trial.max_epochs, trial.ckpt_path).current_epoch
        assert ended > begun
        n_epochs += ended - begun
        study.tell(trial)
    check_trainings(study, 4)
    assert n_epochs == sum(segment.epochs for segment in study.state().segments)
    n_events = len(study.events())
    assert fit(DigitsMLP(lr=0.01), 2, None).current_epoch == 2  # outside a study the callback does nothing
    assert len(study.events()) == n_events


def test_a_trainer_of_another_horizon_is_refused_and_told(tmp_path: Path) -> None:
    import lightning.pytorch as L

    from datamodules import DigitsDataModule
    from models import DigitsMLP

    study = small_study(tmp_path, space=SPACE, objectives=OBJECTIVES)
    trial = study.ask(max_trials=1)
    assert trial is not None
    trainer = L.Trainer(max_epochs=5, accelerator="cpu", logger=False, callbacks=[hwt.RungCallback()])
    with pytest.raises(hwt.ArgumentError, match=r"max_epochs=trial\.max_epochs"):
        trainer.fit(DigitsMLP(lr=0.01), DigitsDataModule(batch_size=128))
    study.close()
