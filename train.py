"""Trains what `configs/` composes: `python train.py`, followed by overrides (`model.lr=0.01 trainer=quick`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import hydra
import lightning as L
from hydra.utils import instantiate
from omegaconf import DictConfig


def train(cfg: DictConfig) -> dict[str, float]:
    """Trains a model, tests its best weights, and returns the last logged metrics."""
    L.seed_everything(cfg.seed, workers=True)
    trainer = instantiate(cfg.trainer, callbacks=listed(cfg.callbacks), logger=listed(cfg.logger))
    data = instantiate(cfg.data, batch_size=share(cfg.data.batch_size, trainer.world_size))
    model = instantiate(cfg.model)
    trainer.fit(model, data, ckpt_path=cfg.ckpt_path)
    metrics = dict(trainer.callback_metrics)
    if cfg.test:
        best = trainer.checkpoint_callback.best_model_path if trainer.checkpoint_callback else None
        trainer.test(model, data, ckpt_path=best or None)
        metrics |= trainer.callback_metrics
    return {name: float(value) for name, value in metrics.items()}


def listed(group: DictConfig | None) -> list[Any]:
    """Creates the objects of a configuration group, such as callbacks."""
    return [instantiate(item) for item in (group or {}).values()]


def share(batch_size: int, n_devices: int) -> int:
    """Returns the batch size per device; the configuration has the batch size of all devices together."""
    if batch_size < 1 or batch_size % n_devices:
        raise ValueError(f"data.batch_size is {batch_size}; allowed: a multiple of {n_devices}, the number of devices")
    return batch_size // n_devices


def chosen(metrics: Mapping[str, float], returns: str | Sequence[str]) -> float | tuple[float, ...]:
    """Returns one metric by name, or several as a tuple."""
    names = [returns] if isinstance(returns, str) else list(returns)
    missing = [name for name in names if name not in metrics]
    if missing:
        raise ValueError(f"`returns` names {', '.join(missing)}; logged names: {', '.join(sorted(metrics))}")
    values = tuple(metrics[name] for name in names)
    return values[0] if isinstance(returns, str) else values


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(cfg: DictConfig) -> float | tuple[float, ...]:
    """Returns the metrics that the key `returns` names."""
    return chosen(train(cfg), cfg.returns)


if __name__ == "__main__":
    main()
