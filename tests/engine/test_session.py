"""What a session writes, and in which order."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from study_bench import small_study

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.engine.session import Session
from lightning_hwtune.store.files import StudyFiles


def test_an_observer_that_fails_leaves_log_and_state_at_one(tmp_path: Path) -> None:
    study = small_study(tmp_path)

    def fail(events: Sequence[ev.Event]) -> None:
        raise OSError(5, "Input/output error")

    with Session(study.spec, StudyFiles(tmp_path, "study"), Limits(max_trials=1)) as session:
        session.observers.append(fail)
        with pytest.raises(OSError, match="Input/output error"):
            session.controller.note(None, "a line", session.clock.now())
        assert [note.text for note in session.controller.state.notes] == ["a line"]
        session.observers.clear()
    assert [note.text for note in study.state().notes] == ["a line"]


def test_an_observer_finds_in_the_state_what_it_is_told(tmp_path: Path) -> None:
    seen: list[int] = []
    with Session(small_study(tmp_path).spec, StudyFiles(tmp_path, "study"), Limits(max_trials=1)) as session:
        session.observers.append(lambda events: seen.append(len(session.controller.state.notes)))
        session.controller.note(None, "first", session.clock.now())
        session.controller.note(None, "second", session.clock.now())
        session.observers.clear()
    assert seen == [1, 2]
