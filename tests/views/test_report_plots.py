from __future__ import annotations

import math

import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from paper_study import begin, make_spec

from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.views.plots import FIGURES, curves_figure, front_figure, timeline_figure
from lightning_hwtune.views.plots.canvas import fit_scale, vicinity
from lightning_hwtune.views.plots.timeline import _PHASE_COLORS, _runs, _without_gaps


def offsets(panel, label):
    [found] = [c for c in panel.collections if c.get_label() == label]
    return sorted(tuple(point) for point in found.get_offsets().tolist())


def test_the_front_has_a_panel_for_each_pair_of_objectives(paper):
    figure = front_figure(paper.state)
    panels = [panel for panel in figure.axes if panel.get_visible()]
    labels = [(panel.get_xlabel(), panel.get_ylabel()) for panel in panels]
    assert labels == [
        ("train_s, lower is better", "error, lower is better"),
        ("cost_usd, lower is better", "error, lower is better"),
    ]  # seconds and cost are nearly proportional
    assert offsets(panels[0], "front, 1 device") == [(5.0, 0.25), (9.0, 0.2)]
    assert offsets(panels[1], "front, 1 device") == [(0.005, 0.25), (0.009000000000000001, 0.2)]
    assert {text.get_text() for text in panels[0].texts} == {"0", "1"}


def complete(s, trial_id, error, train_s, slots):
    s.create(0.0, trial_id, 0.01, len(slots))
    s.start(0.0, trial_id, slots)
    s.report(1.0, trial_id, 9, error, train_s, level=9, verdict="stop")
    s.end(1.0, trial_id, "completed", 1.0)


def test_devices_and_dominated_points_are_told_apart(empty):
    complete(empty, 0, 0.1, 4.0, [0])
    complete(empty, 1, 0.2, 2.0, [0, 1])
    complete(empty, 2, 0.3, 5.0, [0, 1])
    empty.create(2.0, 3, 0.01, 1)
    empty.start(2.0, 3, [0])
    empty.report(3.0, 3, 1, 0.5, 1.0, level=1, verdict="pause")
    panel = front_figure(empty.state).axes[0]
    assert offsets(panel, "front, 1 device") == [(4.0, 0.1)]
    assert offsets(panel, "front, 2 devices") == [(2.0, 0.2)]
    assert offsets(panel, "dominated, 2 devices") == [(5.0, 0.3)]
    assert offsets(panel, "partly trained") == [(1.0, 0.5)]
    legend = [text.get_text() for text in front_figure(empty.state).legends[0].get_texts()]
    assert legend[:-1] == ["partly trained", "front, 1 device", "dominated, 2 devices", "front, 2 devices"]


def test_a_single_objective_is_shown_over_the_training_time():
    s = begin(make_spec(objectives=Objectives(Metric("error", "min"))))
    s.create(0.0, 0, 0.01, 1)
    s.start(0.0, 0, [0])
    s.report(1.0, 0, 9, 0.1, 4.0, values={"error": 0.1}, level=9, verdict="stop")
    s.end(1.0, 0, "completed", 1.0)
    [panel] = front_figure(s.state).axes
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("train_s", "error, lower is better")
    assert offsets(panel, "front, 1 device") == [(4.0, 0.1)]


def test_many_objectives_are_shown_against_the_first():
    s = begin(make_spec(objectives=Objectives([Metric(name, "min") for name in "abcde"])))
    panels = [panel for panel in front_figure(s.state).axes if panel.get_visible()]
    assert [(p.get_xlabel()[0], p.get_ylabel()[0]) for p in panels] == [("b", "a"), ("c", "a"), ("d", "a"), ("e", "a")]


def boxes(axes):
    return [box for box in axes.patches if isinstance(box, Rectangle)]


def test_the_timeline_has_a_bar_for_every_segment(paper):
    figure = timeline_figure(paper.state)
    [axes] = figure.axes
    spans = [(round(b.get_x(), 6), round(b.get_x() + b.get_width(), 6)) for b in boxes(axes)]
    # 1.3 to 2.0 is within a twentieth of the 15.2 s in which something trained, so nothing is cut out
    assert spans == [(0, 1.2), (0, 1.3), (2, 3), (3, 7), (7, 15.5), (7, 11.2), (16, 17), (17, 18)]
    rows = [(b.get_y() + 0.42, round(b.get_height(), 6)) for b in boxes(axes)]
    one, two = 0.84, 1.84
    assert rows == [(0, one), (1, one), (0, two), (0, one), (0, one), (1, one), (0, two), (0, two)]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cpu 0", "cpu 1"]
    colors = [to_hex(b.get_facecolor()) for b in boxes(axes)]
    assert len({*colors[:3], *colors[6:]}) == 1  # from scratch
    assert len({*colors[3:6]}) == 1  # resumed at epoch 1
    assert colors[0] != colors[3]
    assert [bool(b.get_hatch()) for b in boxes(axes)] == [False, False, False, True, False, False, True, True]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "from scratch",
        "resumed at epoch 1",
        "start-up",
        "saving",
        "waiting",
        "lost",
        "failed or lost segment",
    ]
    # 1.2 + 1.3 + 2 + 4 + 8.5 + 4.2 + 2 + 2 of 2 x 18; 1 + 1 + 2 x 0.8 + 4 + 8 of it are training that was kept
    text = "4 trials in 8 segments, devices busy 70 % of the time and training 43 %"
    assert axes.get_title(loc="left") == f"paper: {text}"
    lost = [span for color, span in phase_spans(axes) if color == to_hex(_PHASE_COLORS["lost"])]
    assert lost == [(3.0, 7.0), (16.0, 17.0), (17.0, 18.0)]  # segments that failed before their first checkpoint
    saving = [span for color, span in phase_spans(axes) if color == to_hex(_PHASE_COLORS["saving"])]
    assert (15.0, 15.2) in saving


