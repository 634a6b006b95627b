"""The cache of facts: every answer is the same with it and without it, and the log decides whether it counts."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))
sys.path.insert(0, str(Path(__file__).parents[1] / "stored_logs"))
from stored import Stored, stored_studies
from study_driver import snapshot

from lightning_hwtune.cli.commands import app
from lightning_hwtune.core import events as ev
from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.core.facts_data import facts_from_data, facts_to_data
from lightning_hwtune.core.spec import Limits
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.core.study_clock import StudyClock
from lightning_hwtune.engine import fold
from lightning_hwtune.engine.reading import Reader
from lightning_hwtune.engine.session import Session
from lightning_hwtune.errors import StorageError
from lightning_hwtune.store import facts_cache
from lightning_hwtune.store.facts_cache import FactsCache
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.store.schema import EVENTS
from lightning_hwtune.views.export import front_text, json_text, trials_text
from lightning_hwtune.views.status import status_entry
from lightning_hwtune.views.story import why
from lightning_hwtune.views.studies import study_entry

ALL = stored_studies()
ASHA = Stored("0.2.0.dev0", "asha_one_device")
OTHER = Stored("0.2.0.dev0", "asha_diverging")
COMMANDS = [
    "status", "status --format json", "status --format csv", "trials", "trials --format json", "trials --format csv",
    "front --at any", "front --at rung --format json", "front --format csv", "best", "rungs --max-trials 9",
]  # fmt: skip
VIEWS: list[Callable[[StudyFacts], object]] = [
    lambda facts: json_text(status_entry(facts, facts.last_at, 0)),
    lambda facts: json_text(study_entry(facts, is_driven=False)),
    *(partial(trials_text, form=form) for form in ("json", "csv")),
    *(partial(front_text, form=form, at=at) for form in ("json", "csv") for at in ("full", "any", "rung")),
]


def of_all(function: Any) -> Any:
    return pytest.mark.parametrize("stored", ALL, ids=lambda stored: f"{stored.version}-{stored.name}")(function)


@pytest.fixture(autouse=True)
def caching(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small studies have a cache, too."""
    monkeypatch.setattr(fold, "MIN_CACHED", 1)


def content(facts: StudyFacts) -> dict[str, Any]:
    """Returns everything in the facts, as texts: NaN is not equal to itself."""
    others = ("race", "spec", "clock", "placement")  # the rules of placement follow from the spec alone
    attributes = {name: value for name, value in vars(facts).items() if name not in others}
    attributes |= {name: sorted(value) for name, value in attributes.items() if isinstance(value, set)}
    clock = {name: getattr(facts.clock, name) for name in StudyClock.__slots__}
    places = [facts.segments.index(segment) for segment in facts.running.values()]
    return {name: repr(value) for name, value in {**attributes, "clock": clock, "places": places}.items()}


def add(files: StudyFiles, bodies: list[str]) -> None:
    with EventLog.open(files, create=True) as log:
        before = log.count()
        rows = [{"study": log.key, "seq": seq, "body": body} for seq, body in enumerate(bodies, before + 1)]
        if rows:
            with log.database.writing() as connection:
                connection.execute(EVENTS.insert(), rows)


def overwrite(files: StudyFiles, number: int, body: str) -> None:
    with EventLog.open(files, create=True) as log, log.database.writing() as connection:
        connection.execute(EVENTS.update().where(EVENTS.c.seq == number), {"body": body})


def answers(folder: Path, n_trials: int, commands: list[str] = COMMANDS) -> dict[str, str]:
    """Returns what each reading command prints and exports."""
    said = {}
    for command in [*commands, *(f"why {trial_id}" for trial_id in range(min(n_trials, 3)))]:
        result = CliRunner().invoke(app, [*command.split(), "--dir", str(folder)])
        assert result.exit_code == 0, (command, result.output, result.exception)
        said[command] = result.output
    return said


def exported(folder: Path, out: Path) -> dict[str, str]:
    result = CliRunner().invoke(app, ["export", "--out", str(out), "--dir", str(folder)])
    assert result.exit_code == 0, (result.output, result.exception)
    return {path.name: path.read_text() for path in out.iterdir()}


def n_folded(question: Callable[[], object]) -> int:
    """Returns how many events of logs are folded for the answer to a question."""
    taken, take = [], fold.Fold._take
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold.Fold, "_take", lambda self, *event: (taken.append(event), take(self, *event))[1])
        question()
    return len(taken)


