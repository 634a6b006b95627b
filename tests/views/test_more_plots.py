"""Figures of parameters, rungs and the growth of the front."""

from __future__ import annotations

import math

import numpy as np
import pytest
from known_functions import study_of
from paper_study import begin, make_spec

from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.core.space import Choice, Float, Int, SearchSpace
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.views.effects.growth import growth_entries
from lightning_hwtune.views.effects.importance import importance_entries
from lightning_hwtune.views.effects.slices import contour_entry, slice_entries
from lightning_hwtune.views.effects.values import sensible
from lightning_hwtune.views.plots import FIGURES, curves_figure, drawn, front_figure

pytest.importorskip("sklearn")

SPACE = SearchSpace(
    lr=Float(1e-4, 1e-1, log=True),
    optimizer=Choice(["sgd", "adam"]),
    momentum=Float(0.0, 0.99, when={"optimizer": "sgd"}),
    width=Int(8, 64),
)


def bowl(config, epoch):
    return (math.log10(config["lr"]) + 2.5) ** 2 + 0.01 * config["width"] + 1.0 / epoch


@pytest.fixture(scope="module")
def state():
    return study_of(bowl, SPACE, 60)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_of_a_study_with_conditions_is_a_picture(state, name):
    assert drawn(state, name)._repr_png_().startswith(b"\x89PNG")


def test_bars_are_importances(state):
    panel = drawn(state, "importance", objective="error").axes[0]
    [entry] = importance_entries(state, "error")
    ends = [bar.get_x() + bar.get_width() for bar in panel.containers[1]]
    assert ends == pytest.approx([row["importance"] for row in entry["parameters"]])
    assert panel.get_yticklabels()[0].get_text() == "lr"


def test_slices_show_the_trials_and_the_minimum(state):
    entry = slice_entries(state, "error")
    assert entry["parameters"][0]["parameter"] == "lr"
    lr = entry["parameters"][0]
    best = lr["places"][int(np.argmin(lr["expected"]))]
    assert abs(math.log10(best) + 2.5) < 0.25
    [momentum] = [found for found in entry["parameters"] if found["parameter"] == "momentum"]
    having = [trial.trial_id for trial in state.searched if "momentum" in trial.config]
    assert momentum["trials"] == having
    assert 0 < len(having) < 60
    [optimizer] = [found for found in entry["parameters"] if found["parameter"] == "optimizer"]
    assert (optimizer["options"], optimizer["places"]) == (["sgd", "adam"], ["sgd", "adam"])
    panels = [panel for panel in drawn(state, "slices").axes if panel.get_visible()]
    assert [panel.get_xlabel() for panel in panels] == [found["parameter"] for found in entry["parameters"]]
    assert panels[0].get_xscale() == "log"
    shown = panels[0].collections[0].get_offsets()
    assert np.allclose(shown[:, 0], lr["values"])
    assert np.allclose(shown[:, 1], lr["objectives"])


def test_a_contour_is_of_the_two_most_important_ranges(state):
    entry = contour_entry(state, "error")
    assert entry["parameters"][0] == "lr"
    assert "optimizer" not in entry["parameters"]
    assert np.shape(entry["expected"]) == (len(entry["places_up"]), len(entry["places_across"]))
    swapped = contour_entry(state, "error", parameters=["width", "lr"])
    assert swapped["across"] == [trial.config["width"] for trial in state.searched if trial.measurements]
    row = int(np.argmin(np.mean(swapped["expected"], axis=1)))
    assert abs(math.log10(swapped["places_up"][row]) + 2.5) < 0.3


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["lr"], "two of the parameters with ranges: lr, momentum, width"),
        (["lr", "lr"], "two of the parameters with ranges"),
        (["lr", "optimizer"], "two of the parameters with ranges"),
        (["lr", "widht"], "did you mean 'width'"),
    ],
)
def test_wrong_parameters_of_a_contour(state, names, said):
    with pytest.raises(ArgumentError, match=said):
        contour_entry(state, parameters=names)


def test_a_space_without_two_ranges_has_no_contour():
    few = study_of(lambda config, epoch: config["a"], SearchSpace(a=Float(0.0, 1.0), b=Choice([1, 2])), 12)
    assert contour_entry(few)["parameters"] == []
    assert [text.get_text() for text in drawn(few, "contour").axes[0].texts] == ["no two parameters with ranges"]


def test_parallel_coordinates_have_one_line_per_trial(state):
    axes = drawn(state, "parallel").axes[0]
    [lines] = axes.collections
    assert len(lines.get_segments()) == 60
    best = min(state.searched, key=lambda trial: trial.measurements[0].values["error"])
    top = lines.get_segments()[-1]
    assert top[-1, 1] == pytest.approx(0.0)
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert top[labels.index("optimizer"), 1] == ["sgd", "adam"].index(best.config["optimizer"])
    absent = sum(segment[labels.index("momentum"), 1] < 0 for segment in lines.get_segments())
    assert absent == sum("momentum" not in trial.config for trial in state.searched)


