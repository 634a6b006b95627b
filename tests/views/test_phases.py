"""The phases of a segment, from the events of its log."""

from __future__ import annotations

import pytest
from paper_study import begin, make_spec

from lightning_hwtune.core.facts_data import facts_from_data, facts_to_data
from lightning_hwtune.views.phases import Phases, phases


@pytest.fixture
def script():
    """A trial that begins at 10 s on one device."""
    found = begin(make_spec())
    found.create(10.0, 0, 0.01, 1)
    found.start(10.0, 0, [0])
    return found


def test_a_segment_that_pauses_starts_trains_saves_and_waits(script):
    [segment] = script.state.segments
    assert phases(segment) == Phases()
    script.report(14.0, 0, 1, 0.5, 1.0, level=1, verdict="pause")  # 1 s of 4 s was training
    assert phases(segment) == Phases(3.0, 1.0)
    script.save(16.5, 0, 1, 1.0)
    assert phases(segment) == Phases(3.0, 1.0, 2.5)
    script.end(17.0, 0, "paused", 7.0)
    assert phases(segment) == Phases(3.0, 1.0, 2.5, 0.5, 0.0)


def test_training_after_the_newest_checkpoint_is_lost_with_its_segment(script):
    script.report(14.0, 0, 1, 0.5, 2.0)
    script.save(15.0, 0, 1, 2.0)
    script.report(18.0, 0, 2, 0.4, 4.0)  # 2 s of 3 s were training, the other one waited
    script.end(25.0, 0, "paused", 15.0, outcome="lost")
    [segment] = script.state.segments
    assert phases(segment) == Phases(start_s=2.0, train_s=2.0, saving_s=1.0, wait_s=1.0, lost_s=2.0 + 7.0)
    script.start(30.0, 0, [0], resource=1)
    script.report(36.0, 0, 3, 0.3, 2.0 + 4.0)
    script.end(36.0, 0, "completed", 6.0)
    assert phases(script.state.segments[1]) == Phases(start_s=2.0, train_s=4.0)


def test_a_segment_that_never_reported_is_lost_as_a_whole(script):
    script.end(13.0, 0, "waiting", 3.0, outcome="error")
    assert phases(script.state.segments[0]) == Phases(lost_s=3.0)


def test_phases_fill_each_segment_and_survive_the_cache(paper):
    for segment in paper.state.segments:
        assert sum(phases(segment).seconds) == pytest.approx(segment.wall_s)
        assert min(phases(segment).seconds) >= 0.0
    data = facts_to_data(paper.state)
    again = facts_from_data(paper.state.spec, data)
    assert [phases(one) for one in again.segments] == [phases(one) for one in paper.state.segments]
