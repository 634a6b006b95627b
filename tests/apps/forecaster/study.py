"""The script of a user of the library: python study.py SCHEDULER DEVICES, any number of times."""

from __future__ import annotations

import sys
from pathlib import Path

from forecaster import Forecaster, noisy_sine

import lightning_hwtune as hwt

SPACE = hwt.SearchSpace(lr=hwt.Float(1e-3, 1e-1, log=True), width=hwt.Choice([4, 16]))
CONFIGS = [{"lr": 0.03, "width": 4}, {"lr": 0.001, "width": 16}, {"lr": 0.01, "width": 16}]
SCHEDULERS = {"asha": hwt.ASHA(4, first_rung=1, eta=2), "run_to_end": hwt.RunToEnd(max_epochs=4)}
TRAIN, VAL = noisy_sine(120), noisy_sine(60, seed=1)


def train(trial: hwt.Trial) -> None:
    """Fit, then predict, as the library's users do."""
    share = trial.per_device_batch_size(16)
    model = Forecaster(8, trial["width"], trial["lr"], trial.max_epochs, share, devices=trial.num_devices)
    model.fit(TRAIN, VAL)
    error = model.backtest(VAL)
    Path(trial.dir, "backtest.txt").write_text(f"{error:.9f}")


def study(scheduler: str, devices: int, folder: str | Path = "hwtune") -> hwt.Study:
    """Return a study of three configurations, all of which are trained to the end."""
    space = hwt.SearchSpace({**SPACE, "devices": hwt.NumDevices(devices)}) if devices > 1 else SPACE
    made = hwt.Study(
        f"{scheduler}-{devices}", space, [hwt.Metric("val_loss", "min")], scheduler=SCHEDULERS[scheduler],
        pool=hwt.Pool("cpu", devices=devices), dir=folder,
    )  # fmt: skip
    made.enqueue(*({**config, "devices": devices} if devices > 1 else config for config in CONFIGS))
    return made


if __name__ == "__main__":
    study(sys.argv[1], int(sys.argv[2])).run(train, max_trials=3, finishers=3, max_parallel=1)