def test_ranks_are_from_best_to_worst(state):
    panel = drawn(state, "rank").axes[0]
    [dots] = panel.collections
    assert (dots.get_array()[0], dots.get_array()[-1]) == (1.0, 0.0)  # the best is drawn last, on top


def test_the_ladder_shows_every_verdict(paper):
    figure = drawn(paper.state, "ladder")
    [axes] = figure.axes
    shown = {found.get_label(): len(found.get_offsets()) for found in axes.collections if len(found.get_offsets())}
    # 0 and 1 reach every rung; the diverged trial 2 has no place, and trial 3 reported nothing
    assert sum(count for label, count in shown.items() if not label.startswith("_")) == 6
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "epoch 1\n2 measured", "epoch 3\n2 measured", "epoch 9\n2 measured",
    ]  # fmt: skip


def test_the_hypervolume_grows_with_each_member_of_the_front():
    s = begin(make_spec(objectives=Objectives([Metric("error", "min"), Metric("size", "min")])))
    for trial_id, (error, size) in enumerate([(1.0, 0.0), (0.0, 1.0), (0.9, 0.9), (0.5, 0.5)]):
        s.create(0.0, trial_id, 0.01, 1)
        s.start(float(trial_id), trial_id, [0])
        values = {"error": error, "size": size}
        s.report(trial_id + 1.0, trial_id, 9, error, 1.0, values=values, level=9, verdict="stop")
        s.end(trial_id + 1.0, trial_id, "completed", 1.0)
    entries = growth_entries(s.state)
    assert [entry["trial_id"] for entry in entries] == [0, 1, 2, 3]
    assert [entry["at_s"] for entry in entries] == [1.0, 2.0, 3.0, 4.0]
    assert [entry["is_better"] for entry in entries] == [True, True, True, True]
    # strips of 0.1 x 1.1 along both axes, then a square
    expected = [0.11, 0.21, 0.21 + 0.01, 0.21 + 0.25]
    areas = [entry["hypervolume"] * 1.21 for entry in entries]
    assert areas[:2] == pytest.approx(expected[:2])
    assert areas[3] == pytest.approx(0.6**2 + 2 * 0.1 * 0.5)
    [axes] = drawn(s.state, "hypervolume").axes
    assert axes.lines[0].get_ydata()[-1] == entries[-1]["hypervolume"]


def test_one_bad_value_does_not_set_the_scale():
    loss = Metric("loss", "min")
    assert max(sensible(loss, [0.1, 0.2, 0.3, 0.35, 0.4, 50.0])) == 0.4
    assert min(sensible(Metric("acc", "max"), [-9.0, 0.7, 0.8, 0.9, 0.85, 0.95])) == 0.7
    assert sensible(loss, [0.1, 50.0, math.nan]) == [0.1, 50.0]
    bad = study_of(
        lambda config, epoch: 80.0 if config["a"] > 0.95 else config["a"], SearchSpace(a=Float(0.0, 1.0)), 40
    )
    assert any(trial.config["a"] > 0.95 for trial in bad.searched)
    assert curves_figure(bad).axes[0].get_ylim()[1] < 2.0


def complete(s, trial_id, error, train_s):
    s.create(0.0, trial_id, 0.01, 1)
    s.start(0.0, trial_id, [0])
    s.report(1.0, trial_id, 9, error, train_s, level=9, verdict="stop")
    s.end(1.0, trial_id, "completed", 1.0)


def test_the_front_has_a_staircase_and_a_recommended_point(empty):
    for trial_id, (error, train_s) in enumerate([(0.1, 8.0), (0.2, 4.0), (0.6, 3.0), (0.7, 6.0)]):
        complete(empty, trial_id, error, train_s)
    panel = front_figure(empty.state).axes[0]
    [line] = panel.lines
    steps = np.column_stack(line.get_data())[1:-1].tolist()
    assert steps == [[3.0, 0.6], [4.0, 0.6], [4.0, 0.2], [8.0, 0.2], [8.0, 0.1]]
    assert tuple(line.get_xydata()[0]) == (3.0, panel.get_ylim()[1])
    assert tuple(line.get_xydata()[-1]) == (panel.get_xlim()[1], 0.1)
    [ring] = [found for found in panel.collections if found.get_label() == "recommended"]
    assert ring.get_offsets().tolist() == [[4.0, 0.2]]


def test_an_option_that_a_figure_does_not_have(paper):
    with pytest.raises(ArgumentError, match=r"None for 'timeline'. These figures have it: 'front', 'curves'"):
        drawn(paper.state, "timeline", objective="error")
    labels = {panel.get_ylabel() for panel in drawn(paper.state, "front", objective="train_s").axes}
    assert labels == {"train_s, lower is better"}
    with pytest.raises(ArgumentError, match="did you mean 'error'"):
        drawn(paper.state, "curves", objective="eror")
