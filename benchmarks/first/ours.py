"""The first study with lightning_hwtune. `--unchecked` leaves out the check of the training function."""

from __future__ import annotations

import sys

import lightning_hwtune as hwt

hwt.warm_up()

from benchmarks.first.printed import print_first_value  # noqa: E402 - the server's imports begin above


def train(trial: hwt.Trial) -> None:
    """Trains one trial."""
    from datamodules import DigitsDataModule
    from models import DigitsMLP

    model = DigitsMLP(lr=trial["lr"], width=trial["width"], dropout=trial["dropout"])
    trial.fit(model, DigitsDataModule(batch_size=trial["batch_size"]), logger=False)


if __name__ == "__main__":
    study = hwt.Study(
        "digits",
        hwt.SearchSpace(
            lr=hwt.Float(1e-4, 1e-1, log=True),
            width=hwt.Int(16, 256, log=True),
            dropout=hwt.Float(0.0, 0.5),
            batch_size=hwt.Choice([32, 64, 128]),
        ),
        [hwt.Metric("val_error", "min")],
        scheduler=hwt.ASHA(max_epochs=9),
        pool=hwt.Pool("cpu", devices=2),
    )
    study.run(train, max_trials=20, check="--unchecked" not in sys.argv)
    print(study.best.config)
    print_first_value(min(m.at for m in study.events() if type(m).__name__ == "Reported"))
