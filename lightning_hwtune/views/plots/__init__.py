"""Figures of a study, made with matplotlib objects: no windows, no global state."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from matplotlib.figure import Figure

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.views.plots.curves import curves_figure
from lightning_hwtune.views.plots.front import front_figure
from lightning_hwtune.views.plots.hypervolume import hypervolume_figure
from lightning_hwtune.views.plots.importance import importance_figure
from lightning_hwtune.views.plots.ladder import ladder_figure
from lightning_hwtune.views.plots.ledger import ledger_figure
from lightning_hwtune.views.plots.many_parameters import parallel_figure, rank_figure
from lightning_hwtune.views.plots.slices import contour_figure, slices_figure
from lightning_hwtune.views.plots.timeline import timeline_figure

__all__ = ["FIGURES", "curves_figure", "drawn", "front_figure", "ledger_figure", "timeline_figure"]

FIGURES: Mapping[str, Callable[..., Figure]] = {
    "front": front_figure,
    "timeline": timeline_figure,
    "curves": curves_figure,
    "ladder": ladder_figure,
    "importance": importance_figure,
    "slices": slices_figure,
    "contour": contour_figure,
    "parallel": parallel_figure,
    "rank": rank_figure,
    "hypervolume": hypervolume_figure,
    "ledger": ledger_figure,
}
"""Name in `Study.plot` and of the file -> what draws it."""


def drawn(state: StudyFacts, what: str, **options: Any) -> Figure:
    """Returns a figure.

    Args:
        what: a name in `FIGURES`.
        options: arguments of its function; None for the default.

    Raises:
        ArgumentError: the figure does not have this option, or the function refuses its value.
    """
    given = {name: value for name, value in options.items() if value is not None}
    known = inspect.signature(FIGURES[what]).parameters
    for name, value in given.items():
        if name not in known:
            having = ", ".join(
                repr(other) for other, draw in FIGURES.items() if name in inspect.signature(draw).parameters
            )
            raise ArgumentError(name, value, f"None for {what!r}", hint=f"These figures have it: {having}.")
    return FIGURES[what](state, **given)
