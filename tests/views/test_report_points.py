from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_study import begin, make_spec

from lightning_hwtune.core.objectives import Metric, Objectives
from lightning_hwtune.errors import ArgumentError
from lightning_hwtune.views.front_points import candidates, front_points, rung_points

value = st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan, math.inf])
rows = st.lists(st.tuples(value, value, value), min_size=1, max_size=12)


def study_of(rows, modes=("min", "max", "min")):
    names = ("a", "b", "c")
    spec = make_spec(objectives=Objectives([Metric(n, m) for n, m in zip(names, modes, strict=True)]))
    s = begin(spec)
    for trial_id, row in enumerate(rows):
        s.create(0.0, trial_id, 0.01, 1)
        s.start(0.0, trial_id, [0])
        values = dict(zip(names, row, strict=True))
        s.report(1.0, trial_id, 9, 0.0, 1.0, values=values, level=9, verdict="stop")
        s.end(1.0, trial_id, "completed", 1.0)
    return s.state


@given(rows)
@settings(max_examples=60, deadline=None)
def test_the_front_is_what_a_double_loop_finds(rows):
    losses = [(a, -b, c) for a, b, c in rows]
    finite = [i for i, row in enumerate(losses) if all(math.isfinite(x) for x in row)]

    def dominates(i, j):
        return losses[i] != losses[j] and all(x <= y for x, y in zip(losses[i], losses[j], strict=True))

    expected = [i for i in finite if not any(dominates(j, i) for j in finite)]
    expected.sort(key=lambda i: (*losses[i], i))
    state = study_of(rows)
    assert [point.trial.trial_id for point in front_points(state)] == expected
    assert [point.trial.trial_id for point in front_points(state, "any")] == expected


def test_only_completed_trials_are_candidates_for_the_full_front(paper):
    assert [p.trial.trial_id for p in candidates(paper.state, "full")] == [0, 1]
    assert [(p.trial.trial_id, p.is_partial) for p in candidates(paper.state, "any")] == [
        (0, False),
        (1, False),
        (2, True),
    ]
    with pytest.raises(ArgumentError, match="at"):
        candidates(paper.state, "rung")


def test_a_rung_knows_who_was_compared_there(paper):
    assert {level: [p.trial.trial_id for p in rung_points(paper.state, level)] for level in (1, 3, 9)} == {
        1: [0, 1, 2],
        3: [0, 1],
        9: [0, 1],
    }


def test_between_levels_the_first_measurement_past_the_level_counts():
    s = begin(make_spec())
    s.create(0.0, 0, 0.01, 1)
    s.start(0.0, 0, [0])
    s.report(1.0, 0, 4, 0.5, 1.0, level=3, verdict="continue", target=9)
    s.report(2.0, 0, 5, 0.4, 2.0)
    [point] = rung_points(s.state, 3)
    assert (point.measurement.resource, point.measurement.values["error"]) == (4, 0.5)
    assert rung_points(s.state, 1) == []
