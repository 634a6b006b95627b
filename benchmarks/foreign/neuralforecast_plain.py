"""neuralforecast as its users write it: cross-validation of a small NHITS, which counts steps."""

import numpy as np
import pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.models import NHITS

days = pd.date_range("2024-01-01", periods=120)
parts = [pd.DataFrame({"unique_id": k, "ds": days, "y": np.sin(np.arange(120) / 6 + k)}) for k in range(20)]

options = {"max_steps": 90, "val_check_steps": 10, "batch_size": 2, "accelerator": "cpu"}
model = NHITS(h=12, input_size=24, learning_rate=1e-3, dropout_prob_theta=0.0, **options)
forecast = NeuralForecast([model], freq="D").cross_validation(pd.concat(parts), val_size=12, n_windows=1)
print((forecast["NHITS"] - forecast["y"]).abs().mean())
