"""The reader of a study: settings alone for a `Study`, and a state that follows its log."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
sys.path.insert(0, str(Path(__file__).parents[1] / "stored_logs"))
from stored import Stored, stored_studies
from study_driver import snapshot

import lightning_hwtune as hwt
from lightning_hwtune.core import events as ev
from lightning_hwtune.engine.fold import rebuilt_state
from lightning_hwtune.engine.reading import Reader
from lightning_hwtune.errors import StorageError, StudyMismatchError, StudyNotFoundError
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.store.schema import EVENTS
from lightning_hwtune.text import storable

ALL = stored_studies()
ASHA = Stored("0.2.0.dev0", "asha_one_device")
GARBAGE = "{not an event"


def of_all(function: Any) -> Any:
    return pytest.mark.parametrize("stored", ALL, ids=lambda stored: f"{stored.version}-{stored.name}")(function)


def add(files: StudyFiles, bodies: list[str]) -> None:
    """Appends texts to a log, as an older version would have written them."""
    with EventLog.open(files, create=True) as log:
        before = log.count()
        rows = [{"study": log.key, "seq": seq, "body": body} for seq, body in enumerate(bodies, before + 1)]
        with log.database.writing() as connection:
            connection.execute(EVENTS.insert(), rows)


def overwrite(files: StudyFiles, number: int, body: str) -> None:
    with EventLog.open(files, create=True) as log, log.database.writing() as connection:
        connection.execute(EVENTS.update().where(EVENTS.c.seq == number), {"body": body})


def first_trial(stored: Stored) -> int:
    """Returns the number of the event that creates the first trial."""
    return next(n for n, event in enumerate(stored.events, 1) if isinstance(event, ev.TrialCreated))


@of_all
def test_a_state_that_follows_equals_one_that_is_folded_at_once(stored: Stored, tmp_path: Path) -> None:
    n_events = len(stored.bodies)
    files = stored.put(tmp_path, first_trial(stored))
    reader, read = Reader(files, None), first_trial(stored)
    followed = reader.state()
    for end in (read, n_events // 3, n_events // 2, n_events - 1, n_events):
        if end > read:
            add(files, stored.bodies[read:end])
            read = end
        assert reader.state() is followed
        with reader.open() as log:
            assert snapshot(reader.race_state()) == snapshot(rebuilt_state(log))  # type: ignore[arg-type]


@of_all
def test_a_study_reads_no_more_than_its_settings(stored: Stored, tmp_path: Path) -> None:
    """Everything behind the first trial is damaged: only a question about the trials sees it."""
    files = stored.put(tmp_path)
    overwrite(files, first_trial(stored) + 1, GARBAGE)
    study = hwt.Study.load(stored.name, dir=tmp_path)
    assert study.spec.to_dict() == stored.spec.to_dict()
    begun = Reader(files, None).begun()
    assert begun is not None
    assert begun.to_dict() == stored.spec.to_dict()
    for question in (study.state, study.front, study.trials, lambda: study.why(0), lambda: study.logs(0)):
        with pytest.raises(StorageError, match=f"event {first_trial(stored) + 1}"):
            question()


def constructed(folder: Path, **changes: Any) -> hwt.Study:
    spec = ASHA.spec
    settings = {"scheduler": spec.scheduler, "searcher": spec.searcher, "pool": spec.pool, "seed": spec.seed}
    return hwt.Study(ASHA.name, spec.space, spec.objectives, dir=folder, **{**settings, **changes})


def test_the_constructor_reads_no_more_than_the_settings(tmp_path: Path) -> None:
    overwrite(ASHA.put(tmp_path), first_trial(ASHA) + 1, GARBAGE)
    study = constructed(tmp_path)
    with pytest.raises(StorageError, match="damaged"):
        study.state()


@pytest.mark.parametrize("change", [{"seed": 4}, {"scheduler": hwt.ASHA(27, first_rung=1)}, {"batch": "per_device"}])
def test_the_constructor_refuses_other_settings(change: dict[str, Any], tmp_path: Path) -> None:
    ASHA.put(tmp_path)
    with pytest.raises(StudyMismatchError):
        constructed(tmp_path, **change)


@pytest.mark.parametrize("change", [{"seed": 4}, {"scheduler": hwt.ASHA(27, first_rung=1)}, {"batch": "per_device"}])
def test_a_study_without_trials_may_have_other_settings(change: dict[str, Any], tmp_path: Path) -> None:
    ASHA.put(tmp_path, first_trial(ASHA) - 1)
    study = constructed(tmp_path, **change)
    with pytest.raises(StudyNotFoundError):
        study.state()


def test_the_newest_settings_of_a_study_without_trials_count(tmp_path: Path) -> None:
    files = ASHA.put(tmp_path, first_trial(ASHA) - 1)
    created = json.loads(ASHA.bodies[0])
    created["spec"]["seed"] = 11
    add(files, [json.dumps(created)])
    assert hwt.Study.load(ASHA.name, dir=tmp_path).spec.seed == 11


@pytest.mark.parametrize("damaged", [1, 2, 5])
def test_what_was_read_is_not_read_again(damaged: int, tmp_path: Path) -> None:
    files = ASHA.put(tmp_path, 20)
    reader = Reader(files, None)
    reader.state()
    overwrite(files, damaged, GARBAGE)
    add(files, ASHA.bodies[20:30])
    state = reader.race_state()
    assert state is not None
    assert snapshot(state) == snapshot(ASHA.state(30))
    with pytest.raises(StorageError, match=f"event {damaged}"):
        Reader(files, None).state()


@pytest.mark.parametrize("n_events", [15, 20, 40])
def test_another_log_in_the_place_of_the_first_is_read_anew(n_events: int, tmp_path: Path) -> None:
    """It is shorter, as long, or longer."""
    reader = Reader(ASHA.put(tmp_path, 20), None)
    reader.state()
    shutil.rmtree(tmp_path / ASHA.name)
    other = Stored("0.2.0.dev0", "asha_diverging")
    files = StudyFiles(tmp_path, ASHA.name)
    files.create()
    add(files, other.bodies[:n_events])
    state = reader.race_state()
    assert state is not None
    with reader.open() as log:
        assert snapshot(state) == snapshot(rebuilt_state(log))  # type: ignore[arg-type]


def test_a_damaged_event_is_reported_each_time_and_read_once_it_is_repaired(tmp_path: Path) -> None:
    files = ASHA.put(tmp_path, 20)
    reader = Reader(files, None)
    reader.state()
    add(files, [*ASHA.bodies[20:25], GARBAGE])
    for _ in range(2):
        with pytest.raises(StorageError, match="event 26"):
            reader.state()
    overwrite(files, 26, ASHA.bodies[25])
    state = reader.race_state()
    assert state is not None
    assert snapshot(state) == snapshot(ASHA.state(26))


def test_the_callers_settings_stay_in_the_state(tmp_path: Path) -> None:
    files = ASHA.put(tmp_path, 20)
    study = constructed(tmp_path, searcher=hwt.Sobol())
    first = study.state()
    add(files, ASHA.bodies[20:])
    assert study.state() is first
    assert first.spec is study.spec
    assert first.spec.searcher.name == "sobol"


@of_all
def test_a_text_of_the_log_gives_the_event_of_its_data(stored: Stored) -> None:
    for body in stored.bodies:
        assert ev.from_json(body) == ev.from_dict(json.loads(body))


@pytest.mark.parametrize(
    "text",
    ["plain", "back\\slash", "\x1b[31mred", "\udcff", "a\u2028b", "\u202eturned", "caf\xe9", 'a "quote"', "a\r\nb"],
)
@pytest.mark.parametrize("is_ascii", [True, False])
def test_every_text_of_an_event_is_made_storable(text: str, is_ascii: bool) -> None:
    data = ev.to_dict(ev.ConfigEnqueued(at=1.0, config={"name": text, text: [text]}))
    read = ev.from_json(json.dumps(data, ensure_ascii=is_ascii))
    assert isinstance(read, ev.ConfigEnqueued)
    assert read.config == {"name": storable(text, None), storable(text, None): [storable(text, None)]}


@pytest.mark.parametrize("text", ["[1]", "null", '"text"', "7", '{"at": 1.0}', '{"type": "Noted", "at": "now"}'])
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(StorageError):
        ev.from_json(text)
