"""One study as the page needs it: JSON that is kept per trial, and what has changed since an event.

`refresh` reads the events that are new and writes the arrays of their trials again. Answers about the whole study
(front, status, ledger) take longer in a large study, so each is made again only as often as it takes a small part of
the time. For one thread at a time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, final

from lightning_hwtune.core.facts import StudyFacts
from lightning_hwtune.errors import ArgumentError, StorageError
from lightning_hwtune.stored_study import StoredStudy
from lightning_hwtune.views.export import json_text
from lightning_hwtune.views.recommendation import recommended
from lightning_hwtune.web.rows import about, curve_texts, segment_texts, trial_texts

__all__ = ["Position", "Watched", "front_answer"]

_PATIENCE = 60.0  # an answer that took a second is made again after so many seconds
_SECONDS_S = 3.0  # how often answers with seconds in them are made again while the study runs
_BEAT_S = 5.0  # how often it is looked whether a process runs the study, if no file has changed
_LONGEST_GAP = 5000  # events; a page that has missed more is sent the whole study again


def front_answer(chosen: StoredStudy) -> dict[str, Any]:
    """Returns the front as `hwtune front --format json` does, and the recommended trial with the reason."""
    found = recommended(chosen.state())
    advice = None if found is None else {"trial_id": found[0].trial.trial_id, "reason": found[1]}
    return {"front": chosen.front(), "recommended": advice}


def plan_answer(chosen: StoredStudy) -> list[dict[str, Any]] | None:
    """Returns what the plan predicted and what the study took, as `hwtune plan --compare` does; None without a plan."""
    from lightning_hwtune.planning.plan_file import PLAN, compared, read_plan

    try:
        return compared(read_plan(chosen.study.dir / PLAN), chosen.state())
    except (ArgumentError, StorageError):  # there is none, or it cannot be read
        return None


@dataclass(slots=True)
class Position:
    """What one page has: which study, the number of the newest event, and the version of each answer.

    `study_id` is None if the page does not know it.
    """

    study_id: str | None = None
    number: int = 0
    versions: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Answer:
    """One answer about the whole study. `version` counts its changes."""

    make: Callable[[], Any]
    text: str = ""
    is_timed: bool = False
    version: int = 0
    made_of: tuple[int, bool] | None = None
    made_at: float = 0.0
    due_at: float = 0.0

    def is_outdated(self, source: tuple[int, bool], now: float) -> bool:
        """Return whether it is time to make the answer again, from these events of a study that runs or does not."""
        if now < self.due_at:
            return False
        return source != self.made_of or (self.is_timed and source[1] and now - self.made_at >= _SECONDS_S)

    def renew(self, source: tuple[int, bool]) -> None:
        """Makes the answer again."""
        begun = time.monotonic()
        text = json_text(self.make(), indent=None)
        self.made_at, self.made_of = time.monotonic(), source
        self.due_at = self.made_at + _PATIENCE * (self.made_at - begun)
        if text != self.text:
            self.text, self.version = text, self.version + 1


@final
class Watched:
    """One stored study.

    Attributes:
        study_id: the id of the study; it changes if the log was replaced by another one.
        number: the number of the newest event that was read; 0 before the first `refresh`.
    """

    def __init__(self, chosen: StoredStudy) -> None:
        self.chosen = chosen
        self.study_id, self.number = "", 0
        self._is_driven = False
        self._changed: dict[int, int] = {}  # trial id -> number of its newest event, of those read since the beginning
        self._begun_at = 0
        self._trials: dict[int, str] = {}
        self._curves: dict[int, str] = {}
        self._segments: dict[tuple[int, int], str] = {}
        self._stamp: object = None
        self._looked_at = 0.0
        self._answers = {
            "about": _Answer(lambda: about(self.state)),
            "front": _Answer(lambda: front_answer(chosen)),
            "ledger": _Answer(chosen.ledger, is_timed=True),
            "plan": _Answer(lambda: plan_answer(chosen), is_timed=True),
            "status": _Answer(chosen.status, is_timed=True),
        }

    @property
    def state(self) -> StudyFacts:
        """The facts of the study."""
        return self.chosen.state()

    def refresh(self) -> bool:
        """Reads the events that are new and renews the answers; returns whether a page has something to draw again.

        Raises:
            StudyNotFoundError, StorageError: the study cannot be read any more.
        """
        is_new = self.read()
        while self.renew():
            is_new = True
        return is_new

    def read(self) -> bool:
        """Reads the events that are new; returns whether there were any.

        Raises:
            StudyNotFoundError, StorageError: the study cannot be read any more.
        """
        stamp, now = self._files_stamp(), time.monotonic()
        if stamp is not None and stamp == self._stamp and now - self._looked_at < _BEAT_S:
            return False
        self._stamp, self._looked_at = stamp, now
        before, state = (self.number, self.study_id), self.state
        number, self._is_driven = self.chosen.reader.number, self.chosen.is_driven()
        if self.number == 0 or number < self.number or state.study_id != self.study_id:
            self._begin(state, number)
        elif number > self.number:
            self._follow(state, number)
        return before != (self.number, self.study_id)

    def renew(self) -> bool:
        """Makes outdated answers again until one has changed; returns whether one has."""
        source = self.number, self._is_driven
        for answer in self._answers.values():
            if answer.is_outdated(source, time.monotonic()):
                before = answer.version
                answer.renew(source)
                if answer.version != before:
                    return True
        return False

    def overview(self, kinds: Iterable[str] = ("trials",)) -> str:
        """Returns the whole study as JSON: all answers, and the arrays of these kinds: trials, curves or segments."""
        return self._message({kind: self._arrays(kind, None) for kind in kinds}, self._answers)

    def position(self) -> Position:
        """Returns the position of a page that has the present overview."""
        return Position(self.study_id, self.number, self._versions())

    def message(self, position: Position) -> str | None:
        """Returns what a page at this position lacks, as JSON; None if it lacks nothing. Moves the position.

        A page that the study has left behind gets `{"reset": true}`, and loads it again.
        """
        missed = position.number
        names = [name for name, answer in self._answers.items() if answer.version != position.versions.get(name)]
        is_left_behind = position.study_id not in (None, self.study_id) or missed > self.number
        if not is_left_behind and missed == self.number and not names:
            return None
        position.study_id, position.number, position.versions = self.study_id, self.number, self._versions()
        if is_left_behind or self.number - missed > _LONGEST_GAP:
            return json_text({"reset": True}, indent=None)
        if missed >= self._begun_at:
            changed = {trial_id for trial_id, number in self._changed.items() if number > missed}
        else:  # the page is older than this process
            changed = self.chosen.reader.trials_after(missed)
        arrays = {kind: self._arrays(kind, changed) for kind in ("trials", "curves", "segments")} if changed else {}
        return self._message(arrays, names)

    def trial(self, trial_id: int) -> str:
        """Returns one trial as JSON: its entry, as in `hwtune trials --format json`, its story, as in `hwtune why`, and
        the arrays of its segments.

        Raises:
            ArgumentError: there is no such trial.
        """
        state = self.state
        state.require_trial(trial_id)
        entry = self.chosen.trials([trial_id])[0]
        text = json_text({"entry": entry, "story": self.chosen.why(trial_id)}, indent=None)
        return f'{text[:-1]},"segments":[{",".join(segment_texts(state, {trial_id}).values())}]}}'

    def _begin(self, state: StudyFacts, number: int) -> None:
        self.study_id, self._begun_at, self._changed = state.study_id, number, {}
        self._trials, self._curves, self._segments = trial_texts(state), curve_texts(state), segment_texts(state)
        self.number = number
        for answer in self._answers.values():
            answer.due_at = 0.0
            answer.renew((number, self._is_driven))

    def _follow(self, state: StudyFacts, number: int) -> None:
        changed = self.chosen.reader.trials_after(self.number)
        self._changed |= dict.fromkeys(changed, number)
        if changed:
            self._trials |= trial_texts(state, changed)
            self._curves |= curve_texts(state, changed)
            self._segments |= segment_texts(state, changed)
        self.number = number

    def _arrays(self, kind: str, trial_ids: set[int] | None) -> str:
        chosen: Iterable[str]
        if kind == "segments":
            items = self._segments.items()
            chosen = (text for (trial_id, _), text in items if trial_ids is None or trial_id in trial_ids)
        else:
            kept = self._trials if kind == "trials" else self._curves
            chosen = (kept[i] for i in sorted(kept if trial_ids is None else kept.keys() & trial_ids))
        return f"[{','.join(chosen)}]"

    def _message(self, arrays: dict[str, str], names: Iterable[str]) -> str:
        texts = {**arrays, **{name: self._answers[name].text for name in names}}
        head = f'"number":{self.number},"clock_s":{json_text(self._clock_s())}'
        return "{" + ",".join([head, *(f'"{name}":{text}' for name, text in texts.items())]) + "}"

    def _clock_s(self) -> float:
        """Returns the study's own clock, at which bars of running segments end."""
        state = self.state
        return state.clock.at(state.last_at)

    def _versions(self) -> dict[str, int]:
        return {name: answer.version for name, answer in self._answers.items()}

    def _files_stamp(self) -> object:
        """Returns what changes whenever the study's own file is written; None for a log in another database."""
        if self.chosen.storage is not None:
            return None
        path, found = self.chosen.reader.database_path, []
        for name in (str(path), f"{path}-wal"):
            try:
                stat = os.stat(name)
                found.append((stat.st_size, stat.st_mtime_ns, stat.st_ino))
            except OSError:
                found.append((0, 0, 0))
        return tuple(found)