def is_used(files: StudyFiles) -> bool:
    """Return whether a reader begins with cached facts."""
    with EventLog.open(files, create=False) as log:
        return n_folded(Reader(files, None).state) < log.count()


# ---------------------------------------------------------------- facts as data


@of_all
@pytest.mark.parametrize("part", [0.4, 1.0])
def test_facts_as_data_are_the_same_facts_and_go_on_the_same_way(stored: Stored, part: float) -> None:
    end = max(int(len(stored.events) * part), 1)
    alone, whole = StudyFacts(stored.spec), stored.state(end)
    for event in stored.events[:end]:
        alone.apply(event)
    assert content(alone) == content(whole)
    again = facts_from_data(stored.spec, json.loads(json.dumps(facts_to_data(whole))))
    assert vars(again).keys() == vars(alone).keys()
    assert content(again) == content(whole)
    for event in stored.events[end:]:
        again.apply(event)
    assert content(again) == content(stored.state(len(stored.events)))


@of_all
def test_a_trial_begins_at_the_lowest_rung_of_its_bracket(stored: Stored) -> None:
    state = stored.state(len(stored.events))
    assert isinstance(state, StudyState)
    assert [t.first_target for t in state.trials] == [state.race.first_target(t.bracket) for t in state.trials]
    assert (state.race.ladder, state.race.levels) == (state.ladder, state.ladder.levels)


def test_values_that_are_not_finite_stay_as_they_are() -> None:
    state = Stored(ASHA.version, ASHA.name).state(len(ASHA.events))  # with its own events
    for trial, value in zip(state.trials, (math.nan, math.inf, -math.inf), strict=False):
        for measurement in trial.measurements:
            measurement.values["error"] = value  # type: ignore[index]
    again = facts_from_data(ASHA.spec, json.loads(json.dumps(facts_to_data(state))))
    assert content(again) == content(state)


@of_all
def test_the_events_of_one_trial_are_read_alone(stored: Stored, tmp_path: Path) -> None:
    reader, n_trials = Reader(stored.put(tmp_path), None), len(stored.state(len(stored.events)).trials)
    everything = reader.events()
    for trial_id in range(n_trials + 2):
        assert reader.events(trial_id) == [e for e in everything if getattr(e, "trial_id", None) == trial_id]


def test_each_event_of_a_trial_has_its_number_where_the_log_looks_for_it() -> None:
    """The log looks for the number with a comma after it, so that trial 1 is not found in the events of trial 17."""
    kinds = [getattr(ev, name) for name in ev.__all__ if name[0].isupper() and issubclass(getattr(ev, name), ev.Event)]
    fields = {kind.__name__: [field.name for field in dataclasses.fields(kind)] for kind in kinds}
    of_trials = {name for name, names in fields.items() if "trial_id" in names}
    assert {"TrialCreated", "DevicesReserved", "SegmentStarted", "Reported", "SegmentEnded", "Noted"} <= of_trials
    assert all(fields[name][-1] != "trial_id" for name in of_trials)


# ---------------------------------------------------------------- the same answers


def put_cached(stored: Stored, folder: Path, n_cached: int, patch: pytest.MonkeyPatch) -> StudyFiles:
    """Stores a study with a cache of its first events, which stays as it is."""
    files = stored.put(folder, n_cached)
    Reader(files, None).state()
    add(files, stored.bodies[n_cached:])
    patch.setattr(fold, "MIN_CACHED", 10**6)
    assert is_used(files)
    return files


