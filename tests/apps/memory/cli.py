"""python cli.py fit --config cli.yaml"""

from __future__ import annotations

from lightning.pytorch.cli import LightningCLI
from parts import Data, Net

if __name__ == "__main__":
    LightningCLI(Net, Data, save_config_callback=None)
