"""The public name `RungCallback`: the class of the tree that this process has imported.

Scripts that import only `pytorch_lightning` get that package's class, all others get the one of `lightning.pytorch`.
Lightning before 2.6 refuses callbacks of the other tree. If both packages are imported, the entry point still attaches
the right class.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_hwtune.training.lightning_tree import RungCallback

__all__ = ["RungCallback"]


def __getattr__(name: str) -> object:
    """Imports the class at its first use (PEP 562), and only from its own tree."""
    if name != "RungCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
        from lightning_hwtune.training import pytorch_lightning_tree

        return pytorch_lightning_tree.RungCallback
    from lightning_hwtune.training import lightning_tree

    return lightning_tree.RungCallback
