"""Results as a data frame whose printed form has all objectives and parameters."""

from __future__ import annotations

from typing import final

import pandas as pd

__all__ = ["FrontFrame"]

_LEFT_OUT = ("epochs", "steps", "samples", "probability", "within_noise", "checkpoint")
_MOST_ROWS = 60


@final
class FrontFrame(pd.DataFrame):
    """A front, or replicates. Its printed form leaves out some columns, which it names, and hides no other one.

    A selection from it is an ordinary data frame.
    """

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        with pd.option_context("display.max_columns", None):
            text = repr(self.drop(columns=self._left_out))
        return f"{text}\n[{self._more}]" if self._left_out else text

    def _repr_html_(self) -> str:
        """Returns the table for a notebook, without script or style."""
        text = self.drop(columns=self._left_out).to_html(border=0, index=False, max_rows=_MOST_ROWS, na_rep="")
        return f"{text}<p>{self._more}</p>" if self._left_out else text

    @property
    def _left_out(self) -> list[str]:
        logged = [name for name in self.columns if name.startswith("logged/")]
        return [*logged, *(name for name in _LEFT_OUT if name in self.columns)]

    @property
    def _more(self) -> str:
        return f"and the {'column' if len(self._left_out) == 1 else 'columns'} {', '.join(self._left_out)}"
