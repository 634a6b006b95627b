"""A damaged log, or one of a newer version: every reading command says which event of which file, and nothing bare."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stored_study import store
from typer.testing import CliRunner

import lightning_hwtune as hwt
from lightning_hwtune.cli.commands import app
from lightning_hwtune.engine.reading import Reader
from lightning_hwtune.errors import StorageError
from lightning_hwtune.store.files import StudyFiles

Body = dict[str, Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole")
    store(path, n_trials=3)
    return path


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "studies")


def damage(folder: Path, kind: str, change: Callable[[Body], object]) -> int:
    """Changes the first event of a kind, in place or by what `change` returns; returns its number."""
    with sqlite3.connect(folder / "digits" / "study.db") as connection:
        rows = connection.execute("SELECT seq, body FROM hwtune_events ORDER BY seq").fetchall()
        seq, body = next((seq, json.loads(body)) for seq, body in rows if json.loads(body)["type"] == kind)
        changed = change(body)
        text = changed if isinstance(changed, str) else json.dumps(body if changed is None else changed)
        connection.execute("UPDATE hwtune_events SET body = ? WHERE seq = ?", (text, seq))
    connection.close()
    return int(seq)


def put(key: str, value: object) -> Callable[[Body], object]:
    return lambda body: body.update({key: value})


def put_in_spec(key: str, value: object, *, inside: str | None = None) -> Callable[[Body], object]:
    return lambda body: (body["spec"][inside] if inside else body["spec"]).update({key: value})


def drop_from_spec(key: str) -> Callable[[Body], object]:
    def change(body: Body) -> None:
        del body["spec"][key]

    return change


DAMAGE: list[tuple[str, Callable[[Body], object]]] = [
    ("Reported", lambda body: "{"),
    ("Reported", lambda body: ""),
    ("Reported", lambda body: "[" * 100_000),
    ("Reported", lambda body: [1, 2]),
    ("Reported", lambda body: "null"),
    ("Reported", put("type", "Reborn")),
    ("Reported", put("trial_id", 77)),
    ("Reported", put("trial_id", -1)),
    ("Reported", put("trial_id", None)),
    ("Reported", put("values", {"other": 0.5})),
    ("Reported", put("values", {"error": "low"})),
    ("Reported", put("resource", "3")),
    ("Reported", put("level", 5)),
    ("TrialCreated", put("trial_id", 5)),
    ("TrialCreated", put("config", {})),
    ("TrialCreated", put("config", {"lr": 0.01})),
    ("TrialCreated", put("config", {"lr": 0.01, "devices": 1, "width": 3})),
    ("TrialCreated", put("config", [0.01, 1])),
    ("TrialCreated", put("draw", None)),
    ("SegmentStarted", put("trial_id", 77)),
    ("SegmentEnded", put("state", "asleep")),
    ("SegmentEnded", put("state", "running")),
    ("SegmentEnded", put("trial_id", 2)),
    ("CheckpointSaved", put("trial_id", 9)),
    ("SessionOpened", put("limits", {"max_trials": "many"})),
    ("SessionOpened", put("limits", {"max_naps": 3})),
    ("SessionOpened", put("limits", None)),
    ("StudyCreated", put("spec", [])),
    ("StudyCreated", put("spec", {})),
    ("StudyCreated", drop_from_spec("scheduler")),
    ("StudyCreated", drop_from_spec("space")),
    ("StudyCreated", drop_from_spec("seed")),
    ("StudyCreated", put_in_spec("scheduler", "asha")),
    ("StudyCreated", put_in_spec("scheduler", {})),
    ("StudyCreated", put_in_spec("space", 3)),
    ("StudyCreated", put_in_spec("space", {"lr": {"type": "float"}})),
    ("StudyCreated", put_in_spec("objectives", {})),
    ("StudyCreated", put_in_spec("pool", None)),
    ("StudyCreated", put_in_spec("seed", "zero")),
]


@pytest.mark.parametrize("number", range(len(DAMAGE)))
def test_a_damaged_event_is_an_error_with_file_and_number(folder: Path, number: int) -> None:
    seq = damage(folder, *DAMAGE[number])
    file = folder / "digits" / "study.db"
    with pytest.raises(StorageError) as caught:
        hwt.Study.load("digits", folder).state()
    assert f"{str(file)!r}, study 'digits', event " in str(caught.value)
    assert int(str(caught.value).partition("event ")[2].partition(":")[0]) >= seq
    assert "Restore" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("TrialCreated", put("bracket", 9)),
        ("TrialCreated", put("bracket", -1)),
        ("SegmentStarted", put("promoted_from", 77)),
        ("SegmentStarted", put("promoted_from", -1)),
    ],
)
def test_an_event_that_the_race_does_not_allow_is_an_error_where_something_is_decided(
    kind: str, change: Callable[[Body], object], folder: Path
) -> None:
    """Tables need no race, so they are shown."""
    seq = damage(folder, kind, change)
    reader = Reader(StudyFiles(folder, "digits"), None)
    assert reader.state() is not None
    with pytest.raises(StorageError, match="Restore") as caught:
        reader.race_state()
    assert int(str(caught.value).partition("event ")[2].partition(":")[0]) >= seq


@pytest.mark.parametrize("body", ["x'ff'", "CAST(x'7bff7d' AS TEXT)", "CAST(x'00' AS TEXT)", "3", "x''"])
@pytest.mark.parametrize("number", [1, 4, "(SELECT MAX(seq) FROM hwtune_events)"])
def test_a_body_that_is_no_text(folder: Path, body: str, number: object) -> None:
    with sqlite3.connect(folder / "digits" / "study.db") as connection:
        connection.execute(f"UPDATE hwtune_events SET body = {body} WHERE seq = {number}")
    connection.close()
    for words in ("status", "front", "why 0"):
        result = CliRunner().invoke(app, [*words.split(), "--dir", str(folder)])
        assert result.exit_code == 1, (result.output, result.exception)
        assert "study.db'" in result.stderr
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", ["status", "front", "best", "trials", "why 0", "logs 0", "rungs", "export", "plot"])
def test_every_reading_command_says_it_in_one_line(folder: Path, words: str) -> None:
    damage(folder, "Reported", put("trial_id", 77))
    result = CliRunner().invoke(app, [*words.split(), "--dir", str(folder)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("hwtune: ")
    assert "study.db', study 'digits', event " in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put_in_spec("newopt", 3, inside="scheduler"), "the stored study is newer than this version"),
        (put_in_spec("name", "bohb", inside="scheduler"), "the stored study is newer than this version"),
        (put_in_spec("newopt", 3, inside="searcher"), "the stored study is newer than this version"),
        (put_in_spec("newopt", 3, inside="pool"), "the stored study is newer than this version"),
        (put("colour", "red"), "the field 'colour' of StudyCreated is unknown to this version: a newer version"),
    ],
)
def test_a_study_of_a_newer_version_is_called_that(folder: Path, change: Callable[[Body], object], said: str) -> None:
    damage(folder, "StudyCreated", change)
    with pytest.raises(StorageError, match=said) as caught:
        hwt.Study.load("digits", folder).state()
    assert "upgrade lightning_hwtune" in str(caught.value)


def test_a_study_with_a_damaged_log_is_not_run(folder: Path) -> None:
    stored = hwt.Study.load("digits", folder)
    spec, n_events = stored.spec, len(stored.events())
    damage(folder, "Reported", put("trial_id", 77))
    study = hwt.Study("digits", spec.space, spec.objectives, scheduler=spec.scheduler, pool=spec.pool, dir=folder)
    for drive in (lambda: study.run(print, max_trials=99, progress=False), lambda: study.ask(progress=False)):
        with pytest.raises(StorageError, match="event"):
            drive()
    assert len(study.events()) == n_events


def test_one_command_folds_the_log_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning_hwtune.core.facts import StudyFacts

    n_events, applied, apply = len(hwt.Study.load("digits", folder).events()), [], StudyFacts.apply
    monkeypatch.setattr(StudyFacts, "apply", lambda self, event: (applied.append(event), apply(self, event))[1])
    for words in ("status", "front", "best", "trials", "why 0", "export"):
        applied.clear()
        out = ["--out", str(folder / "out")] if words == "export" else []
        assert CliRunner().invoke(app, [*words.split(), "--dir", str(folder), *out]).exit_code == 0
        assert len(applied) == n_events, words
