"""Figures of a study, made with matplotlib objects: no windows, no global state."""

from collections.abc import Callable, Mapping

from matplotlib.figure import Figure

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.views.plots.curves import curves_figure
from lightning_hwtune.views.plots.front import front_figure
from lightning_hwtune.views.plots.ledger import ledger_figure
from lightning_hwtune.views.plots.timeline import timeline_figure

__all__ = ["FIGURES", "curves_figure", "front_figure", "ledger_figure", "timeline_figure"]

FIGURES: Mapping[str, Callable[[StudyFacts], Figure]] = {
    "front": front_figure,
    "timeline": timeline_figure,
    "curves": curves_figure,
    "ledger": ledger_figure,
}
"""Name in `Study.plot` and of the file -> what draws it."""
