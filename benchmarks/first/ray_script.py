"""The first study with Ray Tune: asynchronous successive halving, two trials at a time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler

from benchmarks.first.printed import print_first_value

FIRST = Path("first").absolute()


def train(config: dict[str, Any]) -> None:
    """Trains one trial."""
    import lightning as L

    from datamodules import DigitsDataModule
    from models import DigitsMLP

    class Reporting(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            tune.report({"val_error": float(trainer.callback_metrics["val_error"])})
            if not (first := Path(config["first"])).exists():
                first.write_text(repr(time.time()))

    model = DigitsMLP(lr=config["lr"], width=config["width"], dropout=config["dropout"])
    trainer = L.Trainer(
        max_epochs=9,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Reporting()],
    )
    trainer.fit(model, datamodule=DigitsDataModule(batch_size=config["batch_size"]))


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space={
            "lr": tune.loguniform(1e-4, 1e-1),
            "width": tune.lograndint(16, 256),
            "dropout": tune.uniform(0.0, 0.5),
            "batch_size": tune.choice([32, 64, 128]),
            "first": str(FIRST),
        },
        tune_config=tune.TuneConfig(
            num_samples=20,
            max_concurrent_trials=2,
            metric="val_error",
            mode="min",
            scheduler=ASHAScheduler(max_t=9, grace_period=1, reduction_factor=3),
        ),
        run_config=tune.RunConfig(storage_path=os.path.abspath("results"), verbose=0),
    )
    print(tuner.fit().get_best_result().config)
    print_first_value(float(FIRST.read_text()))