def phase_spans(axes):
    """The colour, begin and end of each part of a bar that is not training."""
    for bars in axes.collections:
        for color, path in zip(bars.get_facecolors(), bars.get_paths(), strict=True):
            box = path.get_extents()
            yield to_hex(color), (round(float(box.x0), 6), round(float(box.x1), 6))


def test_a_running_segment_reaches_up_to_now(empty):
    empty.create(0.0, 0, 0.01, 1)
    empty.start(0.0, 0, [1])
    [box] = boxes(timeline_figure(empty.state, now=8.0).axes[0])
    assert (box.get_x(), box.get_width(), box.get_alpha()) == (0.0, 8.0, 0.6)


def test_idle_nights_are_cut_out():
    spans, cuts = _without_gaps([(100.0, 110.0), (105.0, 120.0), (5000.0, 5010.0), (5010.5, 5012.0)])
    assert spans == [(0.0, 10.0), (5.0, 20.0), (20.0, 30.0), (30.5, 32.0)]
    assert cuts == [20.0]
    assert _without_gaps([]) == ([], [])


@pytest.mark.parametrize(
    ("slots", "runs"), [([0], [(0, 1)]), ([0, 1], [(0, 2)]), ([3, 0, 1], [(0, 2), (3, 1)]), ([0, 2], [(0, 1), (2, 1)])]
)
def test_neighbouring_devices_share_a_bar(slots, runs):
    assert _runs(slots) == runs


def test_learning_curves(paper):
    figure = curves_figure(paper.state)
    [axes] = figure.axes
    named = {line.get_label(): line for line in axes.lines if line.get_label().startswith("trial")}
    assert list(named) == ["trial 1", "trial 0"]
    assert list(named["trial 1"].get_xdata()) == list(range(1, 10))
    assert named["trial 1"].get_ydata()[-1] == 0.2
    assert list(axes.get_xticks()) == [1, 3, 9]
    assert axes.get_ylabel() == "error, lower is better"
    assert curves_figure(paper.state, "train_s").axes[0].get_ylabel() == "train_s, lower is better"


@pytest.mark.parametrize("draw", FIGURES.values())
def test_figures_of_a_study_that_has_just_begun_are_pictures_too(empty, draw):
    picture = draw(empty.state)._repr_png_()
    assert picture.startswith(b"\x89PNG")


@pytest.mark.parametrize("draw", FIGURES.values())
def test_figures_can_be_rendered(paper, draw):
    assert draw(paper.state)._repr_png_().startswith(b"\x89PNG")


def test_the_vicinity_of_the_main_values():
    assert vicinity([1.0], [5.0]) == (-math.inf, math.inf)
    assert vicinity([-1.0, 1.0], [0.0]) == (-3.0, 3.0)
    low, high = vicinity([1.0, 10.0], [math.nan])  # in decades
    assert (round(low, 9), round(high, 9)) == (0.1, 100.0)
    low, high = vicinity([0.0, 0.0], [-7.0, 7.0])
    assert (low, high) == (-2.0, 2.0)


def test_values_over_a_decade_get_a_logarithmic_axis_with_plain_numbers(empty):
    axes = front_figure(empty.state).axes[0]
    fit_scale(axes, [0.01, 0.02], [0.001, 0.5, math.nan])
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    assert axes.yaxis.get_major_formatter()(0.003) == "0.003"
    fit_scale(axes, [-1.0, 100.0], [5.0])
    assert axes.get_xscale() == "linear"


def test_a_diverged_trial_takes_no_number_from_the_others(empty):
    complete(empty, 0, 0.1, 4.0, [0])
    complete(empty, 1, math.nan, 2.0, [0])
    panel = front_figure(empty.state).axes[0]
    assert [text.get_text() for text in panel.texts] == ["0"]
