"""Figures of a study, made with matplotlib objects: no windows, no global state."""

from lightning_hwtune.views.plots.curves import curves_figure
from lightning_hwtune.views.plots.front import front_figure
from lightning_hwtune.views.plots.timeline import timeline_figure

__all__ = ["curves_figure", "front_figure", "timeline_figure"]
