"""The script `neuralforecast_plain.py` with a study around it."""

import numpy as np
import pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.models import NHITS

import lightning_hwtune as hwt

days = pd.date_range("2024-01-01", periods=120)
parts = [pd.DataFrame({"unique_id": k, "ds": days, "y": np.sin(np.arange(120) / 6 + k)}) for k in range(20)]


def train(trial):
    options = {"max_steps": 90, "val_check_steps": 10, "batch_size": 2, "accelerator": "cpu"}
    model = NHITS(h=12, input_size=24, learning_rate=trial["lr"], dropout_prob_theta=trial["dropout"], **options)
    forecast = NeuralForecast([model], freq="D").cross_validation(pd.concat(parts), val_size=12, n_windows=1)
    print((forecast["NHITS"] - forecast["y"]).abs().mean())


space = hwt.SearchSpace(lr=hwt.Float(1e-4, 1e-2, log=True), dropout=hwt.Float(0.0, 0.5))
objectives = [hwt.Metric("valid_loss", "min"), hwt.TrainSeconds()]
study = hwt.Study("neuralforecast", space, objectives, scheduler=hwt.ASHA(max_steps=90, first_rung=1))
study.run(train, max_trials=6)
