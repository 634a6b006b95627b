"""The script `pytorch_forecasting_plain.py` with a study around it."""

import lightning.pytorch as L
import numpy as np
import pandas as pd
from pytorch_forecasting import TemporalFusionTransformer, TimeSeriesDataSet

import lightning_hwtune as hwt

parts = [pd.DataFrame({"series": str(k), "t": np.arange(80), "y": np.sin(np.arange(80) / 6 + k)}) for k in range(4)]
frame = pd.concat(parts, ignore_index=True)
columns = {"time_idx": "t", "target": "y", "group_ids": ["series"], "time_varying_unknown_reals": ["y"]}
past = TimeSeriesDataSet(frame[frame.t < 60], **columns, max_encoder_length=16, max_prediction_length=4)
future = TimeSeriesDataSet.from_dataset(past, frame, predict=True, stop_randomization=True)
loaders = past.to_dataloader(train=True, batch_size=32), future.to_dataloader(train=False, batch_size=32)


def train(trial):
    model = TemporalFusionTransformer.from_dataset(past, learning_rate=trial["lr"], hidden_size=trial["width"])
    trainer = L.Trainer(max_epochs=9, accelerator="cpu", gradient_clip_val=0.1)
    trainer.fit(model, *loaders)
    print(model.predict(loaders[1]).shape)


space = hwt.SearchSpace(lr=hwt.Float(1e-3, 1e-1, log=True), width=hwt.Choice([8, 16]))
objectives = [hwt.Metric("val_loss", "min"), hwt.TrainSeconds()]
study = hwt.Study("pytorch_forecasting", space, objectives, scheduler=hwt.ASHA(max_epochs=9, first_rung=1))
study.run(train, max_trials=6)
