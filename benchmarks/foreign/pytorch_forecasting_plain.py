"""pytorch-forecasting as its users write it: a small temporal fusion transformer with the user's own Trainer."""

import lightning.pytorch as L
import numpy as np
import pandas as pd
from pytorch_forecasting import TemporalFusionTransformer, TimeSeriesDataSet

parts = [pd.DataFrame({"series": str(k), "t": np.arange(80), "y": np.sin(np.arange(80) / 6 + k)}) for k in range(4)]
frame = pd.concat(parts, ignore_index=True)
columns = {"time_idx": "t", "target": "y", "group_ids": ["series"], "time_varying_unknown_reals": ["y"]}
past = TimeSeriesDataSet(frame[frame.t < 60], **columns, max_encoder_length=16, max_prediction_length=4)
future = TimeSeriesDataSet.from_dataset(past, frame, predict=True, stop_randomization=True)
loaders = past.to_dataloader(train=True, batch_size=32), future.to_dataloader(train=False, batch_size=32)

model = TemporalFusionTransformer.from_dataset(past, learning_rate=1e-2, hidden_size=8)
trainer = L.Trainer(max_epochs=9, accelerator="cpu", gradient_clip_val=0.1)
trainer.fit(model, *loaders)
print(model.predict(loaders[1]).shape)
