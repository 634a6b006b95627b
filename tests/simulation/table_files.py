"""Writes a small learning-curve table that a test makes up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

RATES, FLAVORS = (0.1, 0.01), ("large", "small")


def write_table(folder: Path, *, diverged: tuple[int, ...] = (), **changes: Any) -> Path:
    """Four configurations, three resources, tasks "a" and "b"; config 3 is the slowest, 0 the worst at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "name": "small",
        "resource_unit": "epoch",
        "hyperparameters": {
            "lr": {"type": "ordinal", "log": True},
            "flavor": {"type": "choice", "hardware": True},
        },
        "objectives": {
            "accuracy": {"mode": "max", "unit": "1"},
            "train_s": {"mode": "min", "unit": "s", "cumulative": True},
            "cost_usd": {"mode": "min", "unit": "USD", "cumulative": True},
        },
        "source": "made up",
        "licence": "none",
    } | changes.pop("about", {})
    configs = [(lr, flavor) for lr in RATES for flavor in FLAVORS]
    rows = []
    for task in ("a", "b"):
        for config_id, (_, flavor) in enumerate(configs):
            for resource in (1, 2, 3):
                seconds = float(resource * (config_id + 1))
                accuracy = np.nan if config_id in diverged else 0.1 * resource * (config_id + 1) / 2
                price = 0.02 if flavor == "large" else 0.01
                rows.append((task, config_id, resource, accuracy, seconds, seconds * price))
    curves = pd.DataFrame(rows, columns=["task", "config_id", "resource", "accuracy", "train_s", "cost_usd"])
    (folder / "table.json").write_text(json.dumps(about))
    frame = pd.DataFrame(configs, columns=["lr", "flavor"])
    frame.insert(0, "config_id", range(len(frame)))
    frame.to_parquet(folder / "configs.parquet")
    changes.get("curves", lambda c: c)(curves).to_parquet(folder / "curves.parquet")
    return folder
