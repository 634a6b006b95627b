"""The first study with Optuna: one trial after the other in this process, and successive halving as the pruner."""

from __future__ import annotations

import time

import lightning as L
import optuna

from benchmarks.first.printed import print_first_value
from datamodules import DigitsDataModule
from models import DigitsMLP

first_values: list[float] = []


class Reporting(L.Callback):
    """Reports each epoch's error, and stops a trial that is pruned."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial, self.is_pruned = trial, False

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reports."""
        self.trial.report(float(trainer.callback_metrics["val_error"]), trainer.current_epoch + 1)
        first_values.append(time.time())
        self.is_pruned = self.trial.should_prune()
        trainer.should_stop = trainer.should_stop or self.is_pruned


def objective(trial: optuna.Trial) -> float:
    """Trains one trial."""
    model = DigitsMLP(
        lr=trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        width=trial.suggest_int("width", 16, 256, log=True),
        dropout=trial.suggest_float("dropout", 0.0, 0.5),
    )
    data = DigitsDataModule(batch_size=trial.suggest_categorical("batch_size", [32, 64, 128]))
    reporting = Reporting(trial)
    trainer = L.Trainer(
        max_epochs=9,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[reporting],
    )
    trainer.fit(model, datamodule=data)
    if reporting.is_pruned:
        raise optuna.TrialPruned
    return float(trainer.callback_metrics["val_error"])


if __name__ == "__main__":
    study = optuna.create_study(
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        storage="sqlite:///digits.db",
        study_name="digits",
    )
    study.optimize(objective, n_trials=20)
    print(study.best_params)
    print_first_value(first_values[0])
