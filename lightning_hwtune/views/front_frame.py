"""Results as a data frame whose printed form has all objectives and parameters."""

from __future__ import annotations

from typing import final

import pandas as pd

__all__ = ["FrontFrame"]

_LEFT_OUT = ("epochs", "steps", "samples", "probability", "within_noise", "checkpoint")


@final
class FrontFrame(pd.DataFrame):
    """A front, or replicates. Its printed form leaves out some columns, which it names, and hides no other one.

    A selection from it is an ordinary data frame.
    """

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        left_out = [name for name in _LEFT_OUT if name in self.columns]
        with pd.option_context("display.max_columns", None):
            text = repr(self.drop(columns=left_out))
        if not left_out:
            return text
        return f"{text}\n[and the {'column' if len(left_out) == 1 else 'columns'} {', '.join(left_out)}]"
