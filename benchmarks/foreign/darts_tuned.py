"""The script `darts_plain.py` with a study around it."""

import numpy as np
from darts import TimeSeries
from darts.models import NBEATSModel

import lightning_hwtune as hwt

wave = np.sin(np.arange(240) / 8) + np.random.default_rng(0).normal(0, 0.1, 240)
past, future = TimeSeries.from_values(wave.astype(np.float32)).split_before(0.7)
cpu = {"pl_trainer_kwargs": {"accelerator": "cpu"}}


def train(trial):
    optimizer = {"lr": trial["lr"]}
    model = NBEATSModel(24, 6, n_epochs=9, layer_widths=trial["width"], optimizer_kwargs=optimizer, **cpu)
    model.fit(past, val_series=future)
    print(model.predict(6, series=past).values()[-1])


space = hwt.SearchSpace(lr=hwt.Float(1e-4, 1e-2, log=True), width=hwt.Int(8, 64, log=True))
objectives = [hwt.Metric("val_loss", "min"), hwt.TrainSeconds()]
study = hwt.Study("darts", space, objectives, scheduler=hwt.ASHA(max_epochs=9, first_rung=1))
study.run(train, max_trials=6)