@of_all
@pytest.mark.parametrize("part", [0.3, 1.0])
def test_every_view_is_the_same_with_a_cache(
    stored: Stored, part: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = put_cached(stored, tmp_path, int(len(stored.bodies) * part), monkeypatch)
    folded, reader = stored.state(len(stored.events)), Reader(files, None)
    cached = reader.state()
    assert cached is not None
    for view in VIEWS:
        assert view(cached) == view(folded)
    for trial_id in range(len(folded.trials)):
        assert why(cached, reader.events(trial_id), trial_id) == why(folded, stored.events, trial_id)


def test_every_command_answers_the_same_with_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = put_cached(ASHA, tmp_path / "studies", len(ASHA.bodies) - 40, monkeypatch)
    said = answers(tmp_path / "studies", 2), exported(tmp_path / "studies", tmp_path / "a")
    FactsCache(files).path.unlink()
    assert (answers(tmp_path / "studies", 2), exported(tmp_path / "studies", tmp_path / "b")) == said
    assert not FactsCache(files).path.exists()


def test_what_is_cached_is_not_read_again(tmp_path: Path) -> None:
    files = ASHA.put(tmp_path)
    expected = answers(tmp_path, 1, ["status", "trials"])
    overwrite(files, 9, "{not an event")
    assert answers(tmp_path, 0, ["status", "trials"]).items() <= expected.items()
    FactsCache(files).path.unlink()
    with pytest.raises(StorageError, match="event 9"):
        Reader(files, None).state()


@of_all
def test_the_race_of_cached_facts_is_that_of_the_log(stored: Stored, tmp_path: Path) -> None:
    n_events = len(stored.bodies)
    for n_cached in (n_events // 3, n_events - 1, n_events):
        files = stored.put(tmp_path / str(n_cached), n_cached)
        Reader(files, None).state()
        add(files, stored.bodies[n_cached:])
        reader = Reader(files, None)
        assert n_folded(reader.race_state) == n_events - n_cached
        state = reader.race_state()
        assert state is not None
        assert snapshot(state) == snapshot(stored.state(n_events))


def test_a_study_that_runs_has_a_forecast_with_a_cache(tmp_path: Path) -> None:
    files = ASHA.put(tmp_path, len(ASHA.bodies) // 2)
    Reader(files, None).state()
    said: list[Any] = []
    with Session(ASHA.spec, files, Limits(max_trials=60)):
        n = n_folded(
            lambda: said.append(CliRunner().invoke(app, ["status", "--format", "json", "--dir", str(tmp_path)]))
        )
    entry = json.loads(said[0].output)
    assert entry["state"] == "running"
    assert entry["time_left_s"] > 0
    assert n < 5  # the events of the new session


# ---------------------------------------------------------------- when it counts


def damage_byte(place: float) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        index = int((len(content) - 1) * place)
        return content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :]

    return change


def head_with(**fields: object) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        head, _, packed = content.partition(b"\n")
        return json.dumps({**json.loads(head), **fields}).encode() + b"\n" + packed

    return change


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "cut by a byte": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "text": lambda content: b"not a cache",
    "head only": lambda content: content.partition(b"\n")[0],
    "no mapping": lambda content: b"[1]\n" + content.partition(b"\n")[2],
    "deep": lambda content: b"[" * 100_000,
    "first byte": damage_byte(0.0),
    "middle byte": damage_byte(0.5),
    "last byte": damage_byte(1.0),
    "another form": head_with(form=0),
    "another study": head_with(study_id="another"),
    "another number": head_with(number=7),
    "a number beyond the log": head_with(number=10**6),
    "a number beyond integers": head_with(number=10**30),
    "a number that is none": head_with(number="7"),
    "another event": head_with(newest="0" * 32),
    "another first event": head_with(first="0" * 32),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_cache_is_ignored_and_replaced(kind: str, tmp_path: Path) -> None:
    files = ASHA.put(tmp_path)
    expected, cache = answers(tmp_path, 1, ["status", "trials"]), FactsCache(files)
    whole = cache.path.read_bytes()
    cache.path.write_bytes(DAMAGE[kind](whole))
    assert not is_used(files)
    assert cache.path.read_bytes() == whole
    assert answers(tmp_path, 1, ["status", "trials"]) == expected


@pytest.mark.parametrize("data", ["null", "{}", '{"trials": [[1]]}', '{"trials": {"a": 1}}'])
def test_a_cache_of_another_form_is_ignored(data: str, tmp_path: Path) -> None:
    """Its digests are right, as if this code had written it."""
    files = ASHA.put(tmp_path)
    facts, cache = Reader(files, None).state(), FactsCache(files)
    assert facts is not None
    with EventLog.open(files, create=False) as log:
        number, body = len(ASHA.bodies), ASHA.bodies[-1]
        cache.write(log, facts_cache.CachedFacts(number, body, json.loads(data)))
        assert cache.read(log) is not None
    again = Reader(files, None).state()
    assert again is not None
    assert content(again) == content(facts)


def test_facts_that_contradict_the_log_are_folded_again(tmp_path: Path) -> None:
    """The next event does not follow from the cached facts."""
    begun = next(n for n, event in enumerate(ASHA.events) if isinstance(event, ev.SegmentEnded))
    files = ASHA.put(tmp_path, begun)
    Reader(files, None).state()
    with EventLog.open(files, create=False) as log:
        found = FactsCache(files).read(log)
        assert found is not None
        FactsCache(files).write(log, facts_cache.CachedFacts(begun, found.body, {**found.data, "running": []}))
    add(files, ASHA.bodies[begun:])
    facts = Reader(files, None).state()
    assert facts is not None
    assert content(facts) == content(ASHA.state(len(ASHA.events)))


def test_the_cache_of_other_code_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ASHA.put(tmp_path)
    Reader(files, None).state()
    assert is_used(files)
    monkeypatch.setattr("lightning_hwtune.__version__", "0.0.1")
    facts_cache._code_digest.cache_clear()
    try:
        assert not is_used(files)
        assert is_used(files)  # it was replaced
    finally:
        monkeypatch.undo()
        facts_cache._code_digest.cache_clear()


@pytest.mark.parametrize("n_events", [20, 60, None])
def test_the_cache_of_another_study_is_ignored(n_events: int | None, tmp_path: Path) -> None:
    files, others = ASHA.put(tmp_path), OTHER.put(tmp_path / "other", n_events)
    Reader(others, None).state()
    shutil.copy(FactsCache(others).path, FactsCache(files).path)
    assert not is_used(files)


def put_at(body: str, at: float) -> str:
    return json.dumps({**json.loads(body), "at": at})


@pytest.mark.parametrize(
    "rewritten",
    [
        lambda bodies: bodies[:30],
        lambda bodies: bodies[:-1],
        lambda bodies: [put_at(bodies[0], 1.0), *bodies[1:]],
        lambda bodies: [*bodies[:-1], put_at(bodies[-1], 4e9)],
        lambda bodies: OTHER.bodies,
        lambda bodies: [*OTHER.bodies, *OTHER.bodies[-1:] * 200],
    ],
)
def test_the_cache_of_a_rewritten_log_is_ignored(rewritten: Callable[[list[str]], list[str]], tmp_path: Path) -> None:
    files = ASHA.put(tmp_path)
    Reader(files, None).state()
    kept = FactsCache(files).path.read_bytes()
    shutil.rmtree(files.root)
    files.create()
    add(files, rewritten(ASHA.bodies))
    FactsCache(files).path.write_bytes(kept)
    assert not is_used(files)


def test_a_study_that_was_copied_or_renamed_keeps_its_cache(tmp_path: Path) -> None:
    files = ASHA.put(tmp_path)
    expected = answers(tmp_path, 0, ["trials --format csv"])
    shutil.copytree(files.root, tmp_path / "elsewhere" / ASHA.name)
    assert is_used(StudyFiles(tmp_path / "elsewhere", ASHA.name))
    files.root.rename(tmp_path / "renamed")
    assert is_used(StudyFiles(tmp_path, "renamed"))
    assert answers(tmp_path, 0, ["trials --format csv"]) == expected


# ---------------------------------------------------------------- when it is written


def test_a_small_study_has_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "MIN_CACHED", len(ASHA.bodies) + 1)
    files = ASHA.put(tmp_path)
    Reader(files, None).state()
    assert not FactsCache(files).path.exists()


def test_few_new_events_do_not_replace_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ASHA.put(tmp_path, 60)
    Reader(files, None).state()
    before = FactsCache(files).path.read_bytes()
    monkeypatch.setattr(fold, "MIN_CACHED", 20)
    add(files, ASHA.bodies[60:75])
    assert is_used(files)
    assert FactsCache(files).path.read_bytes() == before
    add(files, ASHA.bodies[75:90])
    assert is_used(files)
    assert FactsCache(files).path.read_bytes() != before


@pytest.mark.parametrize("read_only", ["folder", "log"])
def test_nothing_is_written_where_it_must_not_be(read_only: str, tmp_path: Path) -> None:
    files = ASHA.put(tmp_path)
    path, mode = (files.root, 0o555) if read_only == "folder" else (files.database_path, 0o444)
    before = sorted(files.root.iterdir())
    path.chmod(mode)
    try:
        Reader(files, None).state()
        assert sorted(files.root.iterdir()) == before
    finally:
        path.chmod(0o755)
    Reader(files, None).state()
    assert FactsCache(files).path.exists()


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    files = ASHA.put(tmp_path)
    FactsCache(files).path.mkdir()
    before = sorted(files.root.iterdir())
    assert answers(tmp_path, 1, ["status"])
    assert sorted(files.root.iterdir()) == before


def test_the_rest_of_a_killed_writer_is_removed(tmp_path: Path) -> None:
    files = ASHA.put(tmp_path)
    left = files.root / "study.cache.4711.part"
    left.write_bytes(b"half of")
    Reader(files, None).state()
    assert FactsCache(files).path.exists()
    assert not left.exists()
