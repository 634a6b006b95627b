"""The same as a Hydra app: it returns what the library measures after its training."""

from __future__ import annotations

import hydra
from forecaster import Forecaster, noisy_sine
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path=".", config_name="app")
def main(cfg: DictConfig) -> float:
    """Fit, then return the error of a backtest."""
    val = noisy_sine(60, seed=1)
    model = Forecaster(8, cfg.width, cfg.lr, cfg.n_epochs, cfg.batch_size, devices=cfg.devices)
    return model.fit(noisy_sine(120), val).backtest(val)


if __name__ == "__main__":
    main()
