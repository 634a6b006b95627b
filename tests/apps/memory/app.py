"""A Hydra app of this net."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig
from parts import Data, Net


@hydra.main(version_base="1.3", config_path=".", config_name="app")
def main(cfg: DictConfig) -> float:
    """Returns the last error."""
    trainer = hydra.utils.instantiate(cfg.trainer)
    trainer.fit(Net(cfg.lr), Data(cfg.data.batch_size))
    return float(trainer.callback_metrics["val/error"])


if __name__ == "__main__":
    main()
