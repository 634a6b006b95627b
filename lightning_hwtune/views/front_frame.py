"""The front as a data frame whose printed form has the objectives and parameters, but no paths."""

from __future__ import annotations

from typing import final

import pandas as pd

__all__ = ["FrontFrame"]

_PATHS = "checkpoint"


@final
class FrontFrame(pd.DataFrame):
    """A front. It prints without its column of paths, which would leave no room for the other columns.

    A selection from it is an ordinary data frame.
    """

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        if _PATHS not in self.columns:
            return super().__repr__()
        return f"{self.drop(columns=_PATHS)!r}\n[and the column {_PATHS}]"
