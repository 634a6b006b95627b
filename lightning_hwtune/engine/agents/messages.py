"""The messages between a study and its agents. Paths are relative to the study's folder, wherever a host has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from lightning_hwtune.core.record import Outcome
from lightning_hwtune.training.channel import Ended, Note, Report, Saved, SegmentOrder, VerdictMessage

__all__ = [
    "Answer",
    "End",
    "Fetch",
    "Goodbye",
    "Left",
    "Meeting",
    "More",
    "Output",
    "Piece",
    "Preload",
    "Ready",
    "Said",
    "Setup",
    "Start",
    "Warned",
    "absolute",
    "relative",
]

_Placed = TypeVar("_Placed", SegmentOrder, Saved)


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message to an agent: what is the same for all segments.

    Attributes:
        root: the study's folder, as the study's own host sees it.
        payload: the file with the training function, whose name has its digest.
        sys_path, argv, cwd: the surroundings of the study, which ranks take over where they exist.
        n_ranks: how many ranks train on a node at the same time.
        preload, hang_timeout: the options of the run.
    """

    root: str
    payload: str
    sys_path: tuple[str, ...]
    argv: tuple[str, ...]
    cwd: str
    n_ranks: int
    preload: tuple[str, ...]
    hang_timeout: float | str | None


@dataclass(frozen=True, slots=True)
class Ready:
    """An agent's first message: nothing of an earlier session runs on its host any more, and segments can start.

    Attributes:
        is_apart: whether it does not share the study's folder, so that files must be sent.
    """

    is_apart: bool = False


@dataclass(frozen=True, slots=True)
class Preload:
    """Import further modules once, in the fork server of the node."""

    libraries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """Start the ranks of one of the segment's nodes. `meeting`: the store's address and port, except for the first."""

    order: SegmentOrder
    node_rank: int
    meeting: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Meeting:
    """The first node of a segment has opened the store's port."""

    trial_id: int
    segment: int
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Said:
    """A message of the ranks of a segment on one node; `Ended` is the last one."""

    trial_id: int
    segment: int
    message: Report | Saved | Note | Ended
    world_size: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a report."""

    trial_id: int
    segment: int
    verdict: VerdictMessage


@dataclass(frozen=True, slots=True)
class End:
    """End a segment on this node."""

    trial_id: int
    segment: int
    outcome: Outcome
    why: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """Send this file, or this folder with its files."""

    path: str


@dataclass(frozen=True, slots=True)
class Piece:
    """The next part of such a file. `name`: which file of a folder; `error`: why no further part follows."""

    path: str
    name: str
    data: bytes
    is_first: bool = False
    is_last: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class More:
    """A piece has arrived: send the next one."""

    path: str


@dataclass(frozen=True, slots=True)
class Output:
    """What a rank has printed, to be added to this file."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The session is over: end everything and leave."""


@dataclass(frozen=True, slots=True)
class Warned:
    """What started the agent will end it soon, with all other agents. It continues until then."""


@dataclass(frozen=True, slots=True)
class Left:
    """The agent has ended everything and leaves; `why` is empty after a `Goodbye`."""

    why: str = ""


def relative(item: _Placed, root: Path) -> _Placed:
    """Returns an order or a saved checkpoint with paths relative to the study's folder."""

    def inside(path: str) -> str:
        return Path(path).relative_to(root).as_posix()

    return _placed(item, inside)


def absolute(item: _Placed, root: Path) -> _Placed:
    """Returns it with the paths that it has on this host."""
    return _placed(item, lambda path: str(root.joinpath(*PurePosixPath(path).parts)))


def _placed(item: _Placed, convert: Callable[[str], str]) -> _Placed:
    if isinstance(item, Saved):
        return dataclasses.replace(item, path=convert(item.path))
    checkpoint = None if item.checkpoint is None else convert(item.checkpoint)
    weights = None if item.weights is None else convert(item.weights)
    return dataclasses.replace(item, trial_dir=convert(item.trial_dir), checkpoint=checkpoint, weights=weights)
