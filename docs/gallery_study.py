"""The simulated study of the gallery: formulas in place of training, with the real searcher and scheduler."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lightning_hwtune.core.hardware.pool import Pool
from lightning_hwtune.core.objectives import Cost, Metric, Objectives, TrainSeconds
from lightning_hwtune.core.schedulers import ASHA
from lightning_hwtune.core.searchers import TPE
from lightning_hwtune.core.space import Choice, Float, Int, NumDevices, SearchSpace
from lightning_hwtune.core.spec import Limits, StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.simulation.executor import simulate

__all__ = ["gallery_study"]

SPACE = SearchSpace(
    lr=Float(1e-4, 1e-1, log=True),
    optimizer=Choice(["sgd", "adam", "rmsprop"]),
    momentum=Float(0.0, 0.99, when={"optimizer": "sgd"}),
    width=Int(32, 512, log=True),
    dropout=Float(0.0, 0.5),
    devices=NumDevices(1, 2, 4),
)
BEST_LR = {"sgd": -1.5, "adam": -2.7, "rmsprop": -2.9}  # decimal logarithms


class Curves:
    """An error with a best learning rate per optimizer; far above it, the training diverges."""

    metrics, max_resource = ("val_error",), 27

    def values(self, config: Mapping[str, Any], resource: int) -> Mapping[str, float]:
        """Returns the error after so many epochs."""
        away = math.log10(config["lr"]) - BEST_LR[config["optimizer"]] + 0.6 * (config.get("momentum", 0.5) - 0.5)
        if away > 1.4:
            return {"val_error": math.nan}
        narrow = 0.06 * (math.log2(512 / config["width"]) / 4) ** 2
        final = 0.04 + 0.1 * min(away**2, 4.0) + narrow + 0.4 * (config["dropout"] - 0.2) ** 2
        return {"val_error": final + 0.4 * math.exp(-resource / 5)}

    def elapsed_s(self, config: Mapping[str, Any], resource: int, num_devices: int) -> float:
        """Returns the seconds of so many epochs; a part of each cannot be shared by devices."""
        return (4.0 + 30.0 * config["width"] / 512) * (1.0 / num_devices + 0.12) * resource

    def usd_per_s(self, config: Mapping[str, Any], num_devices: int) -> float:
        """Returns 0: the pool has the price."""
        return 0.0


def gallery_study() -> StudyState:
    """Returns the finished study on four devices, in which starting a segment takes a while."""
    objectives = Objectives([Metric("val_error", "min"), TrainSeconds(), Cost()])
    pool = Pool("cpu", 4, usd_per_device_hour=1.2)
    spec = StudySpec("digits", SPACE, objectives, ASHA(27, first_rung=1), TPE(), pool, seed=4)
    return simulate(spec, Curves(), Limits(max_trials=90), start_s=12.0, restore_s=6.0)
