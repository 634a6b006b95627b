"""The study's folder on the host of an agent: the shared one, or else a folder for the files of its segments."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import final

from lightning_hwtune.engine.agents.door import NOTE
from lightning_hwtune.engine.agents.messages import Output, Setup
from lightning_hwtune.errors import TrialError
from lightning_hwtune.host.file_trees import remove
from lightning_hwtune.training.channel import SegmentOrder

__all__ = ["AgentFolder"]

_PIECE_BYTES = 1 << 18
_MOST_BYTES = 1 << 24  # of the output of a rank that are sent at its end


@final
class AgentFolder:
    """Where an agent has the files of a session.

    Args:
        setup: of the session.
        session: its id, which is in the note in the study's folder.
        given: where the study's folder is on this host, as the user says; None: at the same path as for the study.

    Attributes:
        path: of the folder.
        is_apart: whether it is not the one of the study, so that files must be sent.

    Raises:
        TrialError: it cannot be used.
    """

    def __init__(self, setup: Setup, session: str, given: Path | None) -> None:
        self.path = Path(setup.root) if given is None else given
        self.is_apart = not _is_shared(self.path, setup, session)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._sent = dict[Path, int]()  # how much of each log the study has
        if not self.is_apart:
            return
        try:
            if given is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="hwtune-agent-", ignore_cleanup_errors=True)
                self.path = Path(self._temporary.name)
            self.path.mkdir(parents=True, exist_ok=True)
            self._refuse_another_study()
        except OSError as error:
            text = f"this host does not share the study's folder, and {self.path} cannot be used instead: {error}"
            raise TrialError(text) from error

    def _refuse_another_study(self) -> None:
        if (self.path / "study.db").exists():
            raise TrialError(f"{str(self.path)!r} is the folder of another study. Give --root a new folder")

    def prepare(self, order: SegmentOrder) -> None:
        """Makes the folder of a trial."""
        if self.is_apart:
            Path(order.trial_dir).mkdir(parents=True, exist_ok=True)

    def tidy(self, order: SegmentOrder, others: Iterator[SegmentOrder]) -> None:
        """Deletes the checkpoints from which a segment began, unless others use them, and forgets its logs."""
        if not self.is_apart:
            return
        used = {path for other in others for path in (other.checkpoint, other.weights)}
        for path in (order.checkpoint, order.weights):
            if path is not None and path not in used:
                remove(Path(path))
        for file in self._logs(order):
            self._sent.pop(file, None)

    def _logs(self, order: SegmentOrder) -> list[Path]:
        return sorted(Path(order.trial_dir, "logs").glob(f"segment_{order.segment:02d}_rank_*.log"))

    def output(self, order: SegmentOrder, *, is_end: bool = False) -> Iterator[Output]:
        """Yields what the ranks of a segment have printed since the last call."""
        for file in self._logs(order) if self.is_apart else ():
            begin = self._sent.get(file, 0)
            with file.open("rb") as stream:
                stream.seek(begin)
                while data := stream.read(_PIECE_BYTES):
                    self._sent[file] = stream.tell()
                    yield Output(file.relative_to(self.path).as_posix(), data)
                    if not is_end or stream.tell() - begin > _MOST_BYTES:
                        break

    def close(self) -> None:
        """Deletes a temporary folder."""
        if self._temporary is not None:
            self._temporary.cleanup()


def _is_shared(path: Path, setup: Setup, session: str) -> bool:
    """Return whether a folder is that of the study.

    If the payload is there, a note of an earlier session is enough: a network file system may show it for some time.
    """
    try:
        note = json.loads((path / NOTE).read_text())
    except (OSError, ValueError):
        return False
    return note.get("session") == session or (path / setup.payload).exists()
