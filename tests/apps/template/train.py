"""An app of the kind that many Lightning users have: everything is composed by Hydra and instantiated from `configs/`.

It is written without tuning in mind. Its `main` trains, tests, and returns the metric (or metrics) that a key names.
"""

from __future__ import annotations

import logging
from typing import Any

import hydra
import lightning as L
from omegaconf import DictConfig

log = logging.getLogger(__name__)


def from_group(group: DictConfig | None) -> list[Any]:
    """Makes what a group of the configuration lists, such as callbacks or loggers."""
    return [hydra.utils.instantiate(item) for item in (group or {}).values()]


def train(cfg: DictConfig) -> dict[str, Any]:
    """Trains, tests with the best weights, and returns all metrics."""
    if cfg.get("seed") is not None:
        L.seed_everything(cfg.seed, workers=True)
    data = hydra.utils.instantiate(cfg.data)
    model = hydra.utils.instantiate(cfg.model)
    trainer = hydra.utils.instantiate(
        cfg.trainer, callbacks=from_group(cfg.get("callbacks")), logger=from_group(cfg.get("logger"))
    )
    trainer.fit(model, datamodule=data, ckpt_path=cfg.get("ckpt_path"))
    metrics = dict(trainer.callback_metrics)
    if cfg.test:
        best = trainer.checkpoint_callback.best_model_path if trainer.checkpoint_callback else ""
        trainer.test(model, datamodule=data, ckpt_path=best or None)
        metrics |= trainer.callback_metrics
    log.info("trained in %s", cfg.paths.output_dir)
    return metrics


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(cfg: DictConfig) -> float | tuple[float, ...] | None:
    """Returns what `optimized_metric` names: nothing, one metric, or a list of them."""
    metrics = train(cfg)
    names = cfg.optimized_metric
    if names is None:
        return None
    if isinstance(names, str):
        return float(metrics[names])
    return tuple(float(metrics[name]) for name in names)


if __name__ == "__main__":
    main()
