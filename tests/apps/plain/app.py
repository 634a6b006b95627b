"""A Hydra app without Lightning: a function of two numbers, and the ways in which apps misbehave."""

from __future__ import annotations

import os
import sys
from typing import Any

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path=None)
def main(cfg: DictConfig) -> Any:
    """Returns x squared plus y, unless `fault` says otherwise."""
    fault = cfg.get("fault", "none")
    if fault == "raise":
        raise ValueError("the data are not there")
    if fault == "exit_with_3":
        sys.exit(3)
    if fault == "exit_with_0":
        sys.exit(0)
    if fault == "ask":
        return float(input("which device? "))
    if fault == "kill":
        os.kill(os.getpid(), 9)
    if fault == "swallow":
        try:
            raise ValueError("the data are not there")
        except ValueError:
            return None
    if fault == "tuple":
        return 1.0, 2.0
    return cfg.get("x", 0.0) ** 2 + cfg.get("y", 0)


if __name__ == "__main__":
    main()
