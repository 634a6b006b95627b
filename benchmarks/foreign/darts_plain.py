"""Darts as its users write it: a small N-BEATS on a noisy wave."""

import numpy as np
from darts import TimeSeries
from darts.models import NBEATSModel

wave = np.sin(np.arange(240) / 8) + np.random.default_rng(0).normal(0, 0.1, 240)
past, future = TimeSeries.from_values(wave.astype(np.float32)).split_before(0.7)
cpu = {"pl_trainer_kwargs": {"accelerator": "cpu"}}

optimizer = {"lr": 1e-3}
model = NBEATSModel(24, 6, n_epochs=9, layer_widths=16, optimizer_kwargs=optimizer, **cpu)
model.fit(past, val_series=future)
print(model.predict(6, series=past).values()[-1])
