"""python train.py fit --config config.yaml"""

from __future__ import annotations

from lightning.pytorch.cli import LightningCLI
from parts import Data, Net

if __name__ == "__main__":
    LightningCLI(Net, Data)
