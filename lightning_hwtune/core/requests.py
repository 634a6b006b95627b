"""What a user asks of a study from another process, such as a command or the page. The controller carries it out.

A request is not an event: it is stored next to the log until the process that runs the study has taken it. What it
changes is then an event, which says that the user asked.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

__all__ = ["BY_REQUEST", "EndSession", "EnqueueConfig", "Request", "StopTrial", "request_from", "request_to_dict"]

BY_REQUEST = "the user asked for it"
"""The reason of what a request does, in the log and in the history of a trial."""


@final
@dataclass(frozen=True, slots=True)
class EnqueueConfig:
    """Try a configuration before those of the searcher."""

    config: Mapping[str, Any]


@final
@dataclass(frozen=True, slots=True)
class StopTrial:
    """End a trial for good."""

    trial_id: int


@final
@dataclass(frozen=True, slots=True)
class EndSession:
    """End the session with this number, as Ctrl-C does. A later session is not affected."""

    session: int


Request = EnqueueConfig | StopTrial | EndSession


def request_to_dict(request: Request) -> dict[str, Any]:
    """Returns a request as plain data."""
    if isinstance(request, EnqueueConfig):
        return {"kind": "enqueue", "config": dict(request.config)}
    if isinstance(request, StopTrial):
        return {"kind": "stop-trial", "trial_id": request.trial_id}
    return {"kind": "end-session", "session": request.session}


def request_from(data: object) -> Request:
    """Returns the request that `request_to_dict` described.

    Raises:
        ValueError: it is damaged, or of a kind that this version does not know.
    """
    match data:
        case {"kind": "enqueue", "config": Mapping() as config}:
            return EnqueueConfig(config)
        case {"kind": "stop-trial", "trial_id": int(trial_id)}:
            return StopTrial(trial_id)
        case {"kind": "end-session", "session": int(session)}:
            return EndSession(session)
    raise ValueError(f"the request {reprlib.repr(data)} is unknown to this version")
