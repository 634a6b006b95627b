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
_FOLLOWING = {"reserve": "answer", "begin": "decision"}  # calls that carry out an answer: under which argument
_PRESENT_NAMES = {"infeasible": "out-of-memory"}  # states that were renamed
_WORDING = ("reason", "text", "error")  # sentences for people, whose wording may change in each version


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
        found["trials"] = [[_PRESENT_NAMES.get(state, state), resource] for state, resource in found["trials"]]
        return found

    @property
    def spec(self) -> StudySpec:
        """Its settings."""
        [created] = [event for event in self.events if isinstance(event, ev.StudyCreated)]
        return StudySpec.from_dict(created.spec)

    @property
    def other_libraries(self) -> list[str]:
        """The libraries that its draws depend on and that are not installed here in the same version."""
        return [name for name, version in self.end.get("libraries", {}).items() if _installed(name) != version]

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
        """Rebuilds the state up to a call, makes the remaining calls, and returns what differs from what is stored.

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
            if course.controller.state.reserved is None:
                found.append(number)
            course.make_call()
        return found


def _installed(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


class Course:
    """The calls of a stored study from one of them on, made again to a controller that the log rebuilt."""

    def __init__(self, stored: Stored, first_call: int) -> None:
        self.next_call = first_call
        while stored.calls[self.next_call]["call"] in _FOLLOWING:  # the answer has to be asked for once more
            self.next_call -= 1
        self._reserves_by_itself = not any(call["call"] == "reserve" for call in stored.calls)
        self._seen = stored.calls[max(self.next_call - 1, 0)]["events"]
        self._stored, self._written = stored, list[ev.Event]()
        self.controller = Controller(stored.state(self._seen), self._written.extend)
        self._answer: Any = None

    def make_call(self) -> str:
        """Makes the next call; returns what differs from what is stored, "" if nothing does."""
        call = self._stored.calls[self.next_call]
        self.next_call += 1
        self._written.clear()
        if call["call"] == "ask":
            self._answer = self.controller.ask(**call["args"])
            if self._reserves_by_itself:
                self.controller.reserve(self._answer, call["args"]["now"])
            answer = answer_of(self._answer)
            return "" if answer == call["answer"] else f"{call['answer']} is now {answer}"
        decided = {_FOLLOWING[call["call"]]: self._answer} if call["call"] in _FOLLOWING else {}
        getattr(self.controller, call["call"])(**decided, **call["args"])
        stored, self._seen = self._stored.events[self._seen : call["events"]], call["events"]
        old, new = _decided(stored), _decided(self._written)
        return "" if old == new else f"{old} is now {new}"


def _decided(events: list[ev.Event]) -> list[str]:
    """Returns what events decide, as text. Reservations are left out, since `ask` shows their effect."""
    kept = [ev.to_dict(event) for event in events if not isinstance(event, ev.DevicesReserved)]
    left_out = {"TrialCreated": (*_WORDING, "allocation")}  # that of the segment counts
    return [_text({k: v for k, v in event.items() if k not in left_out.get(event["type"], _WORDING)}) for event in kept]


def _text(data: object) -> str:
    return json.dumps(data)  # not-a-number is equal to itself there


def stored_studies() -> list[Stored]:
    """Returns all stored studies of all versions."""
    return [Stored(path.parent.parent.name, path.parent.name) for path in sorted(HERE.glob("*/*/events.jsonl"))]
