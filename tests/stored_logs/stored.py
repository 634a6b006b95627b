"""Stored logs, read: as events, as a study in a folder, and as a course that a controller takes again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from make import answer_of, end_of

from lightning_hwtune.core import events as ev
from lightning_hwtune.core.controller import Controller
from lightning_hwtune.core.spec import StudySpec
from lightning_hwtune.core.state import StudyState
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog
from lightning_hwtune.store.schema import EVENTS

__all__ = ["HERE", "Stored", "stored_studies"]

HERE = Path(__file__).parent
_WORDING = ("reason", "text", "error")  # sentences for people, which each version may word anew


@dataclass(frozen=True)
class Stored:
    """One study of one version."""

    version: str
    name: str

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return HERE / self.version / self.name

    @cached_property
    def bodies(self) -> list[str]:
        """Its events, as the version wrote them."""
        return (self.folder / "events.jsonl").read_text().splitlines()

    @cached_property
    def events(self) -> list[ev.Event]:
        """Its events, as this version reads them."""
        return [ev.from_dict(json.loads(body)) for body in self.bodies]

    @cached_property
    def calls(self) -> list[dict[str, Any]]:
        """What the loop asked and reported, in order; empty for a study that really trained."""
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @cached_property
    def end(self) -> dict[str, Any]:
        """How it ended."""
        found: dict[str, Any] = json.loads((self.folder / "end.json").read_text())
        return found

    @property
    def spec(self) -> StudySpec:
        """Its settings."""
        [created] = [event for event in self.events if isinstance(event, ev.StudyCreated)]
        return StudySpec.from_dict(created.spec)

    @property
    def other_libraries(self) -> list[str]:
        """The libraries that its draws depend on and that are installed here in another version."""
        return [name for name, version in self.end.get("libraries", {}).items() if metadata.version(name) != version]

    def state(self, n_events: int) -> StudyState:
        """Returns the state after so many events."""
        state = StudyState(self.spec)
        for event in self.events[:n_events]:
            state.apply(event)
        return state

    def put(self, folder: Path, n_events: int | None = None) -> StudyFiles:
        """Stores the first events (None: all) as a study in `folder`, as if that version had been killed there."""
        files = StudyFiles(folder, self.name)
        files.create()
        bodies = self.bodies[:n_events]
        rows = [{"study": self.name, "seq": seq, "body": body} for seq, body in enumerate(bodies, 1)]
        with EventLog.open(files, create=True) as log, log.database.writing() as connection:
            connection.execute(EVENTS.insert(), rows)
        return files

    def differences(self, first_call: int) -> list[str]:
        """Replays the log up to a call, makes the remaining calls, and returns what comes out otherwise than stored.

        Running segments keep running: it is the course that the study takes where nothing is killed.
        """
        course = Course(self, first_call)
        for number in range(course.next_call, len(self.calls)):
            if found := course.make_call():
                return [f"call {number}: {found}"]
        ended, now = {key: self.end[key] for key in ("trials", "front")}, end_of(course.controller.state)
        return [] if _text(ended) == _text(now) else [f"the end: {now}"]

    def unreserved_calls(self) -> list[int]:
        """Returns the calls before which no devices are reserved for a trial."""
        course, found = Course(self, 0), []
        for number in range(len(self.calls)):
            if course.controller._choice._reserved is None:
                found.append(number)
            course.make_call()
        return found


class Course:
    """The calls of a stored study from one of them on, made again to a controller that the log rebuilt."""

    def __init__(self, stored: Stored, first_call: int) -> None:
        begins_there = stored.calls[first_call]["call"] == "begin"  # then the decision has to be asked for once more
        self.next_call = first_call - begins_there
        n_events = stored.calls[max(self.next_call - 1, 0)]["events"]
        self._stored, self._written = stored, stored.events[:n_events]
        self.controller = Controller(stored.state(n_events), self._written.extend)
        self._answer: Any = None

    def make_call(self) -> str:
        """Makes the next call; returns what comes out otherwise than stored, "" if nothing does."""
        call, n_before = self._stored.calls[self.next_call], len(self._written)
        self.next_call += 1
        if call["call"] == "ask":
            self._answer = self.controller.ask(**call["args"])
            answer = answer_of(self._answer)
            return "" if answer == call["answer"] else f"{call['answer']} is now {answer}"
        decision = {"decision": self._answer} if call["call"] == "begin" else {}
        getattr(self.controller, call["call"])(**decision, **call["args"])
        return _unlike(self._stored.events[: call["events"]], self._written, n_before)


def _unlike(stored: list[ev.Event], written: list[ev.Event], after: int) -> str:
    """Returns the first difference behind so many events, "" if there is none."""
    if len(stored) != len(written):
        return f"{len(written)} events, stored are {len(stored)}"
    for old, new in zip(stored[after:], written[after:], strict=True):
        if _decided(old) != _decided(new):
            return f"{_decided(old)} is now {_decided(new)}"
    return ""


def _decided(event: ev.Event) -> str:
    return _text({key: value for key, value in ev.to_dict(event).items() if key not in _WORDING})


def _text(data: object) -> str:
    return json.dumps(data)  # not-a-number is equal to itself there


def stored_studies() -> list[Stored]:
    """Returns all stored studies of all versions."""
    return [Stored(path.parent.parent.name, path.parent.name) for path in sorted(HERE.glob("*/*/events.jsonl"))]
