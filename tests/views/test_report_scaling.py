"""The figure of a scaling model shows what the model answers, and nothing that it refuses."""

from __future__ import annotations

import pytest

from lightning_hwtune.core.hardware.scaling import ScalingModel, ScalingPoint
from lightning_hwtune.views.plots.scaling import scaling_figure

POINTS = [ScalingPoint(1, 1, 64, 1.0), ScalingPoint(1, 1, 32, 0.6), ScalingPoint(4, 1, 64, 0.4)]


@pytest.mark.parametrize(
    ("counts", "shown"), [([1, 2, 4, 8], [1, 2, 4]), ([4, 1, 1], [1, 4]), ([3, 8], []), ([64], [])]
)
def test_it_shows_the_counts_that_the_model_answers_for(counts: list[int], shown: list[int]) -> None:
    model = ScalingModel.fit(POINTS, devices_per_node=4)
    figure = scaling_figure(model, counts)
    (axes,) = figure.axes
    predicted = axes.get_lines()[0]
    assert list(predicted.get_xdata()) == shown
    assert list(predicted.get_ydata()) == [model.seconds_per_step(count) for count in shown]
    measured = axes.collections[1].get_offsets()
    assert [tuple(point) for point in measured] == [(1, 1.0), (4, 0.4)]
    assert figure._repr_png_().startswith(b"\x89PNG")
